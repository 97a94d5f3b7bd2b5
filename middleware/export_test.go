package middleware

// What the fuzz targets and tests look at beneath the exported surface.
var (
	AppendPolicy  = appendPolicy
	AppendString  = appendString
	AppendWord    = appendWord
	SaneRequestID = saneRequestID
)

// Extract is extract.
func Extract(h map[string][]string, locations ...Location) (credential, header string, v Verdict) {
	return extract(h, locations)
}
