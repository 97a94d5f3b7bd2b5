package webhook

import (
	"context"
	"net/http"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// A Span is a row of the table of addresses.
type Span struct {
	Prefix netip.Prefix
	Name   string
	Never  bool
}

// Spans returns the table of addresses.
func Spans() []Span {
	var rows []Span
	for _, s := range spans {
		rows = append(rows, Span{s.prefix, s.name, s.never})
	}
	return rows
}

// SpanOf returns the row that makes addr one not to dial.
func SpanOf(addr netip.Addr) (Span, bool) {
	if s := spanOf(addr); s != nil {
		return Span{s.prefix, s.name, s.never}, true
	}
	return Span{}, false
}

// Judge decides about a dialled address.
func Judge(t *SafeTransport, addr netip.Addr) error { return t.guard.judge(addr, false) }

// JudgeHost decides about an address that a name of AllowHosts led to.
func JudgeHost(t *SafeTransport, addr netip.Addr) error { return t.guard.judge(addr, true) }

// ForTLS returns the transport for the TLS settings of an endpoint.
func ForTLS(t *SafeTransport, s TLSSettings, clientKey string) (*http.Transport, error) {
	return t.forTLS(s, clientKey)
}

// Derived returns how many transports with TLS settings of their own are kept.
func Derived(t *SafeTransport) int {
	t.derived.mu.Lock()
	defer t.derived.mu.Unlock()
	return len(t.derived.byKey)
}

// MaxDerived is the most of them.
const MaxDerived = maxDerived

// Try makes one attempt at d.
func Try(ctx context.Context, o SenderOptions, d Claimed, keys Keys, clientKey string) (Attempt, error) {
	o.fill()
	return newCourier(&o).attempt(ctx, d, keys, clientKey)
}

// CheckHeaders returns what is wrong with the headers of an endpoint.
func CheckHeaders(headers map[string]string) error {
	faults := errors.Faults{Op: "test"}
	checkHeaders(&faults, headers)
	return faults.Err()
}

// RetryAfterOf reads the header of an answer.
func RetryAfterOf(header http.Header, now time.Time) time.Duration { return retryAfterOf(header, now) }
