package apikey

import (
	"bytes"
	"crypto/rand"
	"io"
	"regexp"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// Generate makes a new key for an environment of the format ("" for a format
// without environments), reading random bytes from r, or from crypto/rand when
// r is nil. Every character of id and secret is drawn without bias. The errors
// are [errors.Invalid] for an environment the format does not have, and what r
// fails with.
func (f *Format) Generate(environment string, r io.Reader) (Secret, error) {
	const op = "apikey.Format.Generate"
	h, ok := f.head(environment)
	if !ok {
		return Secret{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: f.environmentFault(environment)}
	}
	body, err := randomText(r, f.alphabet, f.id+f.secret)
	if err != nil {
		return Secret{}, errors.Wrap(op, err)
	}
	text := h.text + body
	return newSecret(text + f.writeSum(checksum(text))), nil
}

// Fake returns a key for documentation and fixtures: it has the shape of a key
// and matches [Format.Regexp], and [Format.Parse] refuses it for ever, because
// its body is one character repeated and its checksum is wrong. The same call
// returns the same text. For an environment the format does not have it
// returns "".
func (f *Format) Fake(environment string) string {
	h, ok := f.head(environment)
	if !ok {
		return ""
	}
	filler := f.alphabet[len(f.alphabet)-1:]
	if strings.Contains(f.alphabet, "x") {
		filler = "x"
	}
	text := h.text + strings.Repeat(filler, f.id+f.secret)
	return text + f.writeSum(^checksum(text))
}

// Regexp returns a regular expression, in the syntax of RE2 and without
// anchors, that finds keys of this format in text. What it finds deserves a
// [Format.Parse] before an alarm: that tells keys from fakes.
func (f *Format) Regexp() string {
	if len(f.heads) == 0 {
		return `[^\x00-\x{10FFFF}]` // the zero Format has no keys
	}
	heads := make([]string, len(f.heads))
	for i, h := range f.heads {
		heads[i] = regexp.QuoteMeta(h.text)
	}
	text := heads[0]
	if len(heads) > 1 {
		text = "(?:" + strings.Join(heads, "|") + ")"
	}
	return text + f.class() + "{" + itoa(f.tail()) + "}"
}

// class writes the alphabet as a character class, with ranges.
func (f *Format) class() string {
	var b strings.Builder
	b.WriteByte('[')
	for c := 0; c < len(f.digits); c++ {
		if f.digits[c] == notADigit {
			continue
		}
		last := c
		for last+1 < len(f.digits) && f.digits[last+1] != notADigit {
			last++
		}
		b.WriteByte(byte(c))
		if last > c+1 {
			b.WriteByte('-')
		}
		if last > c {
			b.WriteByte(byte(last))
		}
		c = last
	}
	b.WriteByte(']')
	return b.String()
}

func (f *Format) head(environment string) (head, bool) {
	for _, h := range f.heads {
		if h.environment == environment {
			return h, true
		}
	}
	return head{}, false
}

func (f *Format) environmentFault(environment string) string {
	labels := f.Environments()
	if len(labels) == 0 {
		return "environment " + quote(environment) + ": the format has no environments; leave it empty"
	}
	return "environment " + quote(environment) + ": give one of " + strings.Join(labels, ", ")
}

// writeSum writes crc in the alphabet, most significant digit first.
func (f *Format) writeSum(crc uint32) string {
	sum := make([]byte, f.sum)
	for i := len(sum) - 1; i >= 0; i-- {
		sum[i] = f.alphabet[crc%uint32(len(f.alphabet))]
		crc /= uint32(len(f.alphabet))
	}
	return string(sum)
}

// display returns what may be shown of a key later: all before the secret up
// to four characters of the public id, and the last four characters.
func (f *Format) display(token string) (start, last4 string) {
	cut := len(token) - f.tail()
	return strings.Clone(token[:cut+min(4, f.id)]), strings.Clone(token[len(token)-4:])
}

// randomText draws n characters of alphabet without bias: bytes past the
// largest multiple of its size are drawn again. A text of one character
// repeated, which Format.Parse keeps for fakes, is drawn again too.
func randomText(r io.Reader, alphabet string, n int) (string, error) {
	if r == nil {
		r = rand.Reader
	}
	fair := 256 - 256%len(alphabet)
	text := make([]byte, 0, n)
	var pool [64]byte
	// An honest source needs one or two rounds for each 40 characters.
	for range 16 + n {
		if _, err := io.ReadFull(r, pool[:]); err != nil {
			return "", &errors.Error{Code: errors.Unavailable, Msg: "the source of randomness failed", Err: err}
		}
		for _, b := range pool {
			if int(b) < fair && len(text) < n {
				text = append(text, alphabet[int(b)%len(alphabet)])
			}
		}
		if len(text) == n {
			if bytes.Count(text, text[:1]) < n {
				return string(text), nil
			}
			text = text[:0]
		}
	}
	return "", &errors.Error{Code: errors.Unavailable, Msg: "the source of randomness is not random"}
}
