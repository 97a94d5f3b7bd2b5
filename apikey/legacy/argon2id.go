package legacy

import (
	"cmp"
	"crypto/subtle"
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"github.com/keytoll/keytoll/apikey"
)

var _ apikey.LegacyVerifier = Argon2id{}

// Argon2id is argon2id, version 19 (RFC 9106), in the PHC string form:
//
//	$argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>
//
// with the parameters in that order, a salt of 8 to 64 bytes and a hash of 16 to
// 64, in base64 without padding. Each proof takes its m KiB while it runs.
type Argon2id struct {
	MaxMemory  int // KiB that a digest may ask for, up to 1 GiB; 65536 (64 MiB) when zero
	MaxTime    int // passes that a digest may ask for, 1 to 100; 10 when zero
	MaxThreads int // lanes that a digest may ask for, 1 to 255; 8 when zero
}

// A phc is what an encoded digest says.
type phc struct {
	memory, time, threads uint32
	salt, hash            []byte
}

// Check implements [apikey.LegacyVerifier].
func (a Argon2id) Check(encoded string) error {
	_, err := a.read(encoded)
	return err
}

// Prove implements [apikey.LegacyVerifier].
func (a Argon2id) Prove(text, encoded string) (bool, error) {
	d, err := a.read(encoded)
	if err != nil {
		return false, err
	}
	own := argon2.IDKey([]byte(text), d.salt, d.time, d.memory, uint8(d.threads), uint32(len(d.hash)))
	return subtle.ConstantTimeCompare(own, d.hash) == 1, nil
}

// Slow returns true.
func (Argon2id) Slow() bool { return true }

func (a Argon2id) read(encoded string) (d phc, err error) {
	memory, passes, threads := cmp.Or(a.MaxMemory, 1<<16), cmp.Or(a.MaxTime, 10), cmp.Or(a.MaxThreads, 8)
	if memory < 8 || memory > 1<<20 || passes < 1 || passes > 100 || threads < 1 || threads > 255 {
		return d, fault("the bounds are %d KiB, %d passes and %d lanes; give 8 to %d, 1 to 100 and 1 to 255, or 0 for the defaults",
			memory, passes, threads, 1<<20)
	}
	form := fault("the digest is not one of argon2id; give $argon2id$v=19$m=...,t=...,p=...$salt$hash")
	if len(encoded) > 256 {
		return d, form
	}
	parts := strings.Split(encoded, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v=19" {
		return d, form
	}
	costs := strings.Split(parts[3], ",")
	if len(costs) != 3 || !number(costs[0], "m=", &d.memory) || !number(costs[1], "t=", &d.time) || !number(costs[2], "p=", &d.threads) {
		return d, form
	}
	var fits bool
	if d.salt, fits = bytesOf(parts[4], 8, 64); !fits {
		return d, form
	}
	if d.hash, fits = bytesOf(parts[5], 16, 64); !fits {
		return d, form
	}
	if d.threads < 1 || d.threads > uint32(threads) || d.time < 1 || d.time > uint32(passes) ||
		d.memory < 8*d.threads || d.memory > uint32(memory) {
		return d, fault("the digest's costs are m=%d,t=%d,p=%d; at most %d,%d,%d may be asked for, and at least 8 KiB a lane",
			d.memory, d.time, d.threads, memory, passes, threads)
	}
	return d, nil
}

// number reads a decimal number as there is one way to write it.
func number(text, name string, into *uint32) bool {
	digits, named := strings.CutPrefix(text, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	*into = uint32(n)
	return named && err == nil && strconv.FormatUint(n, 10) == digits
}

func bytesOf(text string, least, most int) ([]byte, bool) {
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return b, err == nil && len(b) >= least && len(b) <= most && !strings.ContainsAny(text, "\r\n")
}
