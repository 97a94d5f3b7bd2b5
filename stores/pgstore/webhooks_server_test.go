package pgstore_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	kerrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/stores/pgstore"
	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
	"github.com/keytoll/keytoll/webhook"
)

// What each call costs on the network once its connection knows the statements,
// however much it moves.
func TestRoundTripsOfWebhooks(t *testing.T) {
	for _, mode := range []string{"cache_statement", "exec"} {
		t.Run(mode, func(t *testing.T) {
			line := newLine(t, pgtest.Database(t))
			db := openURL(t, withParameter(withParameter(line.url, "pool_max_conns", "1"), "default_query_exec_mode", mode))
			s := db.Webhooks(nil)
			ctx := t.Context()
			endpointsOf(t, s, "a", 100)
			var claims webhook.Claims
			for round := range 2 {
				id := fmt.Sprint("m", round)
				for _, c := range []struct {
					what  string
					turns int64
					call  func() error
				}{
					{"a publication", 2, func() error { _, err := s.Publish(ctx, letter("a", id)); return err }},
					{"a claim", 2, func() (err error) {
						claims, err = s.Claim(ctx, webhook.Claim{Token: id, Limit: 500, Lease: time.Minute})
						if err == nil && len(claims.Deliveries) != 100 {
							err = fmt.Errorf("%d deliveries, want 100", len(claims.Deliveries))
						}
						return err
					}},
					{"a settlement", 2, func() error { return s.Settle(ctx, settlements(claims.Deliveries), delivered) }},
					{"a claim of nothing", 2, func() error {
						_, err := s.Claim(ctx, webhook.Claim{Token: id, Limit: 500, Lease: time.Minute})
						return err
					}},
					{"a move", 1, func() error {
						_, err := s.Move(ctx, webhook.Move{Endpoint: "a-00001", From: []webhook.DeliveryState{webhook.DeliveryDead}, To: webhook.DeliveryPending, Limit: 9})
						return err
					}},
					{"a prune", 1, func() error { _, err := s.Prune(ctx, begin, 9); return err }},
					{"a change", 2, func() error {
						return s.Change(ctx, "a-00001", func(now time.Time, e *webhook.Endpoint) error { e.UpdatedAt = now; return nil })
					}},
				} {
					line.turns.Store(0)
					if err := c.call(); err != nil {
						t.Fatalf("%s: %v", c.what, err)
					}
					if n := line.turns.Load(); round > 0 && n != c.turns {
						t.Errorf("%s takes %d round trips, want %d", c.what, n, c.turns)
					}
				}
			}
		})
	}
}

// fill sets every field of a struct to something that is not its zero value.
func fillFields(v reflect.Value, n int) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(begin.Add(time.Duration(n) * time.Microsecond)))
			return
		}
		for i := range v.NumField() {
			fillFields(v.Field(i), n+i+1)
		}
	case reflect.String:
		v.SetString("\x00 <&> \u2028 \xff\xfe caf\xe9 " + fmt.Sprint(n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(n))
	case reflect.Uint16:
		v.SetUint(uint64(n))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fillFields(v.Index(i), n+i)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fillFields(key, n+i)
			fillFields(value, n+i+2)
			v.SetMapIndex(key, value)
		}
	default:
		panic("a field of a kind that is not known: " + v.Kind().String())
	}
}

// Everything that an endpoint and an attempt hold comes back byte for byte, also
// what is neither UTF-8 nor free of NUL, and fields that packages get later.
func TestEveryFieldComesBackByteForByte(t *testing.T) {
	d := newSharedDatabase(t)
	s := d.db.Webhooks(nil)
	ctx := t.Context()
	want := webhook.Endpoint{
		ID: "a-00000", Account: "a", Sealed: []byte("\x00\xff"), State: webhook.EndpointActive, CreatedAt: begin, UpdatedAt: begin.Add(time.Second),
	}
	fillFields(reflect.ValueOf(&want.Settings).Elem(), 1)
	fillFields(reflect.ValueOf(&want.Health).Elem(), 1)
	want.Settings.Events = append(want.Settings.Events, "image.*")
	for range 2 { // made, and changed
		if err := s.Change(ctx, want.ID, func(_ time.Time, e *webhook.Endpoint) error { *e = want; return nil }); err != nil {
			t.Fatal(err)
		}
		list, err := s.Endpoints(ctx, webhook.EndpointQuery{ID: want.ID, Limit: 1})
		if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], want) {
			t.Fatalf("the endpoint is %+v, %v; want %+v", list, err, want)
		}
		want.Settings.Note, want.Settings.Rate, want.Settings.Ordered, want.Health.BlockedUntil, want.Health.Trips = "other", 0, false, time.Time{}, 0
	}
	m := letter("a", "m")
	m.Payload = []byte("\x00\xff\xfe")
	if p, err := s.Publish(ctx, m); err != nil || p.Deliveries != 1 {
		t.Fatalf("%+v, %v", p, err)
	}
	claims := takeDue(t, s, 1)
	if len(claims.Deliveries) != 1 || string(claims.Deliveries[0].Message.Payload) != string(m.Payload) || !reflect.DeepEqual(*claims.Deliveries[0].Endpoint, want) {
		t.Fatalf("claimed %+v", claims)
	}
	list := settlements(claims.Deliveries)
	a := webhook.Attempt{Failure: webhook.FailedBusy, Control: webhook.ControlDisable}
	a.Endpoint, a.Message, a.Number, a.At, a.Took, a.Status, a.RetryAfter = want.ID, "m", 1, begin, 3*time.Nanosecond, 503, time.Hour+1
	a.Detail, a.Body, a.Location, a.Address = "\xff", []byte("\x00\xfe"), "http://\xe9\x00", "[2001:db8::1]:443"
	list[0].Attempt = a
	if err := s.Settle(ctx, list, delivered); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Attempts(ctx, want.ID, "m", 0, 9); err != nil || len(got) != 1 || !reflect.DeepEqual(got[0], a) {
		t.Errorf("the attempt is %+v, %v; want %+v", got, err, a)
	}
}

// Whatever a pool is set to, all of it works.
func TestWebhooksInEveryModeOfThePool(t *testing.T) {
	url := withParameter(pgtest.Database(t), "synchronous_commit", "off")
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		s := openURL(t, withParameter(url, "default_query_exec_mode", mode)).Webhooks(nil)
		endpointsOf(t, s, mode, 2)
		publish(t, s, mode, mode)
		claims := takeDue(t, s, 10)
		if err := s.Settle(t.Context(), settlements(claims.Deliveries), delivered); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		list, err := s.Deliveries(t.Context(), webhook.DeliveryQuery{Message: mode, Limit: 10})
		if err != nil || len(list) != 2 || list[0].State != webhook.DeliveryDelivered || list[0].Type != "image.created" || list[0].Account != mode {
			t.Errorf("%s: %+v, %v", mode, list, err)
		}
		state, err := openURL(t, withParameter(url, "default_query_exec_mode", mode)).Replays(nil).Claim(t.Context(), mode, "me", time.Hour)
		if err != nil || state != webhook.ClaimGranted {
			t.Errorf("%s: %v, %v", mode, state, err)
		}
	}
}

// The cap is exact with eight claimers at once, whoever settles meanwhile, and no
// delivery is handed out twice within its lease.
func TestEightClaimersNeverPassTheCap(t *testing.T) {
	const claimers, messages, most = 8, 60, 3
	d := newSharedDatabase(t)
	s := d.db.Webhooks(nil)
	endpointsOf(t, s, "a", 4, func(e *webhook.Endpoint) { e.Settings.MaxInFlight = most })
	for i := range messages {
		publish(t, s, "a", fmt.Sprint("m", i))
	}
	var running [4]atomic.Int64
	var done atomic.Int64
	index := func(c *webhook.Claimed) int { return int(c.Delivery.Endpoint[len(c.Delivery.Endpoint)-1] - '0') }
	each(claimers, func(int) {
		after := ""
		for done.Load() < messages*4 && !t.Failed() {
			got, err := s.Claim(t.Context(), webhook.Claim{Token: webhook.NewID(), Limit: 7, Lease: time.Minute, After: after})
			if err != nil {
				t.Error(err)
				return
			}
			after = got.Last
			for i := range got.Deliveries {
				c := &got.Deliveries[i]
				if n := running[index(c)].Add(1); n > most {
					t.Errorf("%d at once of %s", n, c.Delivery.Endpoint)
				}
				if c.Delivery.Tries != 1 {
					t.Errorf("%+v was handed out before", c.Delivery)
				}
			}
			for i := range got.Deliveries {
				running[index(&got.Deliveries[i])].Add(-1)
			}
			if err := s.Settle(t.Context(), settlements(got.Deliveries), delivered); err != nil {
				t.Error(err)
			}
			done.Add(int64(len(got.Deliveries)))
		}
	})
}

// Behind the rules of package webhook stand those of the schema.
func TestTheDatabaseRefusesDeliveriesThatContradictThemselves(t *testing.T) {
	d := newSharedDatabase(t)
	s := d.db.Webhooks(nil)
	endpointsOf(t, s, "a", 1)
	publish(t, s, "a", "m")
	if err := s.Settle(t.Context(), settlements(takeDue(t, s, 1).Deliveries), delivered); err != nil {
		t.Fatal(err)
	}
	for name, statement := range map[string]string{
		"an endpoint in no state":          `UPDATE keytoll.endpoints SET state = 0`,
		"an endpoint of nobody":            `UPDATE keytoll.endpoints SET account = ''`,
		"an endpoint without settings":     `UPDATE keytoll.endpoints SET settings = NULL`,
		"an endpoint of other settings":    `UPDATE keytoll.endpoints SET settings = '[]'`,
		"an endpoint of other events":      `UPDATE keytoll.endpoints SET events = '{}'`,
		"an endpoint with less than none":  `UPDATE keytoll.endpoints SET room = -1`,
		"an endpoint twice":                `INSERT INTO keytoll.endpoints SELECT * FROM keytoll.endpoints`,
		"a message of nobody":              `UPDATE keytoll.messages SET account = ''`,
		"a message to less than none":      `UPDATE keytoll.messages SET deliveries = -1`,
		"a message to one, and two":        `UPDATE keytoll.messages SET endpoint = 'a-00000', deliveries = 2`,
		"a message twice":                  `INSERT INTO keytoll.messages SELECT * FROM keytoll.messages`,
		"a delivery in no state":           `UPDATE keytoll.deliveries SET state = 6`,
		"a delivery that waits for ever":   `UPDATE keytoll.deliveries SET state = 1, due = NULL`,
		"a delivery sent by nobody":        `UPDATE keytoll.deliveries SET state = 2, lease = 1`,
		"a delivery sent for ever":         `UPDATE keytoll.deliveries SET state = 2, token = 't', lease = NULL`,
		"a delivery that waits otherwise":  `UPDATE keytoll.deliveries SET at = 1`,
		"a delivery twice":                 `INSERT INTO keytoll.deliveries (message, endpoint, state, due, tries, attempt, token, failure, manual, created_at) SELECT message, endpoint, 1, 1, 0, 0, '', 0, false, 1 FROM keytoll.deliveries`,
		"a delivery tried less than never": `UPDATE keytoll.deliveries SET tries = -1`,
		"an attempt without a number":      `UPDATE keytoll.attempts SET number = 0`,
		"an attempt twice":                 `INSERT INTO keytoll.attempts SELECT * FROM keytoll.attempts`,
	} {
		_, err := d.pool.Exec(t.Context(), pgstore.InSchema(d.db, statement))
		if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code[:2] != "23" && e.Code != "428C9" {
			t.Errorf("%s: %v, want it refused by a constraint", name, err)
		}
	}
	for _, spoilt := range []string{`settings = '{"url": 1}'`, `events = '[1]'`, `health = '{"trips": "x"}'`} {
		run(t, d.pool, pgstore.InSchema(d.db, `UPDATE keytoll.endpoints SET settings = '{}', events = NULL, health = NULL`))
		run(t, d.pool, pgstore.InSchema(d.db, `UPDATE keytoll.endpoints SET `+spoilt))
		_, err := s.Endpoints(t.Context(), webhook.EndpointQuery{Limit: 1})
		change := s.Change(t.Context(), "a-00000", func(time.Time, *webhook.Endpoint) error { t.Errorf("%s: fn was called", spoilt); return nil })
		if kerrors.CodeOf(err) != kerrors.Corrupt || kerrors.CodeOf(change) != kerrors.Corrupt {
			t.Errorf("%s: %v and %v, want Corrupt", spoilt, err, change)
		}
		if strings.Contains(fmt.Sprint(err), "https://") {
			t.Errorf("%s: the error tells the settings: %v", spoilt, err)
		}
	}
}

// A machine that is gone without a word would keep the locks of a claim until the
// network notices. What only asks keeps the time that the server is set to.
func TestAClientThatIsSilentKeepsNoEndpoint(t *testing.T) {
	d := newDatabase(t)
	db := d.open(t)
	ctx := t.Context()
	for statement, want := range map[string]string{
		`SELECT FROM keytoll.webhooks_waiting(NULL, '', '', true, 1)`:                         "15s",
		`SELECT FROM keytoll.webhooks_cases(NULL, '{}', '{}', '{}')`:                          "15s",
		`SELECT FROM keytoll.webhooks_takers('a', '')`:                                        "0",
		`SELECT FROM keytoll.webhooks_deliveries('a', '', NULL, 1, 1)`:                        "0",
		`SELECT FROM keytoll.webhooks_messages('{}')`:                                         "0",
		`SELECT FROM keytoll.webhooks_publish(NULL, 'm', 'a', 't', '', 'c', '', '{}', false)`: "0",
	} {
		tx, err := d.pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		if _, err = tx.Exec(ctx, pgstore.InSchema(db, statement)); err == nil {
			err = tx.QueryRow(ctx, `SHOW idle_in_transaction_session_timeout`).Scan(&got)
		}
		if err != nil || got != want {
			t.Errorf("after %s a silent client has %q, %v; want %q", statement, got, err, want)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
