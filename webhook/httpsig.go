package webhook

import (
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	inputHeader     = "Signature-Input"
	signatureHeader = "Signature"

	algHMAC    = "hmac-sha256" // RFC 9421 section 3.3.3
	algEd25519 = "ed25519"     // section 3.3.6

	componentDigest = "content-digest"
	componentType   = "content-type"
)

// HTTPSignatures returns the scheme of RFC 9421, HTTP Message Signatures, with
// the Content-Digest of RFC 9530: HMAC-SHA-256 or Ed25519 over the method, the
// address, the digest of the body, its type and the message id, with the time of
// the attempt. The key is shared, or of a pair.
//
// more are further components, such as "x-tenant" for a header of that name. All
// components of the scheme have to be covered by a signature that is accepted,
// Content-Type where the request has one. For a sender that signs other
// components, change Signed: it is their list as RFC 9421 writes it, with at
// least "@method", "@target-uri" and "content-digest". The digest may be left out
// of a request without a body. An id that is not covered is not believed, and
// messages are then told apart by all that is signed.
//
// It signs the address, so that [Verifier.VerifyRequest] and the handler verify
// it, and Verify, which has headers alone, cannot.
func HTTPSignatures(more ...string) Scheme {
	components := append([]string{"@method", componentURI, componentDigest, componentType, "webhook-id"}, more...)
	return Scheme{Name: "rfc9421", Signed: `("` + strings.Join(components, `" "`) + `")`, IDHeader: "Webhook-Id", SignatureHeader: signatureHeader}
}

// httpSignatures is the code of RFC 9421.
type httpSignatures struct{}

// components returns those of a Signed that check has passed.
func (httpSignatures) components(s *Scheme) (list [maxComponents]string, n int) {
	in := signatureInput{}
	_ = in.parse(&scanner{s.Signed})
	return in.components, in.n
}

// check implements whole.
func (httpSignatures) check(s *Scheme) (faults []string) {
	in, rest := signatureInput{}, scanner{s.Signed}
	if fault := in.parse(&rest); fault != "" || rest.rest != "" || in.foreign || in.created+in.expires != 0 || strings.Contains(s.Signed, ";") {
		faults = append(faults, `signed: not a list of up to 16 components like ("@method" "@target-uri" "content-digest"), without parameters`)
	}
	for _, name := range []string{"@method", componentURI, componentDigest} {
		if !in.covers(name) {
			faults = append(faults, "signed: "+name+" is not in it; a message could be sent elsewhere or changed")
		}
	}
	for _, name := range in.components[:in.n] {
		_, derived := (&covered{}).appendDerived(nil, name)
		if name[0] == '@' && !derived {
			faults = append(faults, "signed: "+name+" is not known here; give @method, @target-uri, @authority, @scheme, @path or @query")
		}
		if slices.Contains([]string{"host", "signature", "signature-input"}, name) {
			faults = append(faults, "signed: "+name+" cannot be signed here; for the host give @authority")
		}
	}
	if s.SignatureHeader != signatureHeader {
		faults = append(faults, "signature header: RFC 9421 has one, Signature")
	}
	if slices.Contains([]string{signatureHeader, inputHeader, digestHeader}, s.IDHeader) {
		faults = append(faults, "id header: one that RFC 9421 uses; give another")
	}
	if s.Hash != hashSHA256 {
		faults = append(faults, `hash: give "sha256"`)
	}
	if s.TimestampHeader+s.TimestampEntry+s.Entry+s.PublicEntry+s.Separator+s.Encoding != "" {
		faults = append(faults, "timestamp header, entries, separator and encoding: RFC 9421 leaves no choice; leave them empty")
	}
	return faults
}

// takes implements whole: shared secrets and key pairs.
func (httpSignatures) takes(*Scheme, SecretKind) string { return "" }

// signsAddress implements whole.
func (httpSignatures) signsAddress(*Scheme) bool { return true }

// sign implements whole.
func (h httpSignatures) sign(s *Scheme, out http.Header, keys []*ringKey, m *outgoing) error {
	target, fault := sentTo(m.request)
	if fault != "" {
		return unsignable("url: " + fault)
	}
	out[digestHeader] = []string{string(appendDigest(nil, m.body))}
	if s.IDHeader != "" {
		out[s.IDHeader] = []string{m.id}
	}
	list, n := h.components(s)
	components := list[:n]
	c := covered{method: methodOf(m.request), target: target, header: m.request.Header, own: out}
	if _, fault := c.field(componentType); fault == missing {
		components = slices.DeleteFunc(components, func(name string) bool { return name == componentType })
	}
	var inputs, signatures []byte
	for i, k := range keys {
		text := appendInput(nil, components, m.at.Unix(), k.ID, algOf(k))
		base, name, fault := c.appendBase(nil, components, string(text))
		if fault != "" {
			return unsignable(name + ": " + fault)
		}
		signature, err := k.signBase(base)
		if err != nil {
			return err
		}
		if i > 0 {
			inputs, signatures = append(inputs, ", "...), append(signatures, ", "...)
		}
		label := "sig" + strconv.Itoa(i+1) + "="
		inputs = append(append(inputs, label...), text...)
		signatures = appendBytes(append(signatures, label...), signature)
	}
	if len(inputs) > maxField {
		return unsignable("Signature-Input has more than 4096 bytes; sign with fewer keys, or fewer components")
	}
	out[inputHeader], out[signatureHeader] = []string{string(inputs)}, []string{string(signatures)}
	return nil
}

func methodOf(r *http.Request) string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// algOf names the algorithm of a key.
func algOf(k *ringKey) string {
	if k.Secret.Kind().shared() {
		return algHMAC
	}
	return algEd25519
}

// signBase signs a signature base.
func (k *ringKey) signBase(base []byte) ([]byte, error) {
	if k.Secret.Kind().shared() {
		return k.mac(sha256.New, base), nil
	}
	return k.Secret.sign(base)
}

// A signedMember is one signature of a request, with what it covers.
type signedMember struct {
	base             []byte
	signature        [ed25519.SignatureSize]byte
	size             int // of signature: that of a MAC, or all of it
	created, expires int64
	coversBody       bool
	coversID         bool
	usable           bool // in time, and covers the body if there is one
	matched          bool // made with a live key
	replay           [sha256.Size]byte
}

// A memberClaim is what a request says that is signed by RFC 9421.
type memberClaim struct {
	list    []signedMember
	digest  contentDigest
	id      string
	matched int // index in list of the first that matched; -1: none
}

// read implements whole. A signature that the scheme does not ask for, such as
// that of a proxy, is passed over; when none is left, the first says why.
func (h httpSignatures) read(s *Scheme, keys []*ringKey, in *incoming) (wholeClaim, error) {
	field, err := line(in.header, inputHeader)
	if err != nil {
		return nil, err
	}
	signatures, err := line(in.header, signatureHeader)
	if err != nil {
		return nil, err
	}
	target, fault := parseAddress(in.address)
	if fault != "" {
		return nil, refuse(ErrMalformed, "url: "+fault)
	}
	c := covered{method: methodOf(in.request), target: target, header: in.header}
	claim := &memberClaim{matched: -1}
	var first error
	pairs := 0
	fault = parseInputs(field, func(input *signatureInput) bool {
		member, err := h.member(s, &c, input, signatures)
		if err == nil && !slices.ContainsFunc(keys, member.madeFor) {
			err = refuse(ErrSignature, inputHeader+": "+input.label+" is of another kind than all keys; ask the sender for one that is shared, or of a pair, as you have it")
		}
		if err == nil {
			claim.list = append(claim.list, member)
			if member.size == ed25519.SignatureSize {
				pairs++
			}
		} else if first == nil {
			first = err
		}
		return true
	})
	switch {
	case fault != "":
		return nil, refuse(ErrMalformed, inputHeader+": "+fault)
	case pairs > maxPublic:
		return nil, refuse(ErrMalformed, fmt.Sprintf("%s: more than %d signatures of key pairs", inputHeader, maxPublic))
	case len(claim.list) == 0:
		return nil, first
	}
	if err := claim.readHeaders(s, &c); err != nil {
		return nil, err
	}
	return claim, nil
}

// readHeaders reads the digest and the id, where a signature covers them.
func (c *memberClaim) readHeaders(s *Scheme, headers *covered) error {
	if slices.ContainsFunc(c.list, func(m signedMember) bool { return m.coversBody }) {
		value, fault := headers.field(componentDigest)
		if fault == "" {
			fault = c.digest.parse(value)
		}
		if fault != "" {
			return refuse(ErrMalformed, digestHeader+": "+fault)
		}
	}
	if slices.ContainsFunc(c.list, func(m signedMember) bool { return m.coversID }) {
		id, fault := headers.field(s.IDHeader)
		if fault != "" || !validID(id) {
			return refuse(ErrMalformed, s.IDHeader+": not 1 to 256 characters of A-Z, a-z, 0-9, '_', '-'")
		}
		c.id = id
	}
	return nil
}

// member reads one signature, or says why it proves nothing.
func (h httpSignatures) member(s *Scheme, c *covered, in *signatureInput, signatures string) (m signedMember, err error) {
	where := inputHeader + ": " + in.label + " "
	text, fault := findSignature(signatures, in.label)
	switch {
	case fault != "":
		return m, refuse(ErrMalformed, signatureHeader+": "+fault)
	case text == "":
		return m, refuse(ErrMissing, signatureHeader+": "+in.label+" is missing, which Signature-Input announces")
	case in.foreign:
		return m, refuse(ErrMalformed, where+"covers a component with parameters, which are not known here")
	case !in.hasCreated:
		return m, refuse(ErrMalformed, where+"has no created, so that its age is unknown; ask the sender for it")
	case in.hasExpires && in.expires < in.created:
		return m, refuse(ErrMalformed, where+"expires before it was created")
	case in.created > lastInstant || in.expires > lastInstant:
		return m, refuse(ErrMalformed, where+"has a time of more than 11 digits")
	case in.alg != "" && in.alg != algHMAC && in.alg != algEd25519:
		return m, refuse(ErrSignature, where+"is of another algorithm than hmac-sha256 and ed25519; ask the sender for one of them")
	}
	list, n := h.components(s)
	for _, name := range list[:n] {
		_, absent := c.field(name)
		optional := name == componentDigest || name == componentType && absent == missing
		if !optional && !in.covers(name) {
			return m, refuse(ErrMalformed, where+"does not cover "+name+"; ask the sender for "+s.Signed)
		}
	}
	m.size = ed25519.SignatureSize
	if in.alg == algHMAC || in.alg == "" && len(text) < 2*sha256.Size {
		m.size = sha256.Size
	}
	if !decodeBytes(m.signature[:m.size], text) {
		return m, refuse(ErrMalformed, signatureHeader+": "+in.label+" is not padded base64 of "+strconv.Itoa(m.size)+" bytes")
	}
	base, name, fault := c.appendBase(nil, in.components[:in.n], in.text)
	switch {
	case fault == missing:
		return m, refuse(ErrMissing, name+": "+fault)
	case fault != "":
		return m, refuse(ErrMalformed, name+": "+fault)
	}
	m.base, m.created, m.expires = base, in.created, lastInstant
	if in.hasExpires {
		m.expires = in.expires
	}
	m.coversBody = in.covers(componentDigest)
	m.coversID = s.IDHeader != "" && in.covers(strings.ToLower(s.IDHeader))
	m.replay = replayOf(base, in)
	return m, nil
}

// replayOf hashes what tells one message from another. The name of the key and
// the label are no part of it: of a message with two signatures, nobody gets a
// second one by taking the first signature off.
func replayOf(base []byte, in *signatureInput) [sha256.Size]byte {
	b := append([]byte(nil), base[:len(base)-len(in.text)]...)
	b = strconv.AppendInt(b, in.created, 10)
	b = append(b, ' ')
	return sha256.Sum256(append(b, in.nonce...))
}

// judge implements wholeClaim.
func (c *memberClaim) judge(now time.Time, tolerance time.Duration) error {
	var first error
	timely := false
	for i := range c.list {
		m := &c.list[i]
		err := judgeTime(inputHeader+": created", time.Unix(m.created, 0), now, tolerance)
		if err == nil && now.After(time.Unix(m.expires, 0)) {
			err = refuse(ErrTooOld, inputHeader+": expired at "+time.Unix(m.expires, 0).UTC().Format(time.RFC3339)+"; a late or repeated request, or a clock that is off")
		}
		m.usable = err == nil
		timely = timely || m.usable
		if first == nil {
			first = err
		}
	}
	if timely {
		return nil
	}
	return first
}

// bind implements wholeClaim.
func (c *memberClaim) bind(body []byte) error {
	usable := false
	for i := range c.list {
		m := &c.list[i]
		m.usable = m.usable && (m.coversBody || len(body) == 0)
		usable = usable || m.usable
	}
	if !usable {
		return refuse(ErrMalformed, inputHeader+": no signature covers content-digest, so that nothing proves the body; ask the sender for it")
	}
	if (c.digest.has256 || c.digest.has512) && !c.digest.matches(body) {
		return refuse(ErrSignature, digestHeader+": not that of the body; it was changed on its way, or decoded")
	}
	return nil
}

// matches implements wholeClaim.
func (c *memberClaim) matches(k *ringKey) bool {
	found := false
	for i := range c.list {
		if m := &c.list[i]; m.usable && m.matches(k) {
			found, m.matched = true, true
			if c.matched < 0 {
				c.matched = i
			}
		}
	}
	return found
}

// matches reports whether m was made with k. A signature of the other kind never
// was: what one side calls a public key is not used as a secret.
func (m *signedMember) matches(k *ringKey) bool {
	switch {
	case !m.madeFor(k):
		return false
	case m.size == sha256.Size:
		return subtle.ConstantTimeCompare(k.mac(sha256.New, m.base), m.signature[:m.size]) == 1
	}
	return ed25519.Verify(k.Secret.public(), m.base, m.signature[:])
}

// madeFor reports whether m is a signature of the kind of k.
func (m *signedMember) madeFor(k *ringKey) bool {
	return k.Secret.Kind().shared() == (m.size == sha256.Size)
}

// proven implements wholeClaim.
func (c *memberClaim) proven(v Verified) []Verified {
	list := []Verified{c.list[c.matched].proven(v, c.id)}
	for i := range c.list {
		if m := &c.list[i]; m.matched && i != c.matched {
			list = append(list, m.proven(v, c.id))
		}
	}
	return list
}

// proven returns v with what m proves.
func (m *signedMember) proven(v Verified, id string) Verified {
	v.Timestamp = time.Unix(m.created, 0).UTC()
	if m.coversID {
		v.ID = id
	} else {
		v.replay = hex.EncodeToString(m.replay[:])
	}
	return v
}
