package middleware_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/ratelimit"
)

// everyField tells all that can be told.
func everyField() []middleware.Field {
	return []middleware.Field{
		{Name: "X-Request", Value: middleware.FieldRequestID},
		{Name: "X-API-Key-ID", Value: middleware.FieldKeyID},
		{Name: "X-API-Key-Name", Value: middleware.FieldKeyName},
		{Name: "X-API-Key-Scopes", Value: middleware.FieldKeyScopes},
		{Name: "Policy", Value: middleware.FieldPolicy},
		{Name: "State", Value: middleware.FieldLimits},
		{Name: "Quota", Value: middleware.FieldQuota},
		{Name: "Remaining", Value: middleware.FieldRemaining},
		{Name: "Reset", Value: middleware.FieldReset},
		{Name: "Reset-Unix", Value: middleware.FieldResetUnix},
		{Name: "Reset-Milli", Value: middleware.FieldResetUnixMilli},
		{Name: "Limit-Name", Value: middleware.FieldLimitName},
	}
}

// Every field on every kind of answer: the key's after proof alone, the limits' on
// success and where they refused.
func TestFieldsOfEveryAnswer(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.Profile.Fields = everyField() }})
	h.grant(10)
	h.clock.add(300 * time.Microsecond) // so that instants have to be rounded
	op := priced()
	op.Limits = []middleware.Limit{
		{Limit: ratelimit.Limit{Name: "burst", Count: 3, Period: 4500 * time.Millisecond}}, perMinute("minute", 2),
	}
	handler := h.gate.Handler(op)(says(200))
	good := h.issue(apikey.Spec{Owner: account, Name: "Größe 1%"}, "image:read image:generate")
	narrow := h.issue(apikey.Spec{Owner: account, Name: "narrow"}, "")
	poor := h.issue(apikey.Spec{Owner: "poor", Name: "poor"}, "image:generate")
	revoked := h.issue(apikey.Spec{Owner: account, Name: "revoked"}, "image:generate")
	_, err := h.keys.Revoke(t.Context(), revoked.Key.ID, "")
	must(t, err)
	const noon = 1772366400 // 2026-03-01 12:00:00 UTC
	key := func(k apikey.Issued, name, scopes string) map[string]string {
		m := map[string]string{"X-Api-Key-Id": k.Key.ID, "X-Api-Key-Name": name}
		if scopes != "" {
			m["X-Api-Key-Scopes"] = scopes
		}
		return m
	}
	limits := func(m map[string]string, more ...string) map[string]string {
		for _, field := range more {
			name, value, _ := strings.Cut(field, "=")
			m[name] = value
		}
		m["Policy"] = `"burst";q=3, "minute";q=2;w=60`
		return m
	}
	for _, tt := range []struct {
		name   string
		edit   func(*http.Request)
		status int
		want   map[string]string
	}{
		{"missing", func(*http.Request) {}, 401, nil},
		{"malformed", raw("Authorization", "Bearer x"), 401, nil},
		{"unknown", raw("Authorization", "Bearer "+foreign(t).Reveal()), 401, nil},
		{"a wrong secret of a key that is there", raw("Authorization", "Bearer "+wrongSecret(t, good.Secret.Reveal())), 401, nil},
		{"revoked", bearer(revoked), 401, nil},
		{"scope", bearer(narrow), 403, key(narrow, "narrow", "")},
		{"credits", bearer(poor), 402, key(poor, "poor", "image:generate")},
		{"success", bearer(good), 200, limits(key(good, "Gr%C3%B6%C3%9Fe 1%25", "image:generate,image:read"), `State="burst";r=2;t=2, "minute";r=1;t=60`,
			"Quota=2", "Remaining=1", "Reset=60", fmt.Sprint("Reset-Unix=", noon+60), fmt.Sprint("Reset-Milli=", (noon+60)*1000), "Limit-Name=minute")},
		{"the last one", bearer(good), 200, limits(key(good, "Gr%C3%B6%C3%9Fe 1%25", "image:generate,image:read"), `State="burst";r=1;t=3, "minute";r=0;t=60`,
			"Quota=2", "Remaining=0", "Reset=60", fmt.Sprint("Reset-Unix=", noon+60), fmt.Sprint("Reset-Milli=", (noon+60)*1000), "Limit-Name=minute")},
		{"limited", bearer(good), 429, limits(key(good, "Gr%C3%B6%C3%9Fe 1%25", "image:generate,image:read"), `State="burst";r=1;t=3, "minute";r=0;t=60`,
			"Quota=2", "Remaining=0", "Reset=60", fmt.Sprint("Reset-Unix=", noon+60), fmt.Sprint("Reset-Milli=", (noon+60)*1000), "Limit-Name=minute")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := h.call(handler, tt.edit)
			if w.Code != tt.status {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			if !strings.HasPrefix(w.Header().Get("X-Request"), "req_") {
				t.Errorf("request id %q", w.Header().Get("X-Request"))
			}
			for _, f := range everyField()[1:] {
				name := http.CanonicalHeaderKey(f.Name)
				if got := w.Header()[name]; tt.want[name] == "" && len(got) != 0 || tt.want[name] != "" && !slices.Equal(got, []string{tt.want[name]}) {
					t.Errorf("%s: %q, want %q", name, got, tt.want[name])
				}
			}
		})
	}
}

// Of several limits the fields that speak of one tell of what matters most.
func TestTheLimitThatFieldsSpeakOf(t *testing.T) {
	window := func(name string, n int64, period time.Duration) middleware.Limit {
		return middleware.Limit{Limit: ratelimit.Limit{Name: name, Algorithm: ratelimit.FixedWindow, Count: n, Period: period}}
	}
	running := middleware.Limit{Limit: ratelimit.Limit{Name: "running", Algorithm: ratelimit.Concurrency, Count: 1, Period: time.Hour}}
	everybody := window("everybody", 1, time.Minute)
	everybody.Subject = middleware.PerOperation
	for _, tt := range []struct {
		name   string
		limits []middleware.Limit
		calls  int
		want   string
	}{
		{"the least left", []middleware.Limit{window("a", 9, time.Minute), window("b", 5, time.Second), window("c", 7, time.Hour)}, 1, "b 5 4"},
		{"of those the longest", []middleware.Limit{window("a", 5, time.Minute), window("b", 5, time.Hour), window("c", 5, time.Second)}, 1, "b 5 4"},
		{"one that refused", []middleware.Limit{window("a", 1, time.Minute), window("b", 1, time.Second), window("c", 9, time.Hour)}, 2, "a 1 0"},
		{"a window before what runs at once", []middleware.Limit{running, window("a", 9, time.Minute)}, 1, "a 9 8"},
		{"what runs at once where there is nothing else", []middleware.Limit{running}, 1, "running 1 0"},
		{"never everybody's", []middleware.Limit{everybody, window("a", 9, time.Minute)}, 1, "a 9 8"},
		{"not even when it refuses", []middleware.Limit{everybody, window("a", 9, time.Minute)}, 2, "a 9 8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, blueprint{options: func(o *middleware.Options) { o.Profile.Fields = everyField() }})
			op := open()
			op.Limits = tt.limits
			handler, issued := h.gate.Handler(op)(says(200)), h.key("")
			var header http.Header
			for range tt.calls {
				header = h.call(handler, bearer(issued)).Header()
			}
			if got := header.Get("Limit-Name") + " " + header.Get("Quota") + " " + header.Get("Remaining"); got != tt.want {
				t.Errorf("told of %s, want %s", got, tt.want)
			}
		})
	}
}

// A cost that no waiting helps has no reset.
func TestNoResetForWhatNeverPasses(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) { o.Profile.Fields = everyField() }})
	op := open()
	op.Unit, op.Units = "images", func(*http.Request) (int64, error) { return 9, nil }
	images := perMinute("images", 5)
	images.Unit = "images"
	op.Limits = []middleware.Limit{images, perMinute("requests", 5)}
	w := h.call(h.gate.Handler(op)(says(200)), bearer(h.key("")))
	if w.Code != 429 || w.Header().Get("Retry-After") != "" || w.Header().Get("Limit-Name") != "images" {
		t.Errorf("status %d, header %v", w.Code, w.Header())
	}
	for _, name := range []string{"Reset", "Reset-Unix", "Reset-Milli"} {
		if got := w.Header()[name]; got != nil {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// X-RateLimit-Reset in each of its three units: who waits until then passes, also
// when the instant falls between two of them.
func TestWaitingUntilTheLegacyReset(t *testing.T) {
	for _, tt := range []struct {
		reset middleware.FieldValue
		until func(now time.Time, n int64) time.Time
	}{
		{middleware.FieldReset, func(now time.Time, n int64) time.Time { return now.Add(time.Duration(n) * time.Second) }},
		{middleware.FieldResetUnix, func(_ time.Time, n int64) time.Time { return time.Unix(n, 0) }},
		{middleware.FieldResetUnixMilli, func(_ time.Time, n int64) time.Time { return time.UnixMilli(n) }},
	} {
		h := build(t, blueprint{options: func(o *middleware.Options) { o.Profile.Fields = middleware.LegacyFields(tt.reset) }})
		op := open()
		op.Limits = []middleware.Limit{{Limit: ratelimit.Limit{Name: "rate", Count: 7, Period: 10 * time.Second, Burst: 1}}}
		handler, issued := h.gate.Handler(op)(says(200)), h.key("")
		for range 50 {
			h.clock.add(1234567 * time.Microsecond / 3)
			w := h.call(handler, bearer(issued))
			n, err := strconv.ParseInt(w.Header().Get("X-Ratelimit-Reset"), 10, 64)
			must(t, err)
			wait := tt.until(h.clock.now(), n).Sub(h.clock.now())
			if wait < 0 || wait > 3*time.Second {
				t.Fatalf("value %v: reset in %v", tt.reset, wait)
			}
			if w.Header().Get("X-Ratelimit-Limit") != "1" || w.Header().Get("X-Ratelimit-Remaining") != "0" || w.Header().Get("X-Request-Id") == "" {
				t.Fatalf("header %v", w.Header())
			}
			h.clock.add(wait)
			if w := h.call(handler, bearer(issued)); w.Code != 200 {
				t.Fatalf("value %v: status %d after waiting until %d", tt.reset, w.Code, n)
			}
		}
	}
}

// While a policy decides in the store's stead no answer tells what remains, a
// refusal neither.
func TestDegradedLimitsTellNothing(t *testing.T) {
	h := build(t, blueprint{
		limits: func(s ratelimit.Store) ratelimit.Store { return degrading{s} },
		options: func(o *middleware.Options) {
			o.Profile.Fields = everyField()
			o.IPLimits = []ratelimit.Limit{perMinute("address", 2).Limit}
		},
	})
	op := open()
	op.Limits = []middleware.Limit{perMinute("minute", 1)}
	handler, issued := h.gate.Handler(op)(says(200)), h.key("")
	for call, status := range []int{200, 429, 429} {
		w := h.call(handler, bearer(issued))
		if w.Code != status {
			t.Fatalf("status %d, want %d", w.Code, status)
		}
		for _, f := range everyField()[4:] {
			if got := w.Header()[http.CanonicalHeaderKey(f.Name)]; got != nil {
				t.Errorf("status %d: %s: %q", status, f.Name, got)
			}
		}
		if (w.Header().Get("X-Api-Key-Id") == issued.Key.ID) != (call < 2) || (status == 429) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("status %d: header %v", status, w.Header())
		}
	}
}

// exchange sends text to a real server as it is and returns what comes back.
func exchange(t *testing.T, handler http.Handler, text string) string {
	t.Helper()
	s, _ := serve(t, "h1", handler)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	must(t, err)
	defer func() { _ = conn.Close() }()
	must(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	_, err = io.WriteString(conn, text)
	must(t, err)
	answer, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil && len(answer) == 0 {
		t.Fatal(err)
	}
	return string(answer)
}

// With ExactCase the names arrive on HTTP/1.1 byte for byte as they are spelled;
// without, and on HTTP/2, as usual.
func TestExactCaseOnTheWire(t *testing.T) {
	for _, exact := range []bool{true, false} {
		h := build(t, blueprint{options: func(o *middleware.Options) {
			o.Profile.Fields, o.Profile.ExactCase = append(everyField(), middleware.Field{Name: "rateLimit-LIMIT", Value: middleware.FieldQuota}), exact
		}})
		op := open()
		op.Limits = []middleware.Limit{perMinute("minute", 3)}
		gated, issued := h.gate.Handler(op)(says(200)), h.key("")
		request := "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
		for _, answer := range []string{
			exchange(t, gated, request+"Authorization: Bearer "+issued.Secret.Reveal()+"\r\nx-api-key-id: me\r\nX_API_Key_ID: me\r\n\r\n"),
			exchange(t, gated, request+"\r\n"),
		} {
			ok := strings.HasPrefix(answer, "HTTP/1.1 200")
			for spelt, told := range map[string]bool{
				"X-Request: req_": true, "X-API-Key-ID: " + issued.Key.ID + "\r\n": ok, "rateLimit-LIMIT: 3\r\n": ok, "Reset-Unix: 17723664": ok,
			} {
				name, value, _ := strings.Cut(spelt, ": ")
				if !exact {
					spelt = http.CanonicalHeaderKey(name) + ": " + value
				}
				if got := strings.Count(answer, "\r\n"+spelt); (got == 1) != told || got > 1 {
					t.Errorf("exact %t: %q stands there %d times in\n%s", exact, spelt, got, answer)
				}
				if n := strings.Count(strings.ToLower(answer), "\r\n"+strings.ToLower(name)+":"); n > 1 {
					t.Errorf("%s stands there %d times", name, n)
				}
			}
		}
		s, client := serve(t, "h2", gated)
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		must(t, err)
		bearer(issued)(r)
		resp, err := client.Do(r)
		must(t, err)
		must(t, resp.Body.Close())
		if resp.Header.Get("X-Api-Key-Id") != issued.Key.ID || resp.Header.Get("Ratelimit-Limit") != "3" {
			t.Errorf("on HTTP/2: %v", resp.Header)
		}
	}
}

// What a client sends under the names of fields, or of a credential with '_' for
// '-', never reaches the handler.
func TestSpoofedFieldsAreTaken(t *testing.T) {
	h := build(t, blueprint{options: func(o *middleware.Options) {
		o.Profile.Fields = everyField()
		o.Profile.Credentials = []middleware.Location{middleware.Bearer(), middleware.Header("X-API-Key")}
		o.PassPreflights = true
	}})
	issued := h.key("")
	var saw http.Header
	handler := h.gate.Handler(open())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { saw = r.Header }))
	spoofs := []string{
		"X-Api-Key-Id", "X_API_Key_ID", "x_api_key_id", "X-Api_key-Id", "X-Api-Key-Name", "X_api_key_name", "X-Api-Key-Scopes", "Remaining", "Limit-Name",
		"Limit_Name", "X-Request", "X_request", "X_api_key", "X-Api_key",
	}
	stays := []string{"X_Other_Field", "Accept", "X-Api-Key-Idx"}
	send := func(r *http.Request) {
		for _, name := range append(spoofs, stays...) {
			r.Header[name] = []string{"spoofed"}
		}
	}
	preflights := func(r *http.Request) {
		r.Method = "OPTIONS"
		r.Header["Origin"], r.Header["Access-Control-Request-Method"] = []string{"https://x.example"}, []string{"POST"}
	}
	for name, edit := range map[string]func(*http.Request){"a call": bearer(issued), "a preflight": preflights} {
		saw = nil
		if w := h.call(handler, send, edit); w.Code != 200 {
			t.Fatalf("%s: status %d", name, w.Code)
		}
		for _, spoof := range spoofs {
			if _, ok := saw[spoof]; ok {
				t.Errorf("%s: the handler sees %s", name, spoof)
			}
		}
		for _, stay := range stays {
			if _, ok := saw[stay]; !ok {
				t.Errorf("%s: the handler does not see %s", name, stay)
			}
		}
	}
}
