package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// countedUnder writes down under which names limits are counted.
type countedUnder struct {
	ratelimit.Store

	names *strings.Builder
}

func (s countedUnder) Apply(ctx context.Context, req *ratelimit.Request) error {
	for _, op := range req.Ops {
		fmt.Fprintf(s.names, "counted under %s\n", op.Key)
	}
	return s.Store.Apply(ctx, req)
}

// No output of the gate holds a credential: not an answer, a log line, an event,
// an error or a denial, printed in whatever way, nor what stores are given to keep.
func TestNoSecretInAnyOutput(t *testing.T) {
	var logs bytes.Buffer
	var all strings.Builder
	slogged := middleware.NewSlogObserver(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	h := build(t, blueprint{
		limits: func(s ratelimit.Store) ratelimit.Store { return countedUnder{s, &all} },
		options: func(o *middleware.Options) {
			o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.Header("X-API-Key")}
			o.IPLimits = []ratelimit.Limit{perMinute("address", 100).Limit}
		},
	})
	h.grant(10)
	good, narrow := h.key("image:generate"), h.key("")
	guess := foreign(t).Reveal()
	wrong := wrongSecret(t, good.Secret.Reveal())
	op := priced()
	op.Limits = []middleware.Limit{perMinute("minute", 3)}
	route, err := h.gate.Route(op)
	must(t, err)
	handler := h.gate.Handler(op)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		fmt.Fprintf(&all, "%v %+v %v %v\n", p.Key(), p.Key(), r.Header, r.Context())
	}))
	credentials := []string{good.Secret.Reveal(), narrow.Secret.Reveal(), guess, wrong, "kt_garbage_that_is_somebodys_password"}
	for _, credential := range credentials {
		for _, name := range []string{"Authorization", "X-Api-Key"} {
			value := credential
			if name == "Authorization" {
				value = "Bearer " + credential
			}
			for range 3 {
				w := h.call(handler, raw(name, value))
				must(t, w.Header().Write(&all))
				all.Write(w.Body.Bytes())
			}
		}
		if _, err := h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: credential}); err != nil {
			text, _ := json.Marshal(err)
			fmt.Fprintf(&all, "%v %+v %#v %s\n", err, err, err, text)
		}
	}
	for _, d := range h.journal.decisions {
		fmt.Fprintf(&all, "%+v\n", d)
		slogged.Decided(t.Context(), d)
	}
	for _, s := range h.journal.settled {
		fmt.Fprintf(&all, "%+v\n", s)
		slogged.Settled(t.Context(), s)
	}
	all.Write(logs.Bytes())
	page, err := h.ledger.Entries(t.Context(), credits.Query{Account: account})
	must(t, err)
	for _, e := range page.Entries {
		fmt.Fprintf(&all, "%+v\n", e)
	}
	if text := all.String(); !strings.Contains(text, "counted under "+good.Key.Meter) || !strings.Contains(text, "Operation:image") {
		t.Error("the names of limits, or the entries of the ledger, are not among what is searched")
	}
	if n := strings.Count(all.String(), "\n"); n < 50 {
		t.Fatalf("only %d lines to search", n)
	}
	for i, credential := range credentials {
		for _, part := range []string{credential, credential[:20], credential[len(credential)-20:]} {
			if strings.Contains(all.String(), part) {
				t.Errorf("credential %d (%.6q...) is in the output", i, part)
			}
		}
	}
}

func TestSlogObserver(t *testing.T) {
	var logs bytes.Buffer
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Observer = middleware.NewSlogObserver(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	}})
	h.grant(10)
	issued := h.key("image:generate")
	handler := h.gate.Handler(priced())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		p, _ := middleware.PassFrom(r.Context())
		_ = p.Charge(7_000_000)
	}))
	w := h.call(handler, bearer(issued))
	var got [2]map[string]any
	decoder := json.NewDecoder(&logs)
	for i := range got {
		must(t, decoder.Decode(&got[i]))
		delete(got[i], "time")
	}
	id := w.Header().Get("X-Request-Id")
	for i, want := range []map[string]any{
		{"level": "DEBUG", "msg": "gate decision", "request_id": id, "operation": "image", "verdict": "allowed", "key_id": issued.Key.ID, "owner": account, "ip": "192.0.2.1", "held": "5"},
		{"level": "WARN", "msg": "gate settlement", "request_id": id, "operation": "image", "key_id": issued.Key.ID, "ending": "success", "status": 200.0,
			"account": account, "hold": id, "action": "capture", "held": "5", "charged": "5", "asked": "7"},
	} {
		if fmt.Sprint(got[i]) != fmt.Sprint(want) {
			t.Errorf("line %d:\n%v\nwant\n%v", i+1, got[i], want)
		}
	}
	info := middleware.NewSlogObserver(slog.New(slog.NewTextHandler(&logs, nil)))
	logs.Reset()
	info.Decided(t.Context(), middleware.Decision{Verdict: middleware.VerdictMissing})
	info.Settled(t.Context(), middleware.Settled{})
	if logs.Len() > 0 {
		t.Errorf("plain events above debug level: %s", logs.String())
	}
}

// Ids are base62 of fixed width, so none is another's beginning.
func TestBase62(t *testing.T) {
	for word, want := range map[uint64]string{0: "00000000000", 61: "0000000000z", 62: "00000000010", math.MaxUint64: "LygHa16AHYF"} {
		if got := string(middleware.AppendWord(nil, word)); got != want {
			t.Errorf("%d is %s, want %s", word, got, want)
		}
	}
}

func TestRequestIDs(t *testing.T) {
	made := 0
	for _, tt := range []struct {
		name    string
		options func(*middleware.Options)
		sent    []string
		want    string // "" = made by the gate
	}{
		{"made", nil, nil, ""},
		{"not taken from outside", nil, []string{"abc"}, ""},
		{"taken where that is said", func(o *middleware.Options) { o.TrustRequestID = true }, []string{"abc-1.2_3:4"}, "abc-1.2_3:4"},
		{"two are none", func(o *middleware.Options) { o.TrustRequestID = true }, []string{"a", "b"}, ""},
		{"an empty one", func(o *middleware.Options) { o.TrustRequestID = true }, []string{""}, ""},
		{"one that would break a log line", func(o *middleware.Options) { o.TrustRequestID = true }, []string{"a\nb"}, ""},
		{"one that is too long", func(o *middleware.Options) { o.TrustRequestID = true }, []string{strings.Repeat("a", 129)}, ""},
		{"the program's own", func(o *middleware.Options) { o.NewRequestID = func() string { made++; return "mine" } }, nil, "mine"},
		{"a bad one of the program's own", func(o *middleware.Options) { o.NewRequestID = func() string { return "\"<" } }, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, blueprint{options: tt.options})
			h.grant(100)
			issued := h.key("image:generate")
			handler := h.gate.Handler(priced())(says(200))
			seen := make(map[string]bool)
			for range 3 {
				r := httptest.NewRequest("GET", "/", nil)
				bearer(issued)(r)
				if tt.sent != nil {
					r.Header["X-Request-Id"] = tt.sent
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				got := w.Header().Get("X-Request-Id")
				switch {
				case tt.want != "" && got != tt.want:
					t.Errorf("id %q, want %q", got, tt.want)
				case tt.want == "" && (!strings.HasPrefix(got, "req_") || len(got) != 26 || seen[got]):
					t.Errorf("id %q, want a new one of the gate's own", got)
				}
				seen[got] = true
			}
			h.spent(15, 0) // holds do not go by ids from outside: every call is charged
		})
	}
}
