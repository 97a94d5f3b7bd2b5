package pgstore

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// epoch is where PostgreSQL begins to count, in microseconds since 1970.
const epoch = 946_684_800_000_000

// stored returns t as it is stored: the microsecond that it lies in.
func stored(t time.Time) pgtype.Timestamptz {
	return pgtype.Timestamptz{Time: time.UnixMicro(t.UnixMicro()).UTC(), Valid: true}
}

// nullable is stored for a column in which the zero time, "never", is null.
func nullable(t time.Time) pgtype.Timestamptz {
	if t.IsZero() {
		return pgtype.Timestamptz{}
	}
	return stored(t)
}

// after returns the first instant that can be stored and is not before t: an
// instant that can be stored is before the one exactly if it is before the other.
func after(t time.Time) pgtype.Timestamptz {
	at := stored(t)
	if at.Time.Before(t) {
		at.Time = at.Time.Add(time.Microsecond)
	}
	return at
}

// instant returns what stored stored, from its binary form; the zero time for
// null.
func instant(column []byte) time.Time {
	if len(column) != 8 {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(column)) + epoch).UTC()
}

// number returns a bigint from its binary form.
func number(column []byte) int64 {
	if len(column) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(column))
}
