package pgstore

import (
	"encoding"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// An array is an argument in PostgreSQL's binary form of arrays, built element by
// element.
type array struct {
	b []byte
	n uint32
}

// arrayHeader is the length of what stands before the elements: the number of
// dimensions, whether there are nulls, the type of the elements, how many there
// are, and the number of the first.
const arrayHeader = 20

func (a *array) reset() { a.b, a.n = a.b[:0], 0 }

func (a *array) next() {
	if a.n++; len(a.b) == 0 {
		a.b = append(a.b, make([]byte, arrayHeader)...)
	}
}

// text adds a text.
func (a *array) text(s string) {
	a.next()
	a.b = append(binary.BigEndian.AppendUint32(a.b, uint32(len(s))), s...)
}

// number adds a bigint.
func (a *array) number(n int64) {
	a.next()
	a.b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(a.b, 8), uint64(n))
}

// instant adds a bigint of microseconds, null for the zero time.
func (a *array) instant(t time.Time) {
	if !t.IsZero() {
		a.number(t.UnixMicro())
		return
	}
	a.next()
	a.b = binary.BigEndian.AppendUint32(a.b, null)
}

// A place is where a row is in its table, in the binary form of type tid.
type place [6]byte

// place adds a place.
func (a *array) place(p place) {
	a.next()
	a.b = append(binary.BigEndian.AppendUint32(a.b, uint32(len(p))), p[:]...)
}

// null is the length of what is null.
const null = 1<<32 - 1

// of returns the array as one of that type of elements. It shares a's memory.
func (a *array) of(element uint32) []byte {
	if a.n == 0 {
		a.b = append(a.b[:0], make([]byte, 8)...)
		return binary.BigEndian.AppendUint32(a.b, element)
	}
	for i, n := range [...]uint32{1, 1, element, a.n, 1} {
		binary.BigEndian.PutUint32(a.b[4*i:], n)
	}
	return a.b
}

// A table is an array of rows of a table, built column by column.
type table struct {
	array
	columns uint32
	begun   int // where the row begins that is being built
}

// begin begins a row.
func (t *table) begin() {
	t.next()
	t.begun = len(t.b)
	t.b = append(t.b, 0, 0, 0, 0)
	t.b = binary.BigEndian.AppendUint32(t.b, t.columns)
}

// end ends the row that was begun.
func (t *table) end() { t.measure(t.begun) }

// measure puts the length of what was appended since into the place at.
func (t *table) measure(at int) { binary.BigEndian.PutUint32(t.b[at:], uint32(len(t.b)-at-4)) }

func (t *table) column(kind, size uint32) {
	t.b = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(t.b, kind), size)
}

func (t *table) text(s string) {
	t.column(pgtype.TextOID, uint32(len(s)))
	t.b = append(t.b, s...)
}

// form is text of a value that has a text form.
func (t *table) form(v encoding.TextAppender) error {
	t.column(pgtype.TextOID, 0)
	at := len(t.b) - 4
	var err error
	t.b, err = v.AppendText(t.b)
	t.measure(at)
	return err
}

func (t *table) bytes(b []byte) {
	t.column(pgtype.ByteaOID, uint32(len(b)))
	t.b = append(t.b, b...)
}

// number is a bigint.
func (t *table) number(n int64) {
	t.column(pgtype.Int8OID, 8)
	t.b = binary.BigEndian.AppendUint64(t.b, uint64(n))
}

// small is a smallint.
func (t *table) small(n int) {
	t.column(pgtype.Int2OID, 2)
	t.b = binary.BigEndian.AppendUint16(t.b, uint16(n))
}

// instant is a bigint of microseconds, null for the zero time.
func (t *table) instant(at time.Time) {
	if at.IsZero() {
		t.column(pgtype.Int8OID, null)
		return
	}
	t.number(at.UnixMicro())
}

// json is JSON text, null for none.
func (t *table) json(text []byte) {
	if text == nil {
		t.column(pgtype.JSONOID, null)
		return
	}
	t.column(pgtype.JSONOID, uint32(len(text)))
	t.b = append(t.b, text...)
}

func (t *table) truth(v bool) {
	t.column(pgtype.BoolOID, 1)
	if v {
		t.b = append(t.b, 1)
		return
	}
	t.b = append(t.b, 0)
}
