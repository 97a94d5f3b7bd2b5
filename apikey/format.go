package apikey

import (
	"hash/crc32"
	"math"
	"strings"
	"unsafe" //nolint:depguard // reads a key's text as bytes without a copy, in checksum alone

	"github.com/keytoll/keytoll/errors"
)

const (
	base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	// MaxTokenLength is the length in bytes of the longest key any [Format] makes
	// or accepts.
	MaxTokenLength = 255
	// MinEntropy is the least number of random bits in the secret part of a key.
	// Showing its last four characters to its owner costs at most 24 of them.
	MinEntropy = 128

	// notADigit marks, in Format.digits, a byte outside the alphabet. Digits are
	// below it, so that the OR of a whole body shows whether one was met.
	notADigit = 0x80
)

// FormatOptions shape the keys of a [Format]. The zero value makes
// prefix_<16 characters of id><32 of secret><6 of checksum> in base62.
type FormatOptions struct {
	// Environments are the labels of which one follows the prefix: "live" and
	// "test" make sk_live_... and sk_test_.... Each is 1 to 16 letters and digits.
	// Without any, keys have no environment.
	Environments []string
	// Separator stands after the prefix and after the environment; 1 to 4 of the
	// characters - _ . ~ and "_" when empty. The prefix may contain it.
	Separator string
	// Alphabet holds the characters of id, secret and checksum, in the order of
	// their value: 10 to 62 different ASCII letters and digits. Base62 (0-9, A-Z,
	// a-z) when empty.
	Alphabet string
	// IDLength is the number of characters of the public id by which a key is
	// looked up: 8 to 64, and 16 when zero.
	IDLength int
	// SecretLength is the number of random characters, at most 128, that together
	// must hold [MinEntropy] bits; 32 when zero.
	SecretLength int
	// NoID leaves the public id out. Keys are then looked up by a hash of the
	// whole key, which costs a verification one more SHA-256 and one allocation.
	NoID bool
	// NoChecksum leaves the checksum out. A mistyped key then costs a look-up.
	NoChecksum bool
}

// A Format makes and recognises keys of one shape:
//
//	{prefix}{separator}[{environment}{separator}]{id}{secret}{checksum}
//
// Id, secret and checksum have fixed widths, so a key is read from the right
// and a prefix may contain the separator. The checksum is the CRC-32 (IEEE) of
// everything before it, written in the alphabet: it tells typing errors and
// scanners' guesses from keys without asking a store, and proves nothing.
//
// A Format is immutable and safe for concurrent use. The zero value refuses
// every key.
type Format struct {
	prefix   string
	alphabet string
	heads    []head
	maxHead  int // length of the longest head
	id       int
	secret   int
	sum      int // width of the checksum, 0 without
	digits   [256]uint8
}

// A head is all that stands before the id.
type head struct{ text, environment string }

// NewFormat returns the format with this prefix: 1 to 32 ASCII letters, digits
// and - _ . ~, beginning with a letter or digit. Nil options are the defaults.
// The error names every fault at once.
func NewFormat(prefix string, o *FormatOptions) (*Format, error) {
	if o == nil {
		o = &FormatOptions{}
	}
	f := &Format{prefix: prefix, alphabet: o.Alphabet, id: o.IDLength, secret: o.SecretLength}
	separator := o.Separator
	if separator == "" {
		separator = "_"
	}
	if f.alphabet == "" {
		f.alphabet = base62
	}
	if f.id == 0 {
		f.id = 16
	}
	if f.secret == 0 {
		f.secret = 32
	}
	faults := errors.Faults{Op: "apikey.NewFormat"}
	checkHead(&faults, prefix, separator, o.Environments)
	if !only(f.alphabet, isAlnum) || repeats(f.alphabet) || len(f.alphabet) < 10 {
		faults.Add("alphabet %q: give 10 to 62 different ASCII letters and digits", f.alphabet)
	} else if bits := float64(f.secret) * math.Log2(float64(len(f.alphabet))); bits < MinEntropy {
		least := math.Ceil(MinEntropy / math.Log2(float64(len(f.alphabet))))
		faults.Add("secret length %d holds %d random bits; give %d or more characters for %d bits",
			f.secret, max(0, int(bits)), int(least), MinEntropy)
	}
	if f.secret > 128 {
		faults.Add("secret length %d is too long; give 128 or less", f.secret)
	}
	switch {
	case o.NoID && o.IDLength != 0:
		faults.Add("id length %d is given for a format without id; leave it zero or drop NoID", o.IDLength)
	case o.NoID:
		f.id = 0
	case f.id < 8 || f.id > 64:
		faults.Add("id length is %d; give 8 to 64", f.id)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	f.index(separator, o)
	if longest := f.maxHead + f.tail(); longest > MaxTokenLength {
		faults.Add("keys would be %d bytes long; shorten the parts to %d or less", longest, MaxTokenLength)
		return nil, faults.Err()
	}
	return f, nil
}

func checkHead(faults *errors.Faults, prefix, separator string, environments []string) {
	if !only(prefix, func(c byte) bool { return isAlnum(c) || isMark(c) }) || len(prefix) > 32 || !isAlnum(prefix[0]) {
		faults.Add("prefix %q: give 1 to 32 letters, digits and - _ . ~, beginning with a letter or digit", prefix)
	}
	if !only(separator, isMark) || len(separator) > 4 {
		faults.Add("separator %q: give 1 to 4 of the characters - _ . ~", separator)
	} else if bare, ends := strings.CutSuffix(prefix, separator); ends {
		faults.Add("prefix %q ends in the separator, which is added to it; give %q", prefix, bare)
	}
	seen := make(map[string]bool, len(environments))
	for _, label := range environments {
		switch {
		case !only(label, isAlnum) || len(label) > 16:
			faults.Add("environment %q: give 1 to 16 letters and digits", label)
		case seen[label]:
			faults.Add("environment %q is given twice; give it once", label)
		}
		seen[label] = true
	}
}

// index prepares what Parse needs.
func (f *Format) index(separator string, o *FormatOptions) {
	f.heads = []head{{text: f.prefix + separator}}
	if len(o.Environments) > 0 {
		f.heads = nil
		for _, label := range o.Environments {
			f.heads = append(f.heads, head{f.prefix + separator + label + separator, label})
		}
	}
	for _, h := range f.heads {
		f.maxHead = max(f.maxHead, len(h.text))
	}
	for i := range f.digits {
		f.digits[i] = notADigit
	}
	for i := range len(f.alphabet) {
		f.digits[f.alphabet[i]] = uint8(i)
	}
	if !o.NoChecksum {
		for room := uint64(1); room <= math.MaxUint32; room *= uint64(len(f.alphabet)) {
			f.sum++
		}
	}
}

// tail is the length of all that stands after the head.
func (f *Format) tail() int { return f.id + f.secret + f.sum }

// Parts is what can be read in a key without proving it.
type Parts struct {
	Environment string // one of the format's labels; "" for a format without environments
	ID          string // the public id; shares the key's memory; "" for a format without id
}

// Parse reads a key, from the right. It looks at no more than [MaxTokenLength]
// bytes, allocates nothing, and refuses with [ErrMalformed] whatever this
// format does not make: another head or length, a character outside the
// alphabet, a wrong checksum, or the placeholder body of [Format.Fake].
func (f *Format) Parse(token string) (Parts, error) {
	cut := len(token) - f.tail()
	if cut < 1 || cut > f.maxHead {
		return Parts{}, ErrMalformed
	}
	which := -1
	for i := range f.heads {
		if f.heads[i].text == token[:cut] {
			which = i
			break
		}
	}
	if which < 0 {
		return Parts{}, ErrMalformed
	}
	end := len(token) - f.sum
	if !f.readable(token[cut:end]) || f.sum > 0 && !f.sumFits(token[:end], token[end:]) {
		return Parts{}, ErrMalformed
	}
	return Parts{Environment: f.heads[which].environment, ID: token[cut : cut+f.id]}, nil
}

// readable reports whether body holds only digits, and not one alone.
func (f *Format) readable(body string) bool {
	var all, diff uint8
	first := body[0]
	for i := range len(body) {
		all |= f.digits[body[i]]
		diff |= body[i] ^ first
	}
	return all < notADigit && diff != 0
}

func (f *Format) sumFits(text, sum string) bool {
	var v uint64
	for i := range len(sum) {
		d := f.digits[sum[i]]
		if d >= notADigit {
			return false
		}
		v = v*uint64(len(f.alphabet)) + uint64(d)
	}
	return v == uint64(checksum(text))
}

func checksum(text string) uint32 {
	// crc32 only reads its argument; converting by copy would allocate per call.
	return crc32.ChecksumIEEE(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// Prefix returns the prefix given to [NewFormat].
func (f *Format) Prefix() string { return f.prefix }

// Environments returns the environment labels in the order given, as a new
// slice; empty for a format without them.
func (f *Format) Environments() []string {
	var labels []string
	for _, h := range f.heads {
		if h.environment != "" {
			labels = append(labels, h.environment)
		}
	}
	return labels
}

func only(s string, ok func(byte) bool) bool {
	for i := range len(s) {
		if !ok(s[i]) {
			return false
		}
	}
	return s != ""
}

func repeats(s string) bool {
	for i := range len(s) {
		if strings.IndexByte(s[i+1:], s[i]) >= 0 {
			return true
		}
	}
	return false
}

func isAlnum(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

func isMark(c byte) bool { return c == '-' || c == '_' || c == '.' || c == '~' }
