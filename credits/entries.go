package credits

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/keytoll/keytoll/errors"
)

// A Query asks for a page of one account's journal.
type Query struct {
	Account AccountID
	Newest  bool   // newest entry first; default oldest first
	Cursor  Cursor // zero: from the beginning; else a Page's Next
	Limit   int    // 1 to 1000; zero: 100
}

// A Page is a stretch of a journal.
type Page struct {
	Entries []Entry
	Next    Cursor // for the page after this one; empty: there is none now
}

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Entries returns a page of the journal of an account. What is due and not
// posted yet is not in it; see the package comment. An account without a grant
// has an empty journal. New entries never move old ones: pages that follow each
// other hold each entry once.
func (l *Ledger) Entries(ctx context.Context, q Query) (Page, error) {
	const op = "credits.Entries"
	f := errors.Faults{Op: op}
	checkID(&f, "Account", string(q.Account))
	if q.Limit < 0 || q.Limit > maxLimit {
		f.Add("Limit is %d; give 1 to %d, or 0 for %d", q.Limit, maxLimit, defaultLimit)
	}
	eq := EntryQuery{Account: q.Account, Descending: q.Newest, Limit: q.Limit}
	if q.Limit == 0 {
		eq.Limit = defaultLimit
	}
	if q.Cursor != "" {
		var err error
		eq.After, err = q.Cursor.read(q.Account, q.Newest)
		f.Join(err)
	}
	if err := f.Err(); err != nil {
		return Page{}, err
	}
	want := eq.Limit
	eq.Limit++ // one more tells whether there is a next page
	list, err := l.store.Entries(ctx, eq)
	if err != nil {
		return Page{}, atBoundary(op, err)
	}
	p := Page{Entries: list}
	if len(list) > want {
		p.Entries = list[:want]
		p.Next = newCursor(q.Account, q.Newest, list[want-1].Seq)
	}
	return p, nil
}

// A Cursor is a place in the journal of one account, in one direction. It is
// opaque, safe in a URL, and does not grow old.
type Cursor string

// cursorBytes: version, direction, Seq, and four bytes that tie the cursor to
// its account, against mixing them up. It is not a secret.
const cursorBytes = 1 + 1 + 8 + 4

func newCursor(account AccountID, newest bool, seq int64) Cursor {
	b := []byte{1, 0}
	if newest {
		b[1] = 1
	}
	b = binary.BigEndian.AppendUint64(b, uint64(seq))
	sum := sha256.Sum256([]byte(account))
	return Cursor(base64.RawURLEncoding.EncodeToString(append(b, sum[:4]...)))
}

// read returns the Seq to go on from.
func (c Cursor) read(account AccountID, newest bool) (int64, error) {
	bad := &errors.Error{
		Code: errors.Invalid, Op: "credits.Cursor",
		Msg: "the cursor does not belong to this listing; give the Next of a page of the same account and order",
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(string(c))
	if err != nil || len(b) != cursorBytes {
		return 0, bad
	}
	seq := int64(binary.BigEndian.Uint64(b[2:]))
	if seq < 1 || newCursor(account, newest, seq) != c {
		return 0, bad
	}
	return seq, nil
}
