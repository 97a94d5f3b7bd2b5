package webhook

import (
	"net/http"
	"strings"
	"time"
)

// Bounds of what is taken from an answer.
const (
	maxLocation = 1024
	maxDrain    = 64 << 10 // bytes read of a body so that its connection can be used again
)

// failureOf says what a status means.
func failureOf(status int) Failure {
	switch {
	case status >= 200 && status < 300:
		return 0
	case status >= 300 && status < 400:
		return FailedRedirect
	case status == http.StatusGone:
		return FailedGone
	case status == http.StatusTooManyRequests, status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		return FailedBusy
	}
	return FailedStatus
}

// retryAfterOf reads the header Retry-After: whole seconds or a date, as RFC 9110
// section 10.2.3 has it, or seconds with a fraction, as some send. What is neither
// is 0, and so is what lies in the past; nothing is more than a day.
func retryAfterOf(header http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(header.Get("Retry-After"))
	if text == "" || len(text) > 64 {
		return 0
	}
	if text[0] >= '0' && text[0] <= '9' {
		return retrySeconds(text)
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), MaxRetryAfter).Round(time.Microsecond)
}

// retrySeconds reads digits, and perhaps a dot and more digits. Beyond a
// microsecond it rounds up.
func retrySeconds(text string) time.Duration {
	whole, fraction, dotted := strings.Cut(text, ".")
	var wait time.Duration
	for i := range len(whole) {
		c := whole[i]
		if c < '0' || c > '9' {
			return 0
		}
		wait = min(wait*10+time.Duration(c-'0')*time.Second, MaxRetryAfter)
	}
	if dotted && fraction == "" {
		return 0
	}
	unit := time.Second
	for i := range len(fraction) {
		c := fraction[i]
		if c < '0' || c > '9' {
			return 0
		}
		switch unit /= 10; {
		case unit >= time.Microsecond:
			wait += time.Duration(c-'0') * unit
		case c != '0':
			return min(wait+time.Microsecond, MaxRetryAfter)
		}
	}
	return min(wait, MaxRetryAfter)
}

// controlOf reads the header "webhook-delivery", a proposed addition to Standard
// Webhooks (its pull request 291). Words that are not known ask for nothing.
func controlOf(header http.Header) Control {
	switch strings.ToLower(strings.TrimSpace(header.Get("Webhook-Delivery"))) {
	case controls[ControlAbort]:
		return ControlAbort
	case controls[ControlDisable]:
		return ControlDisable
	}
	return 0
}

// locationOf returns where a redirect leads, for people to read: visible ASCII
// only, and not all of it if it is long.
func locationOf(header http.Header) string {
	text := header.Get("Location")
	if len(text) > maxLocation {
		text = text[:maxLocation]
	}
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, text)
}
