package middleware_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/idempotency"
	"github.com/keytoll/keytoll/scopes"
)

// What is sent again under one Idempotency-Key is done once and charged once, and
// its sender is given the first answer, with the limits as they are now.
func TestIdemTheFirstAnswerIsGivenAgain(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		t.Run(protocol, func(t *testing.T) {
			d := newDesk(t, blueprint{})
			op := once()
			op.Limits = []middleware.Limit{perMinute("minute", 10)}
			issued := d.key("image:generate")
			s, client := serve(t, protocol, d.numbered(op))
			ask := func(key string) reply {
				return send(t, client, "POST", s.URL+"/v1/images?b=2&a=1", "a cat", bearer(issued), idemKey(key))
			}
			first := ask("one")
			other := ask("two")
			again := ask(`"one"`) // the same key as a String of structured fields
			if first.status != 201 || first.body != "run 1 of a cat" || first.replayed() || other.body != "run 2 of a cat" {
				t.Fatalf("first %+v, other %+v", first, other)
			}
			if again.status != first.status || again.body != first.body || again.header.Get("X-Run") != "1" || !again.replayed() {
				t.Errorf("again %+v, want %+v", again, first)
			}
			if again.header.Get("Cache-Control") != "private" || again.header.Get("Content-Type") != first.header.Get("Content-Type") {
				t.Errorf("again %v", again.header)
			}
			if id := again.header.Get("X-Request-Id"); id == "" || id == first.header.Get("X-Request-Id") {
				t.Errorf("request id %q", id)
			}
			if first.header.Get("RateLimit") != `"minute";r=9;t=60` || again.header.Get("RateLimit") != other.header.Get("RateLimit") || again.header.Get("RateLimit-Policy") != `"minute";q=10;w=60` {
				t.Errorf("RateLimit %q, then %q and for the replay %q", first.header.Get("RateLimit"), other.header.Get("RateLimit"), again.header.Get("RateLimit"))
			}
			d.ran(2)
			d.spent(10, 0)
			if got := d.journal.last(); got.Verdict != middleware.VerdictReplayed || got.Held != 0 || got.KeyID != issued.Key.ID || got.Original == "" || got.Err != nil {
				t.Errorf("decision %+v", got)
			}
			if all := d.journal.settlements(); len(all) != 2 || all[0].Kept != middleware.KeptAnswer || all[0].Hold != d.journal.last().Original {
				t.Errorf("settlements %+v", all)
			}
		})
	}
}

func TestIdemTheKeyIsOneValue(t *testing.T) {
	d := newDesk(t, blueprint{})
	handler, issued := d.numbered(once()), d.key("image:generate")
	long := strings.Repeat("k", 255)
	for name, lines := range map[string][]string{
		"empty": {""}, "two lines": {"a", "b"}, "the same twice": {"a", "a"}, "folded": {"a b"}, "joined": {"a, b"}, "joined tightly": {"a,b"},
		"too long": {long + "k"}, "an open string": {`"a`}, "a string and more": {`"a"b`}, "an empty string": {`""`}, "a bad escape": {`"a\b"`}, "a cut escape": {`"a\`},
		"two strings": {`"a", "b"`}, "a parameter": {`"a";v=1`}, "a control character": {"a\x01"}, "a byte above ASCII": {"caf\xc3\xa9"}, "a tab": {"a\tb"}, "a quote inside": {`a"b`},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, d.call(handler, bearer(issued), idemKey(lines...)), 400, "idempotency_key_malformed")
		})
	}
	d.ran(0)
	for i, pair := range [][2]string{{"abc", `"abc"`}, {` abc1 `, "abc1"}, {`"a\"b"`, `"a\"b"`}, {`"a\\b"`, `"a\\b"`}, {long, `"` + long + `"`}, {"AbC=/+:", `"AbC=/+:"`}} {
		for _, key := range pair {
			if w := d.call(handler, bearer(issued), idemKey(key)); w.Code != 201 || w.Body.String() != fmt.Sprintf("run %d of ", i+1) {
				t.Errorf("key %s: status %d, %s", key, w.Code, w.Body)
			}
		}
	}
	for _, differs := range []string{"ABC", "abc2", `"a\\\"b"`} {
		if w := seen(d.call(handler, bearer(issued), idemKey(differs))); w.status != 201 || w.replayed() {
			t.Errorf("key %s: %+v", differs, w)
		}
	}
	d.spent(9*5, 0)
}

func TestIdemRequiredMeansRequired(t *testing.T) {
	d := newDesk(t, blueprint{})
	op := once()
	op.Idempotency = middleware.IdempotencyRequired
	handler, issued := d.numbered(op), d.key("image:generate")
	refused(t, d.call(handler, bearer(issued)), 400, "idempotency_key_required")
	d.ran(0)
	if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 201 {
		t.Errorf("status %d", w.Code)
	}
	optional := once()
	optional.Name = "optional"
	for range 2 {
		if w := seen(d.call(d.numbered(optional), bearer(issued))); w.status != 201 || w.replayed() {
			t.Errorf("without a key: %+v", w)
		}
	}
	off := priced()
	off.Name = "off"
	for range 2 {
		handler := d.handler(off, func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Idempotency-Key") != "k" {
				t.Error("the field is the handler's where the gate does not heed it")
			}
		})
		if w := seen(d.call(handler, bearer(issued), idemKey("k"))); w.replayed() {
			t.Errorf("off: %+v", w)
		}
	}
	d.ran(5)
	d.spent(25, 0)
}

func TestIdemAnotherRequestUnderTheSameKeyIsRefused(t *testing.T) {
	d := newDesk(t, blueprint{})
	handler, issued := d.numbered(once()), d.key("image:generate")
	ask := func(edit ...func(*http.Request)) *httptest.ResponseRecorder {
		return d.call(handler, slices.Concat([]func(*http.Request){
			bearer(issued), idemKey("k"), at("/v1/images?a=1&b=2&b=3"), posting("a cat"), raw("Content-Type", "text/plain"),
		}, edit)...)
	}
	if w := ask(); w.Code != 201 {
		t.Fatal(w.Code, w.Body)
	}
	for name, edit := range map[string]func(*http.Request){
		"other body":         posting("a dog"),
		"longer body":        posting("a cat."),
		"no body":            posting(""),
		"other parameter":    at("/v1/images?a=1&b=2&b=4"),
		"other order of one": at("/v1/images?a=1&b=3&b=2"),
		"no query":           at("/v1/images"),
		"other type":         raw("Content-Type", "application/json"),
		"no type":            raw("Content-Type"),
		"other encoding":     raw("Content-Encoding", "gzip"),
		"other range":        raw("Range", "bytes=0-1"),
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, ask(edit), 422, "idempotency_key_reused")
			if v := d.journal.last().Verdict; v != middleware.VerdictIdempotencyMismatch {
				t.Errorf("verdict %v", v)
			}
		})
	}
	for name, edit := range map[string]func(*http.Request){
		"parameters in another order": at("/v1/images?b=2&b=3&a=1"),
		"another way to escape":       at("/v1/images?%61=1&b=2&b=3"),
		"other fields":                raw("User-Agent", "retry/2"),
	} {
		t.Run(name, func(t *testing.T) {
			if w := seen(ask(edit)); w.status != 201 || !w.replayed() {
				t.Errorf("%+v", w)
			}
		})
	}
	for name, edit := range map[string]func(*http.Request){
		"another path":   at("/v1/images/2?a=1&b=2&b=3"),
		"another method": func(r *http.Request) { r.Method = "PUT" },
		"another key":    bearer(d.key("image:generate")),
	} {
		t.Run(name, func(t *testing.T) {
			if w := seen(ask(edit)); w.status != 201 || w.replayed() {
				t.Errorf("%+v: the Idempotency-Key is another there", w)
			}
		})
	}
	d.ran(4)
	d.spent(20, 0)
}

// A rotated key goes on where its predecessor stood.
func TestIdemARetryMayComeUnderARotatedKey(t *testing.T) {
	d := newDesk(t, blueprint{})
	handler, issued := d.numbered(once()), d.key("image:generate")
	d.call(handler, bearer(issued), idemKey("k"))
	next, err := d.keys.Rotate(t.Context(), issued.Key.ID, time.Hour)
	must(t, err)
	if w := seen(d.call(handler, bearerOf(next.Secret), idemKey("k"))); !w.replayed() {
		t.Errorf("%+v", w)
	}
	d.ran(1)
}

// Whoever may not call any more is not given old answers either.
func TestIdemAReplayIsCheckedLikeACall(t *testing.T) {
	d := newDesk(t, blueprint{})
	forbidden := false
	op := once()
	op.Allow = func(context.Context, apikey.Key) error {
		if forbidden {
			return &errors.Error{Code: errors.Forbidden, Msg: "not in the plan"}
		}
		return nil
	}
	handler := d.numbered(op)
	prepare := func(edit func(apikey.Issued)) *httptest.ResponseRecorder {
		t.Helper()
		issued := d.key("image:generate")
		if w := d.call(handler, bearer(issued), idemKey("k")); w.Code != 201 {
			t.Fatal(w.Code, w.Body)
		}
		if w := seen(d.call(handler, bearer(issued), idemKey("k"))); !w.replayed() {
			t.Fatalf("%+v", w)
		}
		edit(issued)
		return d.call(handler, bearer(issued), idemKey("k"))
	}
	refused(t, prepare(func(issued apikey.Issued) {
		_, err := d.keys.Revoke(t.Context(), issued.Key.ID, "test")
		must(t, err)
	}), 401, "revoked_key")
	refused(t, prepare(func(issued apikey.Issued) {
		_, err := d.keys.Disable(t.Context(), issued.Key.ID)
		must(t, err)
	}), 401, "disabled_key")
	refused(t, prepare(func(issued apikey.Issued) {
		_, err := d.keys.Update(t.Context(), issued.Key.ID, apikey.Changes{Scopes: new(scopes.Set{})})
		must(t, err)
	}), 403, "insufficient_scope")
	refused(t, prepare(func(apikey.Issued) { forbidden = true }), 403, "not_in_plan")
}

// What the gate itself refuses is not kept: the same key is tried again.
func TestIdemRefusalsAreNotKept(t *testing.T) {
	d := newDesk(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 100 }})
	op := once()
	op.Limits = []middleware.Limit{perMinute("minute", 2)}
	handler, issued := d.numbered(op), d.key("image:generate")
	for _, key := range []string{"1", "2"} {
		d.call(handler, bearer(issued), idemKey(key))
	}
	refused(t, d.call(handler, bearer(issued), idemKey("k")), 429, "rate_limited")
	d.spent(10, 0)
	if d.memory.Len() != 2 {
		t.Errorf("%d keys are kept, want 2", d.memory.Len())
	}
	d.clock.add(time.Minute)
	if w := seen(d.call(handler, bearer(issued), idemKey("k"))); w.status != 201 || w.replayed() {
		t.Errorf("%+v", w)
	}

	dear := once()
	dear.Name, dear.Price = "dear", middleware.Fixed(2000*credits.Credit)
	refused(t, d.call(d.numbered(dear), bearer(issued), idemKey("d")), 402, "insufficient_credits")
	_, err := d.ledger.Grant(t.Context(), credits.Grant{Account: account, ID: "more", Amount: 2000 * credits.Credit})
	must(t, err)
	if w := seen(d.call(d.numbered(dear), bearer(issued), idemKey("d"))); w.status != 201 || w.replayed() {
		t.Errorf("%+v", w)
	}
	refused(t, d.call(handler, bearer(issued), idemKey("large"), posting(strings.Repeat("x", 101))), 413, "body_too_large")
	refused(t, d.call(handler, bearer(issued), idemKey("large"), posting(strings.Repeat("x", 101)), func(r *http.Request) { r.ContentLength = -1 }), 413, "body_too_large")
	if w := seen(d.call(handler, bearer(issued), idemKey("large"), posting("small"))); w.status != 201 || w.replayed() {
		t.Errorf("%+v", w)
	}
}

// The body is there again for whoever reads it afterwards.
func TestIdemTheBodyIsReadByAll(t *testing.T) {
	d := newDesk(t, blueprint{options: func(o *middleware.Options) { o.MaxBody = 1000 }})
	op := once()
	op.Unit = "images"
	read := func(r *http.Request) int64 {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		return int64(len(body))
	}
	op.Units = func(r *http.Request) (int64, error) { return read(r), nil }
	op.Price = middleware.Quoted(func(r *http.Request) (credits.Amount, error) { return credits.Amount(read(r)) * credits.Credit, nil })
	handler, issued := d.numbered(op), d.key("image:generate")
	for range 2 {
		if w := d.call(handler, bearer(issued), idemKey("k"), posting("a cat")); w.Code != 201 || w.Body.String() != "run 1 of a cat" {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
	d.ran(1)
	d.spent(5, 0)

	small := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) { o.MaxRequest = 4 })
	handler, issued = small.numbered(once()), small.key("image:generate")
	p := refused(t, small.call(handler, bearer(issued), idemKey("k"), posting("a cat")), 413, "body_too_large")
	if !strings.Contains(p.Detail, "Idempotency-Key") {
		t.Errorf("detail %q", p.Detail)
	}
	if w := small.call(handler, bearer(issued), posting("a cat")); w.Code != 201 {
		t.Errorf("without a key: status %d", w.Code)
	}
	if w := small.call(handler, bearer(issued), idemKey("k"), posting("cats")); w.Code != 201 || w.Body.String() != "run 2 of cats" {
		t.Errorf("status %d: %s", w.Code, w.Body)
	}
}

// Only fields that mean the same to the next reader are given again.
func TestIdemOnlySafeFieldsAreGivenAgain(t *testing.T) {
	d := newDesk(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.Header("X-Gate")}
	}})
	unsafe := map[string]string{
		"Set-Cookie": "session=1", "Set-Cookie2": "a=b", "Connection": "X-Hop, close", "X-Hop": "1", "Keep-Alive": "timeout=5", "Proxy-Authenticate": "Basic", "Te": "trailers",
		"Upgrade": "h3", "Date": "Mon, 02 Jan 2006 15:04:05 GMT", "Authorization": "Bearer x", "WWW-Authenticate": "Basic", "Authentication-Info": "x", "X-Api-Key": "x",
		"X-Subject-Token": "x", "X-Client-Secret": "x", "X-Gate": "x", "RateLimit": "lies", "X-Request-Id": "theirs", "Idempotent-Replayed": "false",
	}
	safe := map[string][]string{
		"Location": {"/v1/images/7"}, "Content-Type": {"image/png"}, "Vary": {"Accept", "Origin"}, "Etag": {`"x"`}, "X-Tokens-Used": {"12"}, "Cache-Control": {"private, max-age=5"},
	}
	handler := d.handler(once(), func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range unsafe {
			w.Header().Set(name, value)
		}
		maps.Copy(w.Header(), safe)
		w.WriteHeader(201)
		w.Header().Set("X-Late", "never sent")
		_, _ = io.WriteString(w, "png")
	})
	outside := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		handler.ServeHTTP(w, r)
	})
	issued := d.key("image:generate")
	d.call(outside, bearer(issued), idemKey("k"), raw("Origin", "https://one"))
	got := seen(d.call(outside, bearer(issued), idemKey("k"), raw("Origin", "https://two")))
	if got.status != 201 || got.body != "png" || !got.replayed() {
		t.Fatalf("%+v", got)
	}
	for name, value := range unsafe {
		if name != "Idempotent-Replayed" && got.header.Get(name) == value {
			t.Errorf("%s is given again", name)
		}
	}
	for name, values := range safe {
		if !slices.Equal(got.header[name], values) {
			t.Errorf("%s: %q, want %q", name, got.header[name], values)
		}
	}
	if got.header.Get("Access-Control-Allow-Origin") != "https://two" {
		t.Errorf("a field that was set outside is that of the first request: %v", got.header)
	}
	if got.header.Get("X-Late") != "" {
		t.Error("a field that was set after the head is given again")
	}
}

func TestIdemWorksForEveryMethod(t *testing.T) {
	for _, protocol := range []string{"h1", "h2"} {
		d := newDesk(t, blueprint{})
		op := once()
		op.Price = middleware.Free()
		s, client := serve(t, protocol, d.handler(op, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5")
			_, _ = io.WriteString(w, "hello")
		}))
		issued := d.key("image:generate")
		for i, method := range []string{"GET", "HEAD", "DELETE", "OPTIONS", "PATCH"} {
			first := send(t, client, method, s.URL, "", bearer(issued), idemKey("k"))
			again := send(t, client, method, s.URL, "", bearer(issued), idemKey("k"))
			if first.replayed() || !again.replayed() || again.body != first.body || again.header.Get("Content-Length") != "5" || again.status != 200 {
				t.Errorf("%s %s: %+v, then %+v", protocol, method, first, again)
			}
			d.ran(int64(i + 1))
		}
	}
}

// An answer is given again for its time, and then the key may mean something else.
func TestIdemAnAnswerIsKeptForItsTime(t *testing.T) {
	d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) { o.Keep = time.Hour })
	handler, issued := d.numbered(once()), d.key("image:generate")
	d.call(handler, bearer(issued), idemKey("k"))
	d.clock.add(time.Hour - time.Millisecond)
	if w := seen(d.call(handler, bearer(issued), idemKey("k"))); !w.replayed() {
		t.Errorf("%+v", w)
	}
	d.clock.add(time.Millisecond)
	if w := seen(d.call(handler, bearer(issued), idemKey("k"), posting("other"))); w.status != 201 || w.replayed() {
		t.Errorf("%+v", w)
	}
	d.spent(10, 0)
}

// Replays use nothing of the limits up, so they have one of their own.
func TestIdemReplaysCannotBeHammered(t *testing.T) {
	d := newDesk(t, blueprint{}, func(o *middleware.IdempotencyOptions) {
		o.Replays.Count, o.Replays.Period = 3, time.Minute
	})
	handler, issued, other := d.numbered(once()), d.key("image:generate"), d.key("image:generate")
	d.call(handler, bearer(issued), idemKey("k"))
	for range 3 {
		if w := seen(d.call(handler, bearer(issued), idemKey("k"))); !w.replayed() {
			t.Errorf("%+v", w)
		}
	}
	w := d.call(handler, bearer(issued), idemKey("k"))
	if w.Header().Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", w.Header())
	}
	p := refused(t, w, 429, "rate_limited")
	if !slices.Equal(p.Violated, []string{"replays"}) {
		t.Errorf("violated %q", p.Violated)
	}
	if w := d.call(handler, bearer(other), idemKey("k")); w.Code != 201 {
		t.Errorf("another key: status %d", w.Code)
	}
	if w := d.call(handler, bearer(issued)); w.Code != 201 {
		t.Errorf("without Idempotency-Key: status %d", w.Code)
	}
	d.clock.add(time.Minute)
	if w := seen(d.call(handler, bearer(issued), idemKey("k"))); !w.replayed() {
		t.Errorf("%+v", w)
	}
}

func TestIdemWrongOptionsAreNamed(t *testing.T) {
	format, err := apikey.NewFormat("kt", nil)
	must(t, err)
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	must(t, err)
	_, err = middleware.NewGate(keys, &middleware.Options{Idempotency: &middleware.IdempotencyOptions{
		Keep: -1, Lease: idempotency.MaxTime + 1, MaxRequest: -1, MaxAnswer: 4 << 20, Timeout: -1,
	}})
	for _, part := range []string{"Store is nil", "Keep", "Lease", "MaxRequest", "MaxAnswer", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	gate, err := middleware.NewGate(keys, nil)
	must(t, err)
	op := open()
	op.Idempotency = middleware.IdempotencyOptional
	if err := gate.Check(op); err == nil || !strings.Contains(err.Error(), "Options.Idempotency") {
		t.Errorf("without a store: %v", err)
	}
	op.Idempotency = 9
	if err := gate.Check(op); err == nil || !strings.Contains(err.Error(), "IdempotencyOff") {
		t.Errorf("an unknown one: %v", err)
	}
	d := newDesk(t, blueprint{})
	op.Idempotency = middleware.IdempotencyOptional
	route, err := d.gate.Route(op)
	must(t, err)
	if err := route.CheckMessages(); err == nil || !strings.Contains(err.Error(), "Idempotency") {
		t.Errorf("of messages: %v", err)
	}
	op.Idempotency = middleware.IdempotencyRequired
	if err := d.gate.Check(op); err == nil {
		t.Error("one name stands for two operations that differ in Idempotency")
	}
}
