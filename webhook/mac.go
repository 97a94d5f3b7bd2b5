package webhook

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha512"
	"crypto/subtle"
	"hash"
	"slices"
	"strings"
	"sync"
	"time"
)

// A ring is a Keys made ready to sign and verify. It does not change.
type ring struct{ groups []*group }

// A group is the keys of one scheme, newest first. Groups are in the order of
// their newest keys.
type group struct {
	form   form
	keys   []*ringKey
	shared bool // there are keys that both sides share
	paired bool // there are keys of pairs
}

// A ringKey is a key with hash states to reuse: setting one up costs as much as
// hashing two blocks.
type ringKey struct {
	Key

	form   *form
	states sync.Pool // of *macState
}

// newRing makes keys ready; they were checked by newKeys.
func newRing(keys Keys) *ring {
	r := &ring{}
	for k := range keys.All() {
		i := slices.IndexFunc(r.groups, func(g *group) bool { return g.keys[0].Scheme == k.Scheme })
		if i < 0 {
			i = len(r.groups)
			f, _ := newForm(k.Scheme)
			r.groups = append(r.groups, &group{form: *f})
		}
		g := r.groups[i]
		g.keys = append(g.keys, &ringKey{Key: k, form: &g.form})
		g.shared = g.shared || k.Secret.Kind().shared()
		g.paired = g.paired || !k.Secret.Kind().shared()
	}
	return r
}

// live reports whether any key is live at the given instant.
func (g *group) live(at time.Time) bool {
	return slices.ContainsFunc(g.keys, func(k *ringKey) bool { return k.live(at) })
}

// live reports whether any key is live at the given instant.
func (r *ring) live(at time.Time) bool {
	return slices.ContainsFunc(r.groups, func(g *group) bool { return g.live(at) })
}

// liveKeys returns the keys that are live at the given instant.
func (g *group) liveKeys(at time.Time) []*ringKey {
	return slices.DeleteFunc(slices.Clone(g.keys), func(k *ringKey) bool { return !k.live(at) })
}

// A macState is one hash and the memory that its arguments and results need,
// together because what is passed to a hash.Hash lives on the heap.
type macState struct {
	mac hash.Hash
	buf [maxSigned + maxID + maxTimestamp + blockSize]byte // what is hashed around the body, later the sum
}

// blockSize is a multiple of what the hashes take at a time.
const blockSize = sha512.BlockSize

// begin returns a state that has hashed what comes before the body, and the
// first bytes of it, and the rest of the body. What is hashed first fills whole
// blocks, which saves the hash from keeping a part of one.
func (k *ringKey) begin(id, timestamp string, body []byte) (st *macState, rest []byte) {
	st, _ = k.states.Get().(*macState)
	if st == nil {
		st = &macState{mac: hmac.New(k.form.newHash, k.Secret.bytes())}
	}
	st.mac.Reset()
	b := appendParts(st.buf[:0], k.form.before, id, timestamp)
	if len(b) > 0 {
		n := min(-len(b)&(blockSize-1), len(body))
		_, _ = st.mac.Write(append(b, body[:n]...)) // a hash.Hash never returns an error
		body = body[n:]
	}
	return st, body
}

// end hashes what comes after the body and returns the MAC, which is valid
// until st is put back.
func (k *ringKey) end(st *macState, id, timestamp string) []byte {
	if len(k.form.after) > 0 {
		_, _ = st.mac.Write(appendParts(st.buf[:0], k.form.after, id, timestamp))
	}
	return st.mac.Sum(st.buf[:0])
}

// appendMAC appends the text of the MAC of one message to dst.
func (k *ringKey) appendMAC(dst []byte, id, timestamp string, body []byte) []byte {
	st, rest := k.begin(id, timestamp, body)
	_, _ = st.mac.Write(rest)
	dst = k.form.appendText(dst, k.end(st, id, timestamp))
	k.states.Put(st)
	return dst
}

// matches compares all signatures with the MAC of k in constant time, or
// verifies all of them with its public key, which is no secret. message is what
// is signed as a whole, if there are signatures of pairs.
func (c *claim) matches(k *ringKey, body, message []byte) bool {
	switch {
	case c.whole != nil:
		return c.whole.matches(k)
	case !k.Secret.Kind().shared():
		return c.p > 0 && c.verifies(k, message)
	case c.n == 0:
		return false
	}
	st, rest := k.begin(c.id, c.timestamp, body)
	_, _ = st.mac.Write(rest)
	found := c.compare(k.end(st, c.id, c.timestamp))
	k.states.Put(st)
	return found
}

// compare compares all MACs with the right one, in constant time.
func (c *claim) compare(right []byte) bool {
	found := 0
	for i := range c.n {
		sum := c.mac(i)
		found |= subtle.ConstantTimeCompare(right, sum[:c.form.sumSize])
	}
	return found == 1
}

// verifies reports whether any Ed25519 signature is one of k.
func (c *claim) verifies(k *ringKey, message []byte) bool {
	found := false
	for i := range c.p {
		signature := c.pair(i)
		found = ed25519.Verify(k.Secret.public(), message, signature[:]) || found
	}
	return found
}

// message returns what is signed as a whole, which Ed25519 needs.
func (f *form) message(id, timestamp string, body []byte) []byte {
	b := make([]byte, 0, len(f.Signed)+len(id)+len(timestamp)+len(body))
	b = appendParts(b, f.before, id, timestamp)
	b = append(b, body...)
	return appendParts(b, f.after, id, timestamp)
}

// entry returns how a signature of k begins.
func (k *ringKey) entry() string {
	if k.Secret.Kind().shared() {
		return k.form.Entry
	}
	return k.form.PublicEntry
}

// mac returns the HMAC of a message that a whole scheme made, which is short.
func (k *ringKey) mac(newHash func() hash.Hash, message []byte) []byte {
	h := hmac.New(newHash, k.Secret.bytes())
	_, _ = h.Write(message)
	return h.Sum(nil)
}

// appendEntry appends the signature of one message by k as it stands in the
// header, with how it begins.
func (k *ringKey) appendEntry(dst []byte, id, timestamp string, body []byte) ([]byte, error) {
	dst = append(dst, k.entry()...)
	if k.Secret.Kind().shared() {
		return k.appendMAC(dst, id, timestamp, body), nil
	}
	signature, err := k.Secret.sign(k.form.message(id, timestamp, body))
	if err != nil {
		return dst, err
	}
	return k.form.appendText(dst, signature), nil
}

// schemeNames lists the schemes of r, for errors.
func (r *ring) schemeNames() string {
	names := make([]string, 0, len(r.groups))
	for _, g := range r.groups {
		names = append(names, g.form.Name)
	}
	return strings.Join(names, ", ")
}
