package webhook

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/keytoll/keytoll/errors"
)

// Bounds and defaults of [Settings].
const (
	DefaultMaxInFlight = 8
	MaxMaxInFlight     = 1000
	MaxRate            = 10_000
	DefaultTimeout     = 15 * time.Second
	MinTimeout         = time.Second
	MaxTimeout         = 60 * time.Second
	MaxFilters         = 100
	MaxHeaders         = 32
	MaxSteps           = 64
	MinStep            = time.Millisecond
	MaxURL             = 2048
	MaxNote            = 256
	MaxPEM             = 64 << 10
)

// Settings are the choices of an endpoint. Zero fields but URL are defaults.
type Settings struct {
	// URL is where messages are posted: https, or http where the transport allows
	// it, without user information or a fragment, up to 2048 bytes.
	URL string
	// Events are the types of messages that go here, see [Endpoint.Takes]. Empty
	// means all.
	Events []string
	// Headers are sent with every attempt. None may be one that the package or
	// HTTP sets by itself. Values are stored as they are: they are no place for a
	// secret of the host's.
	Headers map[string]string
	// MaxInFlight bounds the attempts that run at once, over all processes: 1 to
	// [MaxMaxInFlight]. Default [DefaultMaxInFlight].
	MaxInFlight int
	// Rate bounds the attempts that begin in a second, over all processes: 1 to
	// [MaxRate]. They are spread evenly, and may come a tenth of a second early: in
	// any second begin no more than Rate and a tenth of it and one. Default 0: no
	// bound.
	Rate int
	// Ordered sends one message at a time, each only when the one before it is
	// delivered, dead or dropped. MaxInFlight is then 0 or 1.
	Ordered bool
	// Timeout bounds one attempt from the look-up of the name to the last byte of
	// the answer: [MinTimeout] to [SenderOptions.MaxTimeout]. Default
	// [DefaultTimeout], or that if it is less.
	Timeout time.Duration
	// Schedule holds the waits before each further attempt, up to [MaxSteps] of
	// [MinStep] to [MaxWait]: one attempt more than it has steps. Default empty: that
	// of the [Sender].
	Schedule []time.Duration
	// TLS adjusts the connection.
	TLS TLSSettings
	// Note is free text for people, up to 256 bytes.
	Note string
}

// TLSSettings are what an endpoint wants of TLS. The private key of Certificate is
// not here: it is sealed with the keys that sign. Each text has up to [MaxPEM]
// bytes, and no RSA key in it more than 8192 bits.
type TLSSettings struct {
	// RootCAs are PEM certificates to trust instead of those of the system.
	RootCAs string
	// Certificate is the PEM chain that is shown to the receiver. Default none. A
	// certificate for another private key comes by [Sender.SetClientCertificate].
	Certificate string
	// Least is the least version: tls.VersionTLS12 or tls.VersionTLS13. Default
	// 1.2.
	Least uint16
}

// clone returns a copy that shares nothing with s.
func (s *Settings) clone() Settings {
	c := *s
	c.Events = slices.Clone(s.Events)
	c.Headers = maps.Clone(s.Headers)
	c.Schedule = slices.Clone(s.Schedule)
	return c
}

// same reports whether both say the same.
func (s *Settings) same(other *Settings) bool {
	return s.URL == other.URL && slices.Equal(s.Events, other.Events) && maps.Equal(s.Headers, other.Headers) &&
		s.MaxInFlight == other.MaxInFlight && s.Rate == other.Rate && s.Ordered == other.Ordered && s.Timeout == other.Timeout &&
		slices.Equal(s.Schedule, other.Schedule) && s.TLS == other.TLS && s.Note == other.Note
}

// check adds to faults what is wrong with s. Whether the address can be delivered
// to, and what TLS wants, is for the caller to ask.
func (s *Settings) check(faults *errors.Faults, maxTimeout time.Duration) {
	if len(s.URL) > MaxURL {
		faults.Add("URL: %d bytes; give up to %d", len(s.URL), MaxURL)
	}
	if !utf8.ValidString(s.URL) {
		faults.Add("URL: not UTF-8; write other bytes as %%XX")
	}
	if strings.Contains(s.URL, "#") {
		faults.Add("URL: it has a fragment, which is never sent; take it out")
	}
	if len(s.Events) > MaxFilters {
		faults.Add("Events: %d filters; give up to %d", len(s.Events), MaxFilters)
	}
	for i, filter := range s.Events[:min(len(s.Events), MaxFilters)] {
		if kind := strings.TrimSuffix(filter, ".*"); !validType(kind) {
			faults.Add("Events[%d] %.140q: not a type such as \"image.created\", nor the beginning of types and \".*\"; for all types leave Events empty", i, filter)
		}
	}
	checkHeaders(faults, s.Headers)
	within(faults, "MaxInFlight", s.MaxInFlight, 0, MaxMaxInFlight)
	if s.Ordered && s.MaxInFlight > 1 {
		faults.Add("MaxInFlight is %d, and Ordered sends one at a time; give 0 or 1", s.MaxInFlight)
	}
	within(faults, "Rate", s.Rate, 0, MaxRate)
	if s.Timeout != 0 {
		within(faults, "Timeout", s.Timeout, MinTimeout, maxTimeout)
	}
	if len(s.Schedule) > MaxSteps {
		faults.Add("Schedule: %d steps; give up to %d", len(s.Schedule), MaxSteps)
	}
	for i, step := range s.Schedule[:min(len(s.Schedule), MaxSteps)] {
		if step < MinStep || step > MaxWait {
			faults.Add("Schedule[%d] is %v; give %v to %v", i, step, MinStep, MaxWait)
		}
	}
	if len(s.TLS.RootCAs) > MaxPEM || len(s.TLS.Certificate) > MaxPEM {
		faults.Add("TLS: %d and %d bytes of PEM; give up to %d each", len(s.TLS.RootCAs), len(s.TLS.Certificate), MaxPEM)
	}
	if !plain(s.TLS.RootCAs) || !plain(s.TLS.Certificate) {
		faults.Add("TLS: RootCAs or Certificate holds more than text; give PEM")
	}
	if len(s.Note) > MaxNote || !plain(s.Note) {
		faults.Add("Note: not up to %d bytes of text in UTF-8, without control characters", MaxNote)
	}
}

// plain reports whether text is UTF-8 without control characters other than tabs
// and line breaks: what every store keeps as it is.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) && r != '\t' && r != '\n' && r != '\r'
	})
}
