package apikey

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/keytoll/keytoll/errors"
)

const (
	legacyLabel = "keytoll/legacy\x00"

	maxLegacies   = 16 // ways in one service: each may cost a look-up
	maxLegacyName = 64 // bytes
	minLegacyText = 8  // bytes of the shortest text
	maxEncoded    = 1024
)

// A LegacyVerifier proves texts by digests that another system made. Package
// legacy has those of bcrypt, argon2id and SHA-256. Implementations must be safe
// for concurrent use and compare in constant time.
type LegacyVerifier interface {
	// Check returns an error if encoded is not a digest of this scheme, or one that
	// would cost too much to prove. Import asks it. Its text must not repeat encoded.
	Check(encoded string) error
	// Prove reports whether encoded is a digest of text, of 1 to [MaxTokenLength]
	// bytes. An error means that encoded is not one that Check passes.
	Prove(text, encoded string) (bool, error)
	// Slow reports whether a proof is meant to be slow. Slow proofs are bounded by
	// [Options.SlowProofs].
	Slow() bool
}

// A LegacySum is a scheme without salt, whose digests hold the SHA-256 of the
// text. The records of such keys are found by it.
type LegacySum interface {
	LegacyVerifier
	// Sum returns the SHA-256 that encoded holds, or the error of Check.
	Sum(encoded string) ([sha256.Size]byte, error)
}

// A Legacy is a way in which another system made keys. A service that has it
// accepts the keys of that system that were imported with [Service.Import].
//
// A text is first read as a key of the service's own [Format], and where no such
// key is known, as one of each Legacy that it fits, in their order.
//
// An imported key keeps its text. So a Legacy is needed as long as there are keys
// that it finds; its Scheme only until all of them were used, which
// [Service.Census] tells.
type Legacy struct {
	// Name is kept with the keys, which are lost without it: 1 to 64 letters,
	// digits and - _ . ~, beginning with a letter or digit.
	Name string
	// Shape and Matches say which texts may be keys. Nil matches all of the shape.
	Shape   Shape
	Matches func(text string) bool
	// Handle returns what the old system looked a key up by: the part of the text
	// that is its id, or an unsalted digest of it under a secret of that system. It
	// must tell keys apart; "" is no key. It gets a text of the shape.
	//
	// Nil finds keys by the SHA-256 of their secret. Then Scheme must be nil or a
	// [LegacySum].
	Handle func(text string) string
	// Secret returns the part of a text that the old system hashed; nil is the
	// whole text. What neither Handle nor Secret returns should be the same in all
	// keys: the key's first use settles it.
	Secret func(text string) string
	// Scheme proves keys that are imported by digest. Without one, keys can be
	// imported by their text alone.
	Scheme LegacyVerifier
}

// A Shape says which texts may be keys of a [Legacy].
type Shape struct {
	// Prefix is what all of them begin with, if anything.
	Prefix string
	// MinLength and MaxLength bound the whole text in bytes: 8 to
	// [MaxTokenLength]. MaxLength is MinLength when zero.
	MinLength, MaxLength int
	// Alphabet holds the characters of what follows the prefix: printable ASCII
	// without the space, and all of that when empty.
	Alphabet string
}

// A reader reads the texts of one Legacy.
type reader struct {
	Legacy
	digits [256]bool // what may follow the prefix
}

func newReaders(faults *errors.Faults, all []Legacy) []*reader {
	if len(all) > maxLegacies {
		faults.Add("there are %d Legacy; give %d or less, since each may cost a look-up", len(all), maxLegacies)
	}
	readers := make([]*reader, len(all))
	names := make(map[string]bool, len(all))
	for i, l := range all {
		r := &reader{Legacy: l}
		readers[i] = r
		if !only(l.Name, func(c byte) bool { return isAlnum(c) || isMark(c) }) || len(l.Name) > maxLegacyName || !isAlnum(l.Name[0]) {
			faults.Add("legacy[%d]: name %q: give 1 to %d letters, digits and - _ . ~, beginning with a letter or digit", i, clip(l.Name), maxLegacyName)
		}
		if names[l.Name] {
			faults.Add("legacy[%d]: name %q is given twice; give each its own", i, clip(l.Name))
		}
		names[l.Name] = true
		r.checkShape(faults, i)
		r.checkScheme(faults, i)
	}
	return readers
}

func (r *reader) checkShape(faults *errors.Faults, i int) {
	shape := &r.Shape
	if shape.MaxLength == 0 {
		shape.MaxLength = shape.MinLength
	}
	if shape.MinLength < minLegacyText || shape.MaxLength < shape.MinLength || shape.MaxLength > MaxTokenLength {
		faults.Add("legacy[%d]: texts of %d to %d bytes; give lengths of %d to %d", i, shape.MinLength, shape.MaxLength, minLegacyText, MaxTokenLength)
	}
	if shape.Prefix != "" && !only(shape.Prefix, isGraphic) || len(shape.Prefix) >= max(1, shape.MinLength) {
		faults.Add("legacy[%d]: prefix %q: give printable ASCII that leaves room for more", i, clip(shape.Prefix))
	}
	if shape.Alphabet != "" && (!only(shape.Alphabet, isGraphic) || repeats(shape.Alphabet)) {
		faults.Add("legacy[%d]: alphabet %q: give different printable ASCII characters, or none for all of them", i, clip(shape.Alphabet))
	}
	for c := range r.digits {
		r.digits[c] = isGraphic(byte(c)) && shape.Alphabet == ""
	}
	for i := range len(shape.Alphabet) {
		r.digits[shape.Alphabet[i]] = true
	}
}

func (r *reader) checkScheme(faults *errors.Faults, i int) {
	if r.Scheme == nil {
		return
	}
	if _, sums := r.Scheme.(LegacySum); r.Handle == nil && !sums {
		faults.Add("legacy[%d]: digests of its scheme do not tell which key they are of; give a Handle", i)
	}
	if bounded, ok := r.Scheme.(interface{ MaxText() int }); ok && r.Secret == nil && r.Shape.MaxLength > bounded.MaxText() {
		faults.Add("legacy[%d]: texts of up to %d bytes, of which its scheme reads %d; give a MaxLength of %d or a Secret",
			i, r.Shape.MaxLength, bounded.MaxText(), bounded.MaxText())
	}
}

// matches reports whether text may be a key. It looks at no more than
// MaxTokenLength bytes, the host's function apart, which gets no more.
func (r *reader) matches(text string) bool {
	if len(text) < r.Shape.MinLength || len(text) > r.Shape.MaxLength || text[:len(r.Shape.Prefix)] != r.Shape.Prefix {
		return false
	}
	for i := len(r.Shape.Prefix); i < len(text); i++ {
		if !r.digits[text[i]] {
			return false
		}
	}
	return r.Matches == nil || r.Matches(text)
}

// secret returns what the old system hashed.
func (r *reader) secret(text string) string {
	if r.Secret == nil {
		return text
	}
	return r.Secret(text)
}

// handle returns what the record of a matching text is found by; "" for no key.
func (r *reader) handle(text string) string {
	if r.Handle == nil {
		sum := sha256.Sum256([]byte(r.secret(text)))
		return r.handleOf(string(sum[:]))
	}
	if part := r.Handle(text); part != "" {
		return r.handleOf(part)
	}
	return ""
}

// handleOf returns the handle of a key that the old system found by part.
func (r *reader) handleOf(part string) string {
	sum := sha256.Sum256([]byte(legacyLabel + r.Name + "\x00" + part))
	return hex.EncodeToString(sum[:16])
}

func isGraphic(c byte) bool { return '!' <= c && c <= '~' }
