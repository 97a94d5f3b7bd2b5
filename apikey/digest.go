package apikey

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"hash"
	"log/slog"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// What is hashed begins with a label, so that no digest of one purpose is ever
// one of another.
const (
	digestLabel = "keytoll/apikey/v1\x00"
	handleLabel = "keytoll/handle\x00"
)

// A Digest proves a key's text without holding it. With a pepper it is
// HMAC-SHA-256(pepper, "keytoll/apikey/v1\x00" + text), and Version is the
// pepper's; with Version 0 it is SHA-256 of the same. Slow hashes buy nothing
// here: a key holds [MinEntropy] random bits or more. The zero value proves
// nothing.
//
// Presented as a key, a digest that leaked proves nothing either.
type Digest struct {
	Version uint32
	Sum     [sha256.Size]byte
}

// A Pepper is a secret of the host that keeps a stolen digest from being tested
// against guesses, because it is not in the store. (With [FormatOptions.NoID] the
// handle is a plain hash of the key, against which guesses can be tested: there
// [MinEntropy] alone stands in the way, as it does without a pepper.) It redacts its
// Secret in fmt, JSON, text and slog. The zero Pepper, before the first one, is none
// yet: see [Options.Peppers].
type Pepper struct {
	// Version names the pepper in every record made under it: 1 or more, and
	// never used for another secret. A new pepper has a higher one: keys that are
	// used move to the current pepper from lower versions, and from those with an
	// end, so that a fleet in the middle of a change does not move them back.
	Version uint32
	// Secret is 32 random bytes or more.
	Secret []byte
	// NotAfter, of a retired pepper, is the first instant at which records made
	// under it no longer work; the zero time means never. The current pepper has
	// none.
	NotAfter time.Time
}

// Format writes the pepper without its secret, whatever the verb and its flags
// (but %p, which asks no method): options end up in logs.
func (p Pepper) Format(w fmt.State, _ rune) {
	_, _ = fmt.Fprintf(w, "pepper %d %s", p.Version, redacted)
}

// LogValue returns the pepper without its secret.
func (p Pepper) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(p)) }

// MarshalText returns the pepper without its secret, for JSON among others.
// Reading a Pepper from JSON is not affected.
func (p Pepper) MarshalText() ([]byte, error) { return []byte(fmt.Sprint(p)), nil }

// A keyring computes digests. It is immutable and safe for concurrent use.
type keyring struct {
	current uint32
	peppers []*pepper
	plain   sync.Pool // *scratch without mac, for version 0
}

type pepper struct {
	version  uint32
	notAfter time.Time
	pool     sync.Pool // *scratch with the pepper's mac
}

// A scratch is what one digest needs, kept from call to call.
type scratch struct {
	mac  hash.Hash
	text [len(digestLabel) + MaxTokenLength]byte
	sum  [sha256.Size]byte
}

// newKeyring takes the current pepper first; none, or the zero one, is version 0.
// Records made before a pepper was adopted have version 0 and keep working.
func newKeyring(faults *errors.Faults, peppers []Pepper) *keyring {
	ring := new(keyring)
	ring.plain.New = func() any { return newScratch(sha256.New()) }
	for i, p := range peppers {
		if i == 0 && len(peppers) > 1 && p.Version == 0 && len(p.Secret) == 0 && p.NotAfter.IsZero() {
			continue // none yet, with the first one behind it
		}
		if p.Version == 0 {
			faults.Add("peppers[%d]: version is 0, which means no pepper; give 1 or more", i)
		}
		if len(p.Secret) < 32 {
			faults.Add("peppers[%d]: the secret has %d bytes; give 32 or more random ones", i, len(p.Secret))
		}
		if i == 0 && !p.NotAfter.IsZero() {
			faults.Add("peppers[0]: the current pepper has an end; leave NotAfter zero and put the pepper behind its replacement to retire it")
		}
		if ring.find(p.Version) != nil {
			faults.Add("peppers[%d]: version %d is given twice; give each pepper its own", i, p.Version)
		}
		secret := append([]byte(nil), p.Secret...)
		own := &pepper{version: p.Version, notAfter: p.NotAfter}
		own.pool.New = func() any { return newScratch(hmac.New(sha256.New, secret)) }
		ring.peppers = append(ring.peppers, own)
	}
	if len(peppers) > 0 {
		ring.current = peppers[0].Version
	}
	return ring
}

func newScratch(mac hash.Hash) *scratch {
	s := &scratch{mac: mac}
	copy(s.text[:], digestLabel)
	return s
}

func (r *keyring) find(version uint32) *pepper {
	for _, p := range r.peppers {
		if p.version == version {
			return p
		}
	}
	return nil
}

// digest returns the digest of token under the current pepper.
func (r *keyring) digest(token string) Digest {
	d := Digest{Version: r.current}
	pool := &r.plain
	if p := r.find(r.current); p != nil {
		pool = &p.pool
	}
	s := pool.Get().(*scratch)
	s.compute(token)
	d.Sum = s.sum
	pool.Put(s)
	return d
}

// prove reports whether d is the digest of token. It does not when d's pepper
// is not in the keyring or has ended at now, which pepperGone tells; the work
// done is the same.
func (r *keyring) prove(token string, d *Digest, now time.Time) (proven, pepperGone bool) {
	pool := &r.plain
	if d.Version != 0 {
		p := r.find(d.Version)
		if p == nil || !p.notAfter.IsZero() && !now.Before(p.notAfter) {
			pepperGone = true
			p = r.find(r.current)
		}
		if p != nil {
			pool = &p.pool
		}
	}
	s := pool.Get().(*scratch)
	s.compute(token)
	proven = subtle.ConstantTimeCompare(s.sum[:], d.Sum[:]) == 1
	pool.Put(s)
	return proven && !pepperGone, pepperGone
}

// compute sets s.sum. Token is at most MaxTokenLength bytes: Parse saw to that.
func (s *scratch) compute(token string) {
	n := copy(s.text[len(digestLabel):], token)
	s.mac.Reset()
	s.mac.Write(s.text[:len(digestLabel)+n])
	s.mac.Sum(s.sum[:0])
	clear(s.text[len(digestLabel) : len(digestLabel)+n])
}
