package pgstore

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/webhook"
)

// The numbers of columns of the tables of webhooks, in their order in the schema.
const (
	endpointColumns = 14
	messageColumns  = 8
	deliveryColumns = 14 // with at, which follows from the others
	attemptColumns  = 13
)

// An exact is a text that comes back byte for byte: JSON holds UTF-8 alone, and
// what a header may carry need not be that.
type exact string

type base64Text struct {
	Base64 []byte `json:"base64"`
}

// MarshalJSON implements [json.Marshaler].
func (e exact) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(e)) {
		return json.Marshal(string(e))
	}
	return json.Marshal(base64Text{[]byte(e)})
}

// UnmarshalJSON implements [json.Unmarshaler].
func (e *exact) UnmarshalJSON(text []byte) error {
	if !bytes.HasPrefix(text, []byte("{")) {
		return json.Unmarshal(text, (*string)(e))
	}
	var t base64Text
	err := json.Unmarshal(text, &t)
	*e = exact(t.Base64)
	return err
}

// A storedSettings is what the column settings holds: the Settings of an endpoint,
// but for Events. Names never change.
type storedSettings struct {
	URL         exact           `json:"url"`
	Headers     []storedHeader  `json:"headers,omitempty"`
	MaxInFlight int             `json:"max_in_flight,omitempty"`
	Rate        int             `json:"rate,omitempty"`
	Ordered     bool            `json:"ordered,omitempty"`
	Timeout     time.Duration   `json:"timeout_ns,omitempty"`
	Schedule    []time.Duration `json:"schedule_ns,omitempty"`
	RootCAs     exact           `json:"root_cas,omitempty"`
	Certificate exact           `json:"certificate,omitempty"`
	LeastTLS    uint16          `json:"least_tls,omitempty"`
	Note        exact           `json:"note,omitempty"`
}

type storedHeader struct {
	Name  exact `json:"name"`
	Value exact `json:"value"`
}

// A storedHealth is what the column health holds. Instants are microseconds, 0 for
// none.
type storedHealth struct {
	BlockedUntil int64 `json:"blocked_until,omitempty"`
	PacedUntil   int64 `json:"paced_until,omitempty"`
	Trips        int   `json:"trips,omitempty"`
	Failures     int   `json:"failures,omitempty"`
	WindowAt     int64 `json:"window_at,omitempty"`
	Attempts     int   `json:"attempts,omitempty"`
	Missed       int   `json:"missed,omitempty"`
	FailingSince int64 `json:"failing_since,omitempty"`
	FailedAt     int64 `json:"failed_at,omitempty"`
	AskedUntil   int64 `json:"asked_until,omitempty"`
	Told         bool  `json:"told,omitempty"`
}

// An endpointText is what of an endpoint is JSON; nil for null.
type endpointText struct{ events, settings, health []byte }

// textOf returns what is stored of e.
func textOf(e *webhook.Endpoint) (text endpointText, err error) {
	s := &e.Settings
	stored := storedSettings{
		URL: exact(s.URL), MaxInFlight: s.MaxInFlight, Rate: s.Rate, Ordered: s.Ordered, Timeout: s.Timeout, Schedule: s.Schedule,
		RootCAs: exact(s.TLS.RootCAs), Certificate: exact(s.TLS.Certificate), LeastTLS: s.TLS.Least, Note: exact(s.Note),
		Headers: headersOf(s.Headers),
	}
	if text.settings, err = json.Marshal(stored); err != nil {
		return text, err
	}
	if len(s.Events) > 0 {
		events := make([]exact, len(s.Events))
		for i, event := range s.Events {
			events[i] = exact(event)
		}
		if text.events, err = json.Marshal(events); err != nil {
			return text, err
		}
	}
	if h := &e.Health; *h != (webhook.Health{}) {
		text.health, err = json.Marshal(storedHealth{
			BlockedUntil: microsOf(h.BlockedUntil), PacedUntil: microsOf(h.PacedUntil), Trips: h.Trips, Failures: h.Failures,
			WindowAt: microsOf(h.WindowAt), Attempts: h.Attempts, Missed: h.Missed,
			FailingSince: microsOf(h.FailingSince), FailedAt: microsOf(h.FailedAt), AskedUntil: microsOf(h.AskedUntil), Told: h.Told,
		})
	}
	return text, err
}

// headersOf returns headers in the order of their names.
func headersOf(headers map[string]string) []storedHeader {
	var list []storedHeader
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		list = append(list, storedHeader{exact(name), exact(headers[name])})
	}
	return list
}

// microsOf returns an instant as microseconds, 0 for the zero time.
func microsOf(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// timeOf returns what microsOf was given.
func timeOf(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// readEndpoint reads a row of endpoints, and returns its JSON, which it shares with
// nothing.
func readEndpoint(row []byte, e *webhook.Endpoint) (from endpointText, err error) {
	var c [endpointColumns][]byte
	if err := split(row, c[:]); err != nil {
		return from, err
	}
	copyTexts(text{&e.ID, c[0]}, text{&e.Account, c[1]})
	e.State, e.Reason = webhook.EndpointState(small(c[2])), webhook.DisableReason(small(c[3]))
	e.CreatedAt, e.UpdatedAt = micros(c[4]), micros(c[5])
	e.Sealed = nonEmpty(c[8])
	from = endpointText{bytes.Clone(c[6]), bytes.Clone(c[7]), bytes.Clone(c[9])}
	var s storedSettings
	if err := json.Unmarshal(from.settings, &s); err != nil {
		return from, unreadable("endpoint", "settings", err)
	}
	e.Settings = webhook.Settings{
		URL: string(s.URL), MaxInFlight: s.MaxInFlight, Rate: s.Rate, Ordered: s.Ordered, Timeout: s.Timeout, Schedule: s.Schedule,
		TLS:  webhook.TLSSettings{RootCAs: string(s.RootCAs), Certificate: string(s.Certificate), Least: s.LeastTLS},
		Note: string(s.Note),
	}
	if len(s.Headers) > 0 {
		e.Settings.Headers = make(map[string]string, len(s.Headers))
		for _, h := range s.Headers {
			e.Settings.Headers[string(h.Name)] = string(h.Value)
		}
	}
	if e.Settings.Events, err = eventsOf(from.events); err != nil {
		return from, err
	}
	if from.health == nil {
		return from, nil
	}
	var h storedHealth
	if err := json.Unmarshal(from.health, &h); err != nil {
		return from, unreadable("endpoint", "health", err)
	}
	e.Health = webhook.Health{
		BlockedUntil: timeOf(h.BlockedUntil), PacedUntil: timeOf(h.PacedUntil), Trips: h.Trips, Failures: h.Failures,
		WindowAt: timeOf(h.WindowAt), Attempts: h.Attempts, Missed: h.Missed,
		FailingSince: timeOf(h.FailingSince), FailedAt: timeOf(h.FailedAt), AskedUntil: timeOf(h.AskedUntil), Told: h.Told,
	}
	return from, nil
}

// eventsOf returns the filters in a column events.
func eventsOf(column []byte) ([]string, error) {
	if column == nil {
		return nil, nil
	}
	var stored []exact
	if err := json.Unmarshal(column, &stored); err != nil {
		return nil, unreadable("endpoint", "events", err)
	}
	events := make([]string, len(stored))
	for i, event := range stored {
		events[i] = string(event)
	}
	return events, nil
}

// nonEmpty returns a copy of a column, nil if that is empty.
func nonEmpty(column []byte) []byte {
	if len(column) == 0 {
		return nil
	}
	return bytes.Clone(column)
}

// A loadedEndpoint is an endpoint with what of it was stored.
type loadedEndpoint struct {
	webhook.Endpoint
	was  webhook.Endpoint
	text endpointText
}

// loadEndpoint reads a row of endpoints.
func loadEndpoint(row []byte) (*loadedEndpoint, error) {
	var l loadedEndpoint
	var err error
	l.text, err = readEndpoint(row, &l.Endpoint)
	l.was = l.Endpoint
	l.was.Sealed = bytes.Clone(l.Sealed)
	return &l, err
}

// write adds the endpoint as it is now, if it is not as it was. Settings that did
// not change are left out.
func (l *loadedEndpoint) write(t *table, now time.Time) error {
	e, was := &l.Endpoint, &l.was
	e.ID = was.ID
	text, err := textOf(e)
	if err != nil {
		return err
	}
	same := bytes.Equal(text.settings, l.text.settings) && bytes.Equal(text.events, l.text.events) && bytes.Equal(e.Sealed, was.Sealed)
	if same && bytes.Equal(text.health, l.text.health) && e.Account == was.Account && e.State == was.State && e.Reason == was.Reason &&
		e.CreatedAt.Equal(was.CreatedAt) && e.UpdatedAt.Equal(was.UpdatedAt) {
		return nil
	}
	t.begin()
	t.text(e.ID)
	t.text(e.Account)
	t.small(int(e.State))
	t.small(int(e.Reason))
	t.instant(e.CreatedAt)
	t.instant(e.UpdatedAt)
	if same {
		t.json(nil)
		t.json(nil)
		t.column(pgtype.ByteaOID, null)
	} else {
		t.json(text.events)
		t.json(text.settings)
		t.bytes(e.Sealed)
	}
	t.json(text.health)
	t.truth(e.Settings.Ordered)
	t.number(int64(roomOf(*e)))
	t.number(readyOf(e, now))
	t.number(now.UnixMicro())
	t.end()
	return nil
}

// roomOf returns the most attempts at once that settings and health of e allow,
// whatever its pace: what the database gives no more than, before Room is asked.
func roomOf(e webhook.Endpoint) int {
	e.State, e.Settings.Rate, e.Health.BlockedUntil = webhook.EndpointActive, 0, time.Time{}
	return e.Room(time.Time{}, 0)
}

// readyOf returns the microsecond before which Room says that nothing begins, as
// far as that can be said at now.
func readyOf(e *webhook.Endpoint, now time.Time) int64 {
	if e.Room(now, 0) > 0 {
		return 0
	}
	return microsOf(e.ReadyAt())
}

// readDelivery reads a row of deliveries, but for what is in its message.
func readDelivery(row []byte, d *webhook.Delivery) error {
	var c [deliveryColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(text{&d.Message, c[0]}, text{&d.Endpoint, c[1]}, text{&d.Token, c[7]})
	d.Seq, d.State, d.Due = number(c[2]), webhook.DeliveryState(small(c[3])), micros(c[4])
	d.Tries, d.Attempt, d.Lease = int(number(c[5])), int(number(c[6])), micros(c[8])
	d.Failure, d.Manual = webhook.Failure(small(c[9])), truth(c[10])
	d.CreatedAt, d.EndedAt = micros(c[11]), micros(c[12])
	return nil
}

func writeDelivery(t *table, d *webhook.Delivery) {
	t.begin()
	t.text(d.Message)
	t.text(d.Endpoint)
	t.number(d.Seq)
	t.small(int(d.State))
	t.instant(d.Due)
	t.number(int64(d.Tries))
	t.number(int64(d.Attempt))
	t.text(d.Token)
	t.instant(d.Lease)
	t.small(int(d.Failure))
	t.truth(d.Manual)
	t.instant(d.CreatedAt)
	t.instant(d.EndedAt)
	t.instant(time.Time{})
	t.end()
}

// readMessage reads a row of messages.
func readMessage(row []byte, m *webhook.Message) error {
	var c [messageColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(text{&m.ID, c[0]}, text{&m.Account, c[1]}, text{&m.Type, c[2]}, text{&m.Endpoint, c[3]}, text{&m.ContentType, c[4]})
	m.Payload, m.At = nonEmpty(c[5]), micros(c[6])
	return nil
}

// readAttempt reads a row of attempts.
func readAttempt(row []byte, a *webhook.Attempt) error {
	var c [attemptColumns][]byte
	if err := split(row, c[:]); err != nil {
		return err
	}
	copyTexts(text{&a.Message, c[0]}, text{&a.Endpoint, c[1]}, text{&a.Detail, c[7]}, text{&a.Location, c[11]}, text{&a.Address, c[12]})
	a.Number, a.At, a.Took = int(number(c[2])), micros(c[3]), time.Duration(number(c[4]))
	a.Failure, a.Status, a.Body = webhook.Failure(small(c[5])), int(number(c[6])), nonEmpty(c[8])
	a.RetryAfter, a.Control = time.Duration(number(c[9])), webhook.Control(small(c[10]))
	return nil
}

func writeAttempt(t *table, s *webhook.Settlement) {
	a := &s.Attempt
	t.begin()
	t.text(s.Message)
	t.text(s.Endpoint)
	t.number(int64(a.Number))
	t.instant(a.At)
	t.number(int64(a.Took))
	t.small(int(a.Failure))
	t.number(int64(a.Status))
	t.bytes([]byte(a.Detail))
	t.bytes(a.Body)
	t.number(int64(a.RetryAfter))
	t.small(int(a.Control))
	t.bytes([]byte(a.Location))
	t.bytes([]byte(a.Address))
	t.end()
}
