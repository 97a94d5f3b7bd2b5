package credits

import (
	"encoding/binary"
	"slices"
)

// What a record is about: its first byte.
const (
	recordAcquiring = 1
	recordSpent     = 2
	recordSettled   = 3
	recordClosed    = 4
)

func appendText(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendAcquiring(b []byte, l *JournaledLease) []byte {
	exact := byte(0)
	if l.Exact {
		exact = 1
	}
	b = append(b, recordAcquiring, exact)
	b = binary.AppendVarint(b, l.Epoch)
	return appendText(b, string(l.Account), string(l.Lease), l.Owner, l.Key, l.Operation)
}

func appendSpent(b []byte, lease OpID, s *LeaseSpend) []byte {
	b = append(b, recordSpent)
	b = binary.AppendVarint(b, int64(s.Amount))
	return appendText(b, string(lease), string(s.ID), s.Price, s.Note)
}

func appendSettled(b []byte, lease OpID, n int) []byte {
	b = append(b, recordSettled)
	b = binary.AppendVarint(b, int64(n))
	return appendText(b, string(lease))
}

func appendClosed(b []byte, lease OpID) []byte {
	return appendText(append(b, recordClosed), string(lease))
}

// A recordReader reads the fields of records; bad once one is not there.
type recordReader struct {
	rest []byte
	bad  bool
}

func (r *recordReader) byte() byte {
	if len(r.rest) == 0 {
		r.bad = true
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *recordReader) int() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *recordReader) text() string {
	size, n := binary.Uvarint(r.rest)
	if n <= 0 || size > uint64(len(r.rest)-n) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[n : n+int(size)])
	r.rest = r.rest[n+int(size):]
	return s
}

// A journalState is what a journal says up to some record.
type journalState struct {
	of    map[OpID]*JournaledLease
	order []OpID
}

// replay takes in the records of a frame, whose checksum is right; so what cannot
// be read was never written.
func (s *journalState) replay(records []byte) error {
	if s.of == nil {
		s.of = make(map[OpID]*JournaledLease)
	}
	r := recordReader{rest: records}
	for len(r.rest) > 0 {
		if ok := s.record(&r); r.bad || !ok {
			return journalCorrupt("a record cannot be")
		}
	}
	return nil
}

func (s *journalState) record(r *recordReader) bool {
	switch r.byte() {
	case recordAcquiring:
		l := JournaledLease{Exact: r.byte() == 1, Epoch: r.int()}
		l.Account, l.Lease, l.Owner, l.Key, l.Operation = AccountID(r.text()), OpID(r.text()), r.text(), r.text(), r.text()
		if s.of[l.Lease] != nil {
			return false
		}
		s.of[l.Lease] = &l
		s.order = append(s.order, l.Lease)
		return true
	case recordSpent:
		spend := LeaseSpend{Amount: Amount(r.int())}
		l := s.of[OpID(r.text())]
		spend.ID, spend.Price, spend.Note = OpID(r.text()), r.text(), r.text()
		if l == nil {
			return false
		}
		l.Spends = append(l.Spends, spend)
		return true
	case recordSettled:
		n, l := r.int(), s.of[OpID(r.text())]
		if l == nil || n < 0 || n > int64(len(l.Spends)) {
			return false
		}
		l.Spends = l.Spends[n:]
		return true
	case recordClosed:
		delete(s.of, OpID(r.text()))
		return true
	}
	return false
}

// leases returns those that were not closed, in the order in which they were
// asked for.
func (s *journalState) leases() []JournaledLease {
	var list []JournaledLease
	for _, id := range s.order {
		if l := s.of[id]; l != nil {
			l.Spends = slices.Clone(l.Spends)
			list = append(list, *l)
		}
	}
	return list
}
