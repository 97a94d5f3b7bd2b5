package middleware_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
)

// filled returns a value of type t that is not its zero value.
func filled(t *testing.T, typ reflect.Type) reflect.Value {
	t.Helper()
	switch typ {
	case reflect.TypeFor[time.Time]():
		return reflect.ValueOf(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC))
	case reflect.TypeFor[netip.Addr]():
		return reflect.ValueOf(netip.MustParseAddr("192.0.2.7"))
	case reflect.TypeFor[error]():
		return reflect.ValueOf(errors.New("the cause"))
	case reflect.TypeFor[[]string]():
		return reflect.ValueOf([]string{"minute"})
	}
	v := reflect.New(typ).Elem()
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(5)
	default:
		t.Fatalf("there is no value of type %v yet; add one", typ)
	}
	return v
}

// Whatever an observer is told stands in the log: a field that made no difference
// to the line would be one that the log swallows.
func TestTheLogTellsEveryField(t *testing.T) {
	var logs bytes.Buffer
	o := middleware.NewSlogObserver(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	line := func(event any) string {
		logs.Reset()
		switch e := event.(type) {
		case middleware.Decision:
			o.Decided(t.Context(), e)
		case middleware.Settled:
			o.Settled(t.Context(), e)
		}
		return logs.String()
	}
	for _, base := range []any{middleware.Decision{}, middleware.Settled{Hold: "h"}} {
		typ := reflect.TypeOf(base)
		for f := range typ.Fields() {
			with := reflect.New(typ).Elem()
			with.Set(reflect.ValueOf(base))
			value := filled(t, f.Type)
			with.FieldByIndex(f.Index).Set(value)
			if without, got := line(base), line(with.Interface()); got == without {
				t.Errorf("%v.%s makes no difference: %s", typ, f.Name, got)
			}
		}
	}
}

// Levels say what somebody has to look at.
func TestTheLevelsOfTheLog(t *testing.T) {
	var logs bytes.Buffer
	o := middleware.NewSlogObserver(slog.New(slog.NewJSONHandler(&logs, &slog.HandlerOptions{Level: slog.LevelDebug})))
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for want, events := range map[string][]any{
		"DEBUG": {
			middleware.Decision{Verdict: middleware.VerdictAllowed}, middleware.Decision{Verdict: middleware.VerdictUnknown},
			middleware.Decision{Verdict: middleware.VerdictRateLimited}, middleware.Settled{Held: 5, Asked: 5, Charged: 5}, middleware.Settled{Held: 5, Asked: 6, Charged: 6},
		},
		"WARN": {middleware.Decision{Verdict: middleware.VerdictAllowed, Degraded: true}, middleware.Settled{Held: 5, Asked: 6, Charged: 5}},
		"ERROR": {
			middleware.Decision{Verdict: middleware.VerdictStoreError, Degraded: true}, middleware.Decision{Verdict: middleware.VerdictMisconfigured},
			middleware.Decision{}, middleware.Settled{Held: 5, Asked: 6, Err: context.DeadlineExceeded},
		},
	} {
		for _, event := range events {
			logs.Reset()
			switch e := event.(type) {
			case middleware.Decision:
				e.Time = at
				o.Decided(t.Context(), e)
			case middleware.Settled:
				e.Time = at
				o.Settled(t.Context(), e)
			}
			var got struct {
				Level string
				Time  time.Time
			}
			must(t, json.Unmarshal(logs.Bytes(), &got))
			if got.Level != want || !got.Time.Equal(at) {
				t.Errorf("%+v: level %s at %v, want %s", event, got.Level, got.Time, want)
			}
		}
	}
}

// However somebody logs what the gate gives out, no secret is in it.
func TestLogValuesHoldNoSecret(t *testing.T) {
	h := build(t, blueprint{})
	h.grant(10)
	issued := h.key("image:generate")
	guess := foreign(t).Reveal()
	var logs bytes.Buffer
	level := &slog.HandlerOptions{Level: slog.LevelDebug}
	for _, log := range []*slog.Logger{slog.New(slog.NewJSONHandler(&logs, level)), slog.New(slog.NewTextHandler(&logs, level))} {
		handler := h.gate.Handler(priced())(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			pass, _ := middleware.PassFrom(r.Context())
			hold, _ := pass.Hold()
			log.Info("handler", "pass", pass, "key", pass.Key(), "hold", hold, "header", r.Header, "url", r.URL)
			fmt.Fprintf(&logs, "%+v %#v\n", pass, pass)
		}))
		h.call(handler, bearer(issued))
		h.call(handler, raw("Authorization", "Bearer "+guess))
		route, err := h.gate.Route(priced())
		must(t, err)
		_, err = h.gate.Begin(t.Context(), middleware.Attempt{Route: route, Credential: guess})
		log.Info("denied", "denial", err, "issued", issued, "secret", issued.Secret)
		for _, d := range h.journal.decisions {
			log.Info("event", "decision", d)
		}
		for _, s := range h.journal.settlements() {
			log.Info("event", "settled", s)
		}
	}
	if n := strings.Count(logs.String(), "\n"); n < 10 || !strings.Contains(logs.String(), issued.Key.ID) {
		t.Fatalf("%d lines to search: %s", n, &logs)
	}
	for _, secret := range []string{issued.Secret.Reveal(), guess} {
		for _, part := range []string{secret[:24], secret[len(secret)-24:]} {
			if strings.Contains(logs.String(), part) {
				t.Errorf("%.6q... is in the log", part)
			}
		}
	}
}

// A named observer tells its name.
type named struct {
	name string
	to   *[]string
}

func (n named) Decided(context.Context, middleware.Decision) {
	*n.to = append(*n.to, "decided "+n.name)
}
func (n named) Settled(context.Context, middleware.Settled) { *n.to = append(*n.to, "settled "+n.name) }

func TestObserversAreToldInOrder(t *testing.T) {
	var told []string
	all := middleware.Observers{named{"a", &told}, named{"b", &told}}
	all.Decided(t.Context(), middleware.Decision{})
	all.Settled(t.Context(), middleware.Settled{})
	if want := []string{"decided a", "decided b", "settled a", "settled b"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// How long a decision took is what the clock moved meanwhile.
func TestADecisionTellsHowLongItTook(t *testing.T) {
	h := build(t, blueprint{})
	op := open()
	op.Allow = func(context.Context, apikey.Key) error { h.clock.add(3 * time.Millisecond); return nil }
	handler := h.gate.Handler(op)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { h.clock.add(time.Second) }))
	h.call(handler, bearer(h.key("")))
	if d := h.journal.last(); d.Took != 3*time.Millisecond {
		t.Errorf("took %v", d.Took)
	}
	h.call(handler)
	if d := h.journal.last(); d.Took != 0 || d.Verdict != middleware.VerdictMissing {
		t.Errorf("took %v: %v", d.Took, d.Verdict)
	}
}
