package sqlitestore

import (
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// packed is what is left of a text to take apart, and the first error.
type packed struct {
	rest string
	err  error
}

// word takes what comes before the next space.
func (p *packed) word() string {
	word, rest, _ := strings.Cut(p.rest, " ")
	p.rest = rest
	return word
}

// number takes the next word; null is 0.
func (p *packed) number() int64 {
	word := p.word()
	if word == "" {
		return 0
	}
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		p.err = err
	}
	return n
}

// instant takes the next word; null is the zero time.
func (p *packed) instant() time.Time {
	if strings.HasPrefix(p.rest, " ") {
		p.rest = p.rest[1:]
		return time.Time{}
	}
	return instant(p.number())
}

// bytes takes the next word, which is in hexadecimal; null changes nothing.
func (p *packed) bytes(into []byte) {
	word := p.word()
	if word == "" {
		return
	}
	if len(word) != 2*len(into) {
		p.err = hex.ErrLength
		return
	}
	for i := range into {
		into[i] = nibble(word[2*i])<<4 | nibble(word[2*i+1])
	}
}

// nibble is the value of a digit that SQLite wrote.
func nibble(c byte) byte {
	if c >= 'A' {
		return c - 'A' + 10
	}
	return c - '0'
}

// blob takes the next word, which is in hexadecimal; null is nil.
func (p *packed) blob() []byte {
	n := strings.IndexByte(p.rest, ' ') / 2
	if n <= 0 {
		p.word()
		return nil
	}
	b := make([]byte, n)
	p.bytes(b)
	return b
}

// text takes the next n bytes.
func (p *packed) text(n int64) string {
	if n < 0 || n > int64(len(p.rest)) {
		p.err = io.ErrUnexpectedEOF
		return ""
	}
	text := p.rest[:n]
	p.rest = p.rest[n:]
	return text
}

// done returns the first error, or one about what nobody took, for a row of the
// named kind.
func (p *packed) done(row string) error {
	err := p.err
	if err == nil && p.rest != "" {
		err = io.ErrNoProgress
	}
	if err != nil {
		return &errors.Error{Code: errors.Corrupt, Msg: "a stored " + row + " cannot be read", Err: err}
	}
	return nil
}

// totals takes nine words, as totalsColumns packs them.
func (p *packed) totals() (t credits.Totals) {
	for _, a := range [...]*credits.Amount{
		&t.Issued, &t.Pending, &t.Available, &t.Held, &t.Leased, &t.Consumed, &t.Expired, &t.Suspense, &t.Debt,
	} {
		*a = credits.Amount(p.number())
	}
	return t
}
