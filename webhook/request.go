package webhook

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// firstRead bounds what is allocated on the word of a Content-Length alone.
const firstRead = 64 << 10

// VerifyRequest reads the body of r, at most MaxBody bytes, and verifies it with
// the headers of r as [Verifier.Verify] does. What the headers alone refuse is
// refused before a byte is read. Time and keys are judged again when the body
// is complete: whoever sends slowly makes no request last longer. Whatever the
// outcome, r.Body reads from its start afterwards, so that a handler can decode
// it, or another verifier try.
//
// Besides the errors of Verify there are [ErrBodyTooLarge], and [ErrBody] when
// reading failed; the reader's own error stays reachable.
func (v *Verifier) VerifyRequest(r *http.Request) (Verified, error) {
	proofs, _, err := v.verifyRequest(r)
	if err != nil {
		return Verified{}, err
	}
	return proofs[0], nil
}

// verifyRequest returns what is proven under every scheme that proves something,
// in the order of their newest keys, and the body; or an error. All of it names one
// message.
func (v *Verifier) verifyRequest(r *http.Request) ([]Verified, []byte, error) {
	if v.keys.Load() == nil {
		return nil, nil, refuse(ErrNoKeys, "")
	}
	in := incoming{header: r.Header, request: r, address: v.baseURL + target(r)}
	claims, denial := v.keys.Load().claims(nil, &in, v.tolerance, v.now())
	if len(claims) == 0 {
		return nil, nil, denial
	}
	body, err := readBody(r, v.maxBody)
	if err != nil {
		return nil, nil, err
	}
	now := v.now()
	claims, denial = v.keys.Load().claims(claims[:0], &in, v.tolerance, now)
	var proofs []Verified
	for i := range claims {
		match, err := claims[i].prove(now, body)
		if err != nil {
			denial = tell(denial, err)
			continue
		}
		proofs = claims[i].appendProofs(proofs, match)
	}
	if len(proofs) == 0 {
		return nil, nil, denial
	}
	return proofs, body, nil
}

// claims reads the headers under every scheme, and appends what can be proven
// yet to list, which is empty. It returns the denial of the others.
func (r *ring) claims(list []claim, in *incoming, tolerance time.Duration, now time.Time) (_ []claim, denial error) {
	list = slices.Grow(list, len(r.groups))
	for _, g := range r.groups {
		list = append(list, claim{group: g})
		c := &list[len(list)-1]
		err := c.read(in)
		if err == nil {
			err = c.judge(tolerance, now)
		}
		if err != nil {
			denial, list = tell(denial, err), list[:len(list)-1]
		}
	}
	return list, denial
}

// target returns path and query of r as they were sent, whatever a handler
// before this one made of r.URL.
func target(r *http.Request) string {
	sent := r.RequestURI
	if sent == "" && r.URL != nil {
		return r.URL.RequestURI() // no server read r
	}
	_, rest, absolute := strings.Cut(sent, "://")
	if !absolute || sent[0] == '/' {
		return sent
	}
	// RFC 9112 section 3.2.2: a whole address, of which only this is believed.
	start := strings.IndexAny(rest, "/?")
	switch {
	case start < 0:
		return "/"
	case rest[start] == '?':
		return "/" + rest[start:]
	}
	return rest[start:]
}

// readBody returns the whole body of r, or an error when it is longer than
// limit or breaks off. It leaves r.Body at its start.
func readBody(r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, tooLarge("webhook.VerifyRequest", limit, ErrBodyTooLarge)
	}
	size := int64(512)
	if r.ContentLength > 0 {
		size = min(r.ContentLength, firstRead) + 1 // the last byte is for seeing the end
	}
	buf := make([]byte, 0, size)
	var err error
	for err == nil && int64(len(buf)) <= limit {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		var n int
		n, err = r.Body.Read(buf[len(buf):min(int64(cap(buf)), limit+1)])
		buf = buf[:len(buf)+n]
	}
	src := r.Body
	if err == io.EOF && int64(len(buf)) <= limit {
		r.Body = restored{bytes.NewReader(buf), src}
		return buf, nil
	}
	// What was read, then whatever src has to say next.
	r.Body = restored{io.MultiReader(bytes.NewReader(buf), src), src}
	if int64(len(buf)) > limit {
		return nil, tooLarge("webhook.VerifyRequest", limit, ErrBodyTooLarge)
	}
	return nil, broken("webhook.VerifyRequest", err)
}

// restored reads from its Reader and closes the original body.
type restored struct {
	io.Reader
	io.Closer
}
