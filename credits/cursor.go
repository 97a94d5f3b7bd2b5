package credits

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/keytoll/keytoll/errors"
)

// A Cursor is a place in one listing of one account. It is opaque, safe in a
// URL, and does not grow old: what it stands behind may be gone.
type Cursor string

// A listing is what a cursor is a place in.
type listing byte

const (
	entriesOldest  listing = 0
	entriesNewest  listing = 1
	lotsListing    listing = 2
	holdsListing   listing = 3
	opsListing     listing = 4
	budgetsListing listing = 5
)

const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Around the key of a cursor stand a version and the listing, and four bytes
// that tie it to its account, against mixing them up. They are not a secret.
const (
	cursorHead = 2
	cursorTail = 4
	maxCursor  = (cursorHead + MaxIDBytes + cursorTail + 2) / 3 * 4
)

func newCursor(account AccountID, in listing, key string) Cursor {
	b := append([]byte{1, byte(in)}, key...)
	sum := sha256.Sum256([]byte(account))
	return Cursor(base64.RawURLEncoding.EncodeToString(append(b, sum[:cursorTail]...)))
}

// newSeqCursor returns the cursor of a listing that goes by a number.
func newSeqCursor(account AccountID, in listing, n int64) Cursor {
	var key [8]byte
	binary.BigEndian.PutUint64(key[:], uint64(n))
	return newCursor(account, in, string(key[:]))
}

// read returns the key to go on from.
func (c Cursor) read(account AccountID, in listing) (string, error) {
	if len(c) <= maxCursor {
		b, err := base64.RawURLEncoding.Strict().DecodeString(string(c))
		if err == nil && len(b) > cursorHead+cursorTail {
			if key := string(b[cursorHead : len(b)-cursorTail]); newCursor(account, in, key) == c {
				return key, nil
			}
		}
	}
	return "", &errors.Error{
		Code: errors.Invalid, Op: "credits.Cursor",
		Msg: "the cursor does not belong to this listing; give the Next of a page of the same account, kind and order",
	}
}

// readSeq returns the number to go on from, which is least or more.
func (c Cursor) readSeq(account AccountID, in listing, least int64) (int64, error) {
	key, err := c.read(account, in)
	if err != nil {
		return 0, err
	}
	if len(key) == 8 {
		if n := int64(binary.BigEndian.Uint64([]byte(key))); n >= least {
			return n, nil
		}
	}
	_, err = Cursor("").read(account, in)
	return 0, err
}

// pageLimit checks how many rows a page shall have and fills in the default.
func pageLimit(f *errors.Faults, limit int) int {
	if limit < 0 || limit > maxLimit {
		f.Add("Limit is %d; give 1 to %d, or 0 for %d", limit, maxLimit, defaultLimit)
	}
	if limit == 0 {
		return defaultLimit
	}
	return limit
}
