package sqlitestore

import (
	"database/sql"
	"time"
)

// micros returns t as it is stored. The zero time is a number like any other,
// and comes back zero.
func micros(t time.Time) int64 { return t.UnixMicro() }

// instant returns what micros stored.
func instant(n int64) time.Time { return time.UnixMicro(n).UTC() }

// nullable is micros for a column in which the zero time, "never", is null.
func nullable(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMicro()
}

// optional returns what nullable stored.
func optional(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return instant(n.Int64)
}

// ceiling is the first microsecond that is not before t: what is stored is
// before t exactly if it is before that.
func ceiling(t time.Time) int64 {
	n := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		n++
	}
	return n
}
