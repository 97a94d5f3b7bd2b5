package legacy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"github.com/keytoll/keytoll/apikey"
)

var (
	_ apikey.LegacySum = SHA256Hex{}
	_ apikey.LegacySum = SHA256Base64{}
	_ apikey.LegacySum = SHA256Base64URL{}
)

// SHA256Hex is SHA-256 as 64 hexadecimal digits, of either case.
type SHA256Hex struct{}

// Sum returns the SHA-256 that encoded holds.
func (SHA256Hex) Sum(encoded string) (sum [sha256.Size]byte, err error) {
	if len(encoded) != hex.EncodedLen(len(sum)) {
		return sum, fault("the digest has %d characters; give 64 hexadecimal digits", len(encoded))
	}
	if _, err := hex.Decode(sum[:], []byte(encoded)); err != nil {
		return [sha256.Size]byte{}, fault("the digest holds other than hexadecimal digits; give 64 of them")
	}
	return sum, nil
}

// Check implements [apikey.LegacyVerifier].
func (s SHA256Hex) Check(encoded string) error {
	_, err := s.Sum(encoded)
	return err
}

// Prove implements [apikey.LegacyVerifier].
func (s SHA256Hex) Prove(text, encoded string) (bool, error) {
	sum, err := s.Sum(encoded)
	return fits(text, sum, err)
}

// Slow returns false.
func (SHA256Hex) Slow() bool { return false }

// SHA256Base64 is SHA-256 in standard base64, with padding or without.
type SHA256Base64 struct{}

// Sum returns the SHA-256 that encoded holds.
func (SHA256Base64) Sum(encoded string) ([sha256.Size]byte, error) {
	return unbase64(base64.RawStdEncoding, encoded, "base64")
}

// Check implements [apikey.LegacyVerifier].
func (s SHA256Base64) Check(encoded string) error {
	_, err := s.Sum(encoded)
	return err
}

// Prove implements [apikey.LegacyVerifier].
func (s SHA256Base64) Prove(text, encoded string) (bool, error) {
	sum, err := s.Sum(encoded)
	return fits(text, sum, err)
}

// Slow returns false.
func (SHA256Base64) Slow() bool { return false }

// SHA256Base64URL is SHA-256 in the base64 of URLs, with padding or without.
type SHA256Base64URL struct{}

// Sum returns the SHA-256 that encoded holds.
func (SHA256Base64URL) Sum(encoded string) ([sha256.Size]byte, error) {
	return unbase64(base64.RawURLEncoding, encoded, "base64url")
}

// Check implements [apikey.LegacyVerifier].
func (s SHA256Base64URL) Check(encoded string) error {
	_, err := s.Sum(encoded)
	return err
}

// Prove implements [apikey.LegacyVerifier].
func (s SHA256Base64URL) Prove(text, encoded string) (bool, error) {
	sum, err := s.Sum(encoded)
	return fits(text, sum, err)
}

// Slow returns false.
func (SHA256Base64URL) Slow() bool { return false }

// unbase64 reads the 43 characters of 32 bytes, and one of padding if it is there.
func unbase64(e *base64.Encoding, encoded, name string) (sum [sha256.Size]byte, err error) {
	bare := strings.TrimSuffix(encoded, "=")
	if len(bare) != e.EncodedLen(len(sum)) {
		return sum, fault("the digest has %d characters; give 43 of %s, and \"=\" or not", len(encoded), name)
	}
	// Strict: one digest has one spelling. The decoder also skips line breaks,
	// which then leave it short of bytes.
	if n, err := e.Strict().Decode(sum[:], []byte(bare)); err != nil || n != len(sum) {
		return [sha256.Size]byte{}, fault("the digest is not %s of 32 bytes", name)
	}
	return sum, nil
}

func fits(text string, sum [sha256.Size]byte, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	own := sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(own[:], sum[:]) == 1, nil
}
