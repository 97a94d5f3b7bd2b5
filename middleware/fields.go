package middleware

import (
	"strconv"
	"time"

	"github.com/keytoll/keytoll/ratelimit"
)

// Names in the canonical form that http.Header uses.
const (
	headerRequestID    = "X-Request-Id"
	headerPolicy       = "Ratelimit-Policy"
	headerLimit        = "Ratelimit"
	headerCacheControl = "Cache-Control"
	headerRetryAfter   = "Retry-After"
	headerChallenge    = "Www-Authenticate"
	headerContentType  = "Content-Type"
	headerNoSniff      = "X-Content-Type-Options"
)

// appendPolicy appends one item of RateLimit-Policy: the quota, the window in
// whole seconds where it is one, and the unit unless it is requests.
func appendPolicy(b []byte, quota int64, window time.Duration, name, unit string) []byte {
	b = appendString(b, name)
	b = append(b, ";q="...)
	b = appendInteger(b, quota)
	if unit != "" && unit != "requests" {
		b = append(b, ";qu="...)
		b = appendString(b, unit)
	}
	if window > 0 && window%time.Second == 0 {
		b = append(b, ";w="...)
		b = appendInteger(b, int64(window/time.Second))
	}
	return b
}

// appendState appends one item of RateLimit: what is left, and the seconds
// within which no more than that may be used. When nothing is left that is the
// time until this cost passes, where it is known; else the time until all is
// back.
func appendState(b []byte, s *ratelimit.State) []byte {
	b = appendString(b, s.Limit.Name)
	b = append(b, ";r="...)
	b = appendInteger(b, s.Remaining)
	wait := s.ResetAfter
	if !s.Allowed {
		wait = s.RetryAfter
	}
	if wait > 0 {
		b = append(b, ";t="...)
		b = appendInteger(b, seconds(wait))
	}
	return b
}

// maxInteger is the largest integer of a structured field (RFC 9651).
const maxInteger = 999_999_999_999_999

func appendInteger(b []byte, n int64) []byte {
	return strconv.AppendInt(b, min(max(n, -maxInteger), maxInteger), 10)
}

// appendString appends s as a String of a structured field. What such a string
// cannot hold becomes '?'; names and units never do, because they are checked
// at start-up.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c >= 0x7f:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
