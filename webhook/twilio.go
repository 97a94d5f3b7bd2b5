package webhook

import (
	"crypto/sha1" //nolint:gosec // Twilio has no other; see Twilio
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	twilioSigned    = "{url}{form}"
	twilioBodyParam = "bodySHA256"
	maxForm         = 1000 // parameters of a form
	hashSHA1        = "sha1"

	changedBody = "bodySHA256 is not the SHA-256 of the body in lower-case hex; the body was changed on its way, or decoded"
)

// Twilio returns the scheme of X-Twilio-Signature: HMAC-SHA-1 of the address
// and, sorted by name, of each name and value of a form. A body that is no form is
// signed by its SHA-256, which stands in the address as bodySHA256; without that,
// such a body is refused. The key is the text of the auth token. See
// https://www.twilio.com/docs/usage/security#validating-requests.
//
// It is the one scheme here with SHA-1, because Twilio has no other. HMAC does not
// need what SHA-1 has lost, but do not choose it for messages of your own: neither
// an id nor a timestamp is signed, so that whoever saw a message can send it again
// at any time and only a [ReplayStore] tells; and nothing separates the address
// from the form, or a name from its value.
//
// It signs the address, so that [Verifier.VerifyRequest] and the handler verify
// it, and Verify, which has headers alone, cannot.
func Twilio() Scheme {
	return Scheme{
		Name: "twilio", Signed: twilioSigned, IDHeader: "I-Twilio-Idempotency-Token",
		SignatureHeader: "X-Twilio-Signature", Encoding: encodingBase64, Hash: hashSHA1,
	}
}

// twilioBase appends what Twilio signs of a request to dst, and checks the body
// against the address. It returns what is wrong with the request, or "".
func twilioBase(dst []byte, target string, contentType string, body []byte) (base []byte, fault string) {
	dst = append(dst, target...)
	_, query, _ := strings.Cut(target, "?")
	digest, n := queryParam(query, twilioBodyParam)
	switch {
	case n > 1:
		return nil, "the URL has " + strconv.Itoa(n) + " parameters bodySHA256; send one"
	case n == 1:
		if !bodyHexMatches(digest, body) {
			return nil, changedBody
		}
		return dst, ""
	case len(body) == 0:
		return dst, ""
	case !isForm(contentType):
		return nil, "the body is neither a form nor named by a parameter bodySHA256 of the URL, so nothing signs it"
	}
	return appendForm(dst, body)
}

// appendForm appends the parameters of a form. A value that is there twice under
// one name counts once.
func appendForm(dst, body []byte) (_ []byte, fault string) {
	if strings.Count(string(body), "&") >= maxForm {
		return nil, "the form has more than 1000 parameters"
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, "the body is not a form in application/x-www-form-urlencoded"
	}
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		values := form[name]
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			dst = append(dst, name...)
			dst = append(dst, value...)
		}
	}
	return dst, ""
}

// twilioTargets are the addresses that Twilio may have signed: with the port that
// the address names, or the one that goes without saying, and with none.
func twilioTargets(a address) [2]string {
	host, port := a.authority, ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i:]
	}
	if port == "" {
		port = map[bool]string{true: ":443", false: ":80"}[a.scheme == "https"]
	}
	start := a.scheme + "://" + host
	return [2]string{start + a.request, start + port + a.request}
}

// queryParam returns the first value of a parameter whose name needs no escapes,
// and how often it is there.
func queryParam(query, name string) (value string, n int) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if key, v, _ := strings.Cut(pair, "="); key == name {
			if n == 0 {
				value = v
			}
			n++
		}
	}
	return value, n
}

// bodyHexMatches reports in constant time whether text is the SHA-256 of body.
func bodyHexMatches(text string, body []byte) bool {
	sum := sha256.Sum256(body)
	var want [2 * sha256.Size]byte
	hex.Encode(want[:], sum[:])
	return subtle.ConstantTimeCompare(want[:], []byte(text)) == 1
}

// isForm reports whether a Content-Type is that of a form.
func isForm(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), "application/x-www-form-urlencoded")
}

// twilioRequests is the code of Twilio's scheme.
type twilioRequests struct{}

// check implements whole.
func (twilioRequests) check(s *Scheme) (faults []string) {
	if s.Hash != hashSHA1 {
		faults = append(faults, `hash: give "sha1", which Twilio has alone`)
	}
	if s.Encoding != encodingBase64 {
		faults = append(faults, `encoding: give "base64"`)
	}
	if s.TimestampHeader+s.TimestampEntry+s.Entry+s.PublicEntry+s.Separator != "" {
		faults = append(faults, "timestamp header, entries and separator: there are none; leave them empty")
	}
	return faults
}

// takes implements whole.
func (twilioRequests) takes(_ *Scheme, kind SecretKind) string {
	if !kind.shared() {
		return "is of an Ed25519 key pair; Twilio has a shared one, see SecretFromRaw"
	}
	return ""
}

// signsAddress implements whole.
func (twilioRequests) signsAddress(*Scheme) bool { return true }

// sign implements whole. There is room for one signature: the newest key signs.
func (twilioRequests) sign(s *Scheme, out http.Header, keys []*ringKey, m *outgoing) error {
	target, fault := sentTo(m.request)
	if fault != "" {
		return unsignable("url: " + fault)
	}
	base, fault := twilioBase(nil, twilioTargets(target)[0], m.request.Header.Get("Content-Type"), m.body)
	if fault != "" {
		return unsignable("twilio: " + fault)
	}
	out[s.SignatureHeader] = []string{base64.StdEncoding.EncodeToString(keys[0].mac(sha1.New, base))}
	if s.IDHeader != "" {
		out[s.IDHeader] = []string{m.id}
	}
	return nil
}

// A twilioClaim is what a request of Twilio says.
type twilioClaim struct {
	sum         [sha1.Size]byte
	targets     [2]string
	contentType string
	bases       [2][]byte // of targets, when the body is there
	matched     int       // index in bases
}

// read implements whole.
func (twilioRequests) read(s *Scheme, _ []*ringKey, in *incoming) (wholeClaim, error) {
	text, err := line(in.header, s.SignatureHeader)
	if err != nil {
		return nil, err
	}
	claim := &twilioClaim{}
	if !decodeBytes(claim.sum[:], text) {
		return nil, refuse(ErrMalformed, s.SignatureHeader+": not 28 characters of padded base64")
	}
	if kinds := in.header["Content-Type"]; len(kinds) == 1 {
		claim.contentType = kinds[0]
	} else if len(kinds) > 1 {
		return nil, refuse(ErrMalformed, "Content-Type: "+strconv.Itoa(len(kinds))+" lines; send one")
	}
	target, fault := parseAddress(in.address)
	if fault != "" {
		return nil, refuse(ErrMalformed, "url: "+fault)
	}
	claim.targets = twilioTargets(target)
	return claim, nil
}

// judge implements wholeClaim: there is no time to judge.
func (*twilioClaim) judge(time.Time, time.Duration) error { return nil }

// bind implements wholeClaim.
func (c *twilioClaim) bind(body []byte) error {
	for i, target := range c.targets {
		var fault string
		switch c.bases[i], fault = twilioBase(nil, target, c.contentType, body); fault {
		case "":
		case changedBody:
			return refuse(ErrSignature, fault)
		default:
			return refuse(ErrMalformed, fault)
		}
	}
	return nil
}

// matches implements wholeClaim.
func (c *twilioClaim) matches(k *ringKey) bool {
	found := 0
	for i, base := range c.bases {
		same := subtle.ConstantTimeCompare(k.mac(sha1.New, base), c.sum[:])
		found |= same
		c.matched = subtle.ConstantTimeSelect(same, i, c.matched)
	}
	return found == 1
}

// proven implements wholeClaim.
func (c *twilioClaim) proven(v Verified) []Verified {
	sum := sha256.Sum256(c.bases[c.matched])
	v.replay = hex.EncodeToString(sum[:])
	return []Verified{v}
}
