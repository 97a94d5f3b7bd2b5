package legacy

import (
	"cmp"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

var _ apikey.LegacyVerifier = Bcrypt{}

// MaxBcryptText is the length in bytes of the longest text that bcrypt reads
// whole.
const MaxBcryptText = 72

// Bcrypt is bcrypt in the modular crypt form: $2a$, $2b$ or $2y$.
//
// Bcrypt reads 72 bytes and takes no notice of what follows, so a longer text is
// proven by nothing here, rather than by its beginning: whoever knew that would
// be let in with any ending. Keys that another system made longer than that, and
// hashed all the same, cannot be imported by their digest.
type Bcrypt struct {
	// MaxCost is the highest cost that a digest may have, 4 to 20, and 14 when
	// zero: about a second of one core, each more doubles it.
	MaxCost int
}

// Check implements [apikey.LegacyVerifier].
func (b Bcrypt) Check(encoded string) error {
	most := cmp.Or(b.MaxCost, 14)
	if most < bcrypt.MinCost || most > 20 {
		return fault("MaxCost is %d; give 4 to 20, or 0 for 14", most)
	}
	if len(encoded) != 60 || !only(encoded[4:6], isDigit) || encoded[6] != '$' || !only(encoded[7:], isBcrypt64) ||
		!strings.HasPrefix(encoded, "$2a$") && !strings.HasPrefix(encoded, "$2b$") && !strings.HasPrefix(encoded, "$2y$") {
		return fault("the digest is not one of bcrypt; give the 60 characters that begin with $2a$, $2b$ or $2y$")
	}
	cost, err := bcrypt.Cost([]byte(encoded))
	if err != nil || cost > most {
		return fault("the digest's cost is not one of %d to %d; raise MaxCost if this is meant", bcrypt.MinCost, most)
	}
	return nil
}

// Prove implements [apikey.LegacyVerifier].
func (b Bcrypt) Prove(text, encoded string) (bool, error) {
	if err := b.Check(encoded); err != nil {
		return false, err
	}
	// A zero byte would end the text, and begin it anew.
	if len(text) > MaxBcryptText || strings.IndexByte(text, 0) >= 0 {
		return false, nil
	}
	err := bcrypt.CompareHashAndPassword([]byte(encoded), []byte(text))
	if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, nil
	}
	if err != nil {
		return false, fault("the digest is not one of bcrypt")
	}
	return true, nil
}

// Slow returns true.
func (Bcrypt) Slow() bool { return true }

// MaxText returns [MaxBcryptText].
func (Bcrypt) MaxText() int { return MaxBcryptText }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isBcrypt64(c byte) bool {
	return c == '.' || c == '/' || isDigit(c) || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}
