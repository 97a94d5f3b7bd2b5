package idempotency

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"net/http"
	"slices"

	"github.com/keytoll/keytoll/errors"
)

// Bounds of an [Answer] besides [MaxStored].
const (
	MaxFields      = 128      // lines of its header
	MaxHeaderBytes = 64 << 10 // of their names and values
	MaxHold        = 64       // bytes of its Hold; 40 in one that is a SmallAnswer
)

// An Answer is what a handler answered, to be given again.
type Answer struct {
	Status int         // 200 to 599
	Header http.Header // what of it may be given again
	Body   []byte
	// Opaque says that the request was handled and that its answer could not be kept:
	// it was a stream, or too long. There is no Header and no Body then.
	Opaque bool
	// Hold is the id of the hold that paid for it; "" when nothing was held.
	Hold string
}

// What the first bytes of the format say.
const (
	answerVersion = 1
	answerOpaque  = 1 // a flag
)

// ErrCorrupt says that what was kept is no answer.
var ErrCorrupt error = &errors.Error{Code: errors.Corrupt, Msg: "the answer that was kept cannot be read"}

// checksum finds every change of a few bits, and most others.
func checksum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// MarshalBinary returns the answer as bytes, which end in a checksum. The error
// names every bound that the answer exceeds, and every field that HTTP cannot send.
func (a *Answer) MarshalBinary() ([]byte, error) {
	if err := a.check("idempotency.Answer.MarshalBinary"); err != nil {
		return nil, err
	}
	b := make([]byte, 0, 64+len(a.Body)+headerBytes(a.Header)*2)
	var flags byte
	if a.Opaque {
		flags |= answerOpaque
	}
	b = append(b, answerVersion, flags)
	b = binary.BigEndian.AppendUint16(b, uint16(a.Status))
	b = appendText(b, a.Hold)
	b = binary.AppendUvarint(b, uint64(len(a.Header)))
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		b = appendText(b, name)
		b = binary.AppendUvarint(b, uint64(len(a.Header[name])))
		for _, value := range a.Header[name] {
			b = appendText(b, value)
		}
	}
	b = appendText(b, a.Body)
	b = binary.BigEndian.AppendUint32(b, checksum(b))
	if len(b) > MaxStored {
		return nil, &errors.Error{Code: errors.Invalid, Op: "idempotency.Answer.MarshalBinary", Msg: "the answer is too large to be kept"}
	}
	return b, nil
}

// UnmarshalBinary reads what MarshalBinary wrote. Anything else is [ErrCorrupt], and
// leaves a as it was. What a has afterwards is its own.
func (a *Answer) UnmarshalBinary(data []byte) error {
	const op = "idempotency.Answer.UnmarshalBinary"
	if len(data) < 4 || len(data) > MaxStored {
		return errors.Wrap(op, ErrCorrupt)
	}
	body, check := data[:len(data)-4], data[len(data)-4:]
	if checksum(body) != binary.BigEndian.Uint32(check) {
		return errors.Wrap(op, ErrCorrupt)
	}
	r := reader{rest: body}
	version, flags := r.byte(), r.byte()
	out := Answer{Status: int(r.byte())<<8 | int(r.byte()), Opaque: flags&answerOpaque != 0}
	out.Hold = string(r.text())
	fields := r.count()
	if fields > MaxFields {
		return errors.Wrap(op, ErrCorrupt)
	}
	if fields > 0 {
		out.Header = make(http.Header, fields)
	}
	previous := ""
	for range fields {
		name := string(r.text())
		lines := r.count()
		if lines > MaxFields || name <= previous {
			return errors.Wrap(op, ErrCorrupt)
		}
		previous = name
		values := make([]string, lines)
		for i := range values {
			values[i] = string(r.text())
		}
		out.Header[name] = values
	}
	out.Body = slices.Clone(r.text())
	if version != answerVersion || flags&^answerOpaque != 0 || r.bad || len(r.rest) > 0 || out.check(op) != nil {
		return errors.Wrap(op, ErrCorrupt)
	}
	*a = out
	return nil
}

// check names everything that cannot be kept.
func (a *Answer) check(op string) error {
	f := errors.Faults{Op: op}
	if a.Status < 200 || a.Status > 599 {
		f.Add("the status is %d; give 200 to 599", a.Status)
	}
	if len(a.Hold) > MaxHold {
		f.Add("the hold's id has %d bytes; give at most %d", len(a.Hold), MaxHold)
	}
	if a.Opaque && (len(a.Header) > 0 || len(a.Body) > 0) {
		f.Add("the answer is opaque and has a header or a body; give neither")
	}
	if len(a.Body) > MaxStored {
		f.Add("the body has %d bytes; give at most %d", len(a.Body), MaxStored)
	}
	lines := 0
	for name, values := range a.Header {
		lines += max(1, len(values))
		if !fieldName(name) {
			f.Add("the field %.40q has a name that HTTP cannot send", name)
		}
		for _, value := range values {
			if !fieldValue(value) {
				f.Add("the field %.40q has a value that HTTP cannot send", name)
			}
		}
	}
	if lines > MaxFields {
		f.Add("the header has %d lines; give at most %d", lines, MaxFields)
	}
	if n := headerBytes(a.Header); n > MaxHeaderBytes {
		f.Add("the header has %d bytes; give at most %d", n, MaxHeaderBytes)
	}
	return f.Err()
}

// headerBytes is the length of all names and values.
func headerBytes(h http.Header) (n int) {
	for name, values := range h {
		n += len(name)
		for _, value := range values {
			n += len(value)
		}
	}
	return n
}

// fieldName reports whether s is a token (RFC 9110 section 5.6.2).
func fieldName(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '!' || c >= '#' && c <= '\'' || c == '*' || c == '+' || c == '-' || c == '.' || c >= '^' && c <= '`' || c == '|' || c == '~':
		default:
			return false
		}
	}
	return s != ""
}

// fieldValue reports whether s may be the value of a field (RFC 9110 section 5.5).
func fieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func appendText[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// A reader takes parts off rest; once one is not there, it is bad and gives
// nothing.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// count reads a number that is at most the number of bytes left.
func (r *reader) count() int {
	n, size := binary.Uvarint(r.rest)
	if size <= 0 || n > uint64(len(r.rest)-size) {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[size:]
	return int(n)
}

// text reads a text, which is a part of the input.
func (r *reader) text() []byte {
	n := r.count()
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s
}
