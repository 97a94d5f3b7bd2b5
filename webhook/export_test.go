package webhook

import "net/http"

// SignatureBase builds the signature base for one member of Signature-Input as
// VerifyRequest does, for vectors that do not cover what webhooks have to.
func SignatureBase(r *http.Request, url, field string) (base, label, fault string) {
	target, fault := parseAddress(url)
	if fault != "" {
		return "", "", fault
	}
	c := covered{method: r.Method, target: target, header: r.Header}
	if f := parseInputs(field, func(in *signatureInput) bool {
		b, _, f := c.appendBase(nil, in.components[:in.n], in.text)
		base, label, fault = string(b), in.label, f
		return false
	}); f != "" {
		return "", "", f
	}
	return base, label, fault
}

// A SignatureInput is what is read of one member of Signature-Input.
type SignatureInput struct {
	Label, Text      string
	Components       []string
	Foreign          bool
	Created, Expires int64
	KeyID, Alg       string
}

// ParseInputs reads Signature-Input.
func ParseInputs(field string) (list []SignatureInput, fault string) {
	fault = parseInputs(field, func(in *signatureInput) bool {
		list = append(list, SignatureInput{in.label, in.text, append([]string(nil), in.components[:in.n]...), in.foreign, in.created, in.expires, in.keyID, in.alg})
		return true
	})
	return list, fault
}

// FindSignature reads Signature.
func FindSignature(field, label string) (text, fault string) { return findSignature(field, label) }

// ContentDigest makes the value of Content-Digest for a body.
func ContentDigest(body []byte) string { return string(appendDigest(nil, body)) }

// CheckContentDigest reads a value of Content-Digest and compares a body with it.
func CheckContentDigest(field string, body []byte) (same bool, fault string) {
	var d contentDigest
	if fault := d.parse(field); fault != "" {
		return false, fault
	}
	return d.matches(body), ""
}

// TwilioBase returns what Twilio signs.
func TwilioBase(target, contentType string, body []byte) (base, fault string) {
	b, fault := twilioBase(nil, target, contentType, body)
	return string(b), fault
}

// ShortSecret takes a raw secret of a published vector, which may be shorter than
// any that this package accepts.
func ShortSecret(text string) Secret { return newSecret(SecretRaw, []byte(text)) }
