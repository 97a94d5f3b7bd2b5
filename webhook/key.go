package webhook

import (
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// MaxKeys is the most keys a set holds. Each live key costs one more MAC for
// every message signed or verified.
const MaxKeys = 10

const maxKeyID = 64

// A Key is a secret with a name and an end.
type Key struct {
	// ID names the key in results, logs and metrics: 1 to 64 characters of
	// A-Z, a-z, 0-9, '.', '_' and '-'. Empty means a fingerprint of the secret
	// ("key_" and 8 hex digits), which both sides derive alike.
	ID string
	// Secret signs and verifies. The zero Secret is refused.
	Secret Secret
	// Scheme is how messages are signed with it. The zero Scheme is Standard(""); a
	// key set puts in what it stands for.
	Scheme Scheme
	// NotAfter ends the key: it is live before this instant and expired from it
	// on. Zero means never.
	NotAfter time.Time
}

// live reports whether k may be used at the given instant.
func (k Key) live(at time.Time) bool { return k.NotAfter.IsZero() || at.Before(k.NotAfter) }

// Keys is an immutable set of keys, newest first. While a secret is being
// replaced the set holds the old and the new: a sender signs with all live
// keys, a receiver accepts any of them. So it is while a scheme is being
// replaced.
//
// The zero value holds no key; signers and verifiers refuse it. A Keys may be
// copied and shared between goroutines.
type Keys struct{ list []Key }

// NewKeys makes a set of 1 to [MaxKeys] keys, given newest first. It reports
// every fault at once: a zero secret, a malformed name, a name or a secret that
// is there twice, a scheme that is ambiguous, that the secret is not for or that
// clashes with another. A key that has expired already is kept: a verifier uses
// it to say so.
//
// A secret may be there twice under schemes that hash the same text, such as
// Standard("") and Standard("svix-"). Under others a signature made for one
// could be used for the other.
func NewKeys(keys ...Key) (Keys, error) {
	return newKeys("webhook.NewKeys", keys)
}

func newKeys(op string, keys []Key) (Keys, error) {
	faults := errors.Faults{Op: op}
	if n := len(keys); n == 0 || n > MaxKeys {
		faults.Add("%d keys; give 1 to %d", n, MaxKeys)
	}
	list := slices.Clone(keys[:min(len(keys), MaxKeys)])
	for i := range list {
		k := &list[i]
		k.NotAfter = k.NotAfter.Round(0) // a monotonic reading means nothing here
		f, wrong := newForm(k.Scheme)
		k.Scheme = f.Scheme
		for _, fault := range wrong {
			faults.Add("key %d %q: scheme %q: %s", i+1, k.ID, k.Scheme.Name, fault)
		}
		if k.Secret.IsZero() {
			faults.Add("key %d %q: the secret is empty; make one with GenerateSecret or SecretFromString", i+1, k.ID)
			continue
		}
		if k.ID == "" {
			k.ID = k.Secret.fingerprint()
		}
		if !validName(k.ID, maxKeyID) {
			faults.Add("key %d: the ID is not 1 to %d characters of A-Z, a-z, 0-9, '.', '_', '-'", i+1, maxKeyID)
		}
		if fault := f.takes(k.Secret.Kind()); fault != "" && len(wrong) == 0 {
			faults.Add("key %d %q: scheme %q: the secret %s", i+1, k.ID, k.Scheme.Name, fault)
		}
		pairs := 1
		for _, other := range list[:i] {
			if other.ID == k.ID {
				faults.Add("key %d %q: the ID is there twice; give each key its own", i+1, k.ID)
			}
			if !other.Secret.IsZero() && other.Secret.verifiesAlike(k.Secret) {
				switch {
				case other.Scheme == k.Scheme:
					faults.Add("key %d %q: the secret is that of key %q; give it once", i+1, k.ID, other.ID)
				case other.Scheme.Signed != k.Scheme.Signed:
					faults.Add("key %d %q: the secret is that of key %q, whose scheme hashes another text; give each scheme its own secret", i+1, k.ID, other.ID)
				}
			}
			if fault := clash(other.Scheme, k.Scheme); fault != "" {
				faults.Add("key %d %q: scheme %q: %s", i+1, k.ID, k.Scheme.Name, fault)
			}
			if other.Scheme == k.Scheme && !k.Secret.Kind().shared() && !other.Secret.Kind().shared() {
				pairs++
			}
		}
		if pairs == maxPublic+1 {
			faults.Add("key %d %q: more than %d key pairs of one scheme; leave out the oldest", i+1, k.ID, maxPublic)
		}
	}
	if err := faults.Err(); err != nil {
		return Keys{}, err
	}
	return Keys{list: list}, nil
}

// clash says why two schemes cannot be in one set; "" if they can.
func clash(a, b Scheme) string {
	switch {
	case a == b:
		return ""
	case a.Name == b.Name:
		return "another scheme has this name; give each its own"
	case slices.Contains([]string{b.SignatureHeader, b.IDHeader, b.TimestampHeader}, a.SignatureHeader),
		slices.Contains([]string{a.IDHeader, a.TimestampHeader}, b.SignatureHeader),
		a.IDHeader != "" && a.IDHeader == b.TimestampHeader, a.TimestampHeader != "" && a.TimestampHeader == b.IDHeader:
		return "scheme " + strconv.Quote(a.Name) + " uses one of its headers for something else; give each its own"
	}
	return ""
}

// Rotate returns a set with next in front. Every other key of k ends after
// grace, or earlier if it was to end earlier; keys that have expired at now are
// left out. A grace of 0, for a secret that has leaked, leaves next alone; a
// negative one is refused. k itself does not change.
//
// A sender's grace has to cover the time its receivers need to take over the
// new secret; a receiver's has to cover its senders' last attempt with the old
// one.
func (k Keys) Rotate(next Key, now time.Time, grace time.Duration) (Keys, error) {
	faults := errors.Faults{Op: "webhook.Keys.Rotate"}
	if grace < 0 {
		faults.Add("grace is %v; give 0 or more", grace)
		grace = 0
	}
	end := now.Add(grace)
	list := []Key{next}
	for _, old := range k.list {
		if grace == 0 || !old.live(now) {
			continue
		}
		if old.NotAfter.IsZero() || end.Before(old.NotAfter) {
			old.NotAfter = end
		}
		list = append(list, old)
	}
	rotated, err := newKeys("webhook.Keys.Rotate", list)
	faults.Join(err)
	if err := faults.Err(); err != nil {
		return Keys{}, err
	}
	return rotated, nil
}

// Len returns the number of keys, expired ones included.
func (k Keys) Len() int { return len(k.list) }

// All yields the keys, newest first.
func (k Keys) All() iter.Seq[Key] { return slices.Values(k.list) }

// validName reports whether s is 1 to limit characters that need no quoting
// anywhere.
func validName(s string, limit int) bool {
	if s == "" || len(s) > limit {
		return false
	}
	for i := range len(s) {
		if c := s[i]; !wordByte(c) && c != '.' {
			return false
		}
	}
	return true
}

// wordByte reports whether c is in [A-Za-z0-9_-].
func wordByte(c byte) bool { return wordBytes[c] }

// wordBytes is a table, since in a random id no comparison can be predicted.
var wordBytes = [256]bool{
	'-': true, '_': true,
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
	'A': true, 'B': true, 'C': true, 'D': true, 'E': true, 'F': true, 'G': true, 'H': true, 'I': true, 'J': true, 'K': true, 'L': true, 'M': true,
	'N': true, 'O': true, 'P': true, 'Q': true, 'R': true, 'S': true, 'T': true, 'U': true, 'V': true, 'W': true, 'X': true, 'Y': true, 'Z': true,
	'a': true, 'b': true, 'c': true, 'd': true, 'e': true, 'f': true, 'g': true, 'h': true, 'i': true, 'j': true, 'k': true, 'l': true, 'm': true,
	'n': true, 'o': true, 'p': true, 'q': true, 'r': true, 's': true, 't': true, 'u': true, 'v': true, 'w': true, 'x': true, 'y': true, 'z': true,
}
