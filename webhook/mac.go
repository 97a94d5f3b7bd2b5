package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"sync"
	"time"
)

// A ring is a Keys made ready to compute HMAC-SHA-256. It does not change.
type ring []*macKey

// A macKey is a key with hash states to reuse: setting one up costs as much as
// hashing two blocks.
type macKey struct {
	Key

	states sync.Pool // of *macState
}

// A macState is one hash and the memory that its arguments and results need,
// together because what is passed to a hash.Hash lives on the heap.
type macState struct {
	mac hash.Hash
	buf [maxID + maxTimestamp + 2]byte // "{id}.{timestamp}.", later the sum
}

func newRing(keys Keys) ring {
	r := make(ring, 0, keys.Len())
	for k := range keys.All() {
		r = append(r, &macKey{Key: k})
	}
	return r
}

// live reports whether any key is live at the given instant.
func (r ring) live(at time.Time) bool {
	for _, k := range r {
		if k.live(at) {
			return true
		}
	}
	return false
}

// sum returns HMAC-SHA-256 of "{id}.{timestamp}.{body}". The id is at most
// maxID and the timestamp at most maxTimestamp long: callers have checked.
func (k *macKey) sum(id, timestamp string, body []byte) (sum [sha256.Size]byte) {
	st, _ := k.states.Get().(*macState)
	if st == nil {
		st = &macState{mac: hmac.New(sha256.New, k.Secret.bytes())}
	}
	b := append(st.buf[:0], id...)
	b = append(b, '.')
	b = append(b, timestamp...)
	b = append(b, '.')
	st.mac.Reset()
	_, _ = st.mac.Write(b) // a hash.Hash never returns an error
	_, _ = st.mac.Write(body)
	copy(sum[:], st.mac.Sum(st.buf[:0]))
	k.states.Put(st)
	return sum
}
