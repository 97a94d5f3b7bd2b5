package apikey_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// A clock is an injected time that tests move.
type clock struct{ at time.Time }

func newClock() *clock { return &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) advance(d time.Duration) { c.at = c.at.Add(d) }

// A scripted store calls before ahead of every call, and fails as it says.
type scripted struct {
	*apikey.MemoryStore
	before func(verb string) error
}

func (s *scripted) Apply(ctx context.Context, c apikey.Change) error {
	if err := s.before("Apply"); err != nil {
		return err
	}
	return s.MemoryStore.Apply(ctx, c)
}

func (s *scripted) ByHandle(ctx context.Context, handle string) (apikey.Record, error) {
	if err := s.before("ByHandle"); err != nil {
		return apikey.Record{}, err
	}
	return s.MemoryStore.ByHandle(ctx, handle)
}

func (s *scripted) ByID(ctx context.Context, id string) (apikey.Record, error) {
	if err := s.before("ByID"); err != nil {
		return apikey.Record{}, err
	}
	return s.MemoryStore.ByID(ctx, id)
}

func (s *scripted) List(ctx context.Context, q apikey.Query) ([]apikey.Record, error) {
	if err := s.before("List"); err != nil {
		return nil, err
	}
	return s.MemoryStore.List(ctx, q)
}

func (s *scripted) Touch(ctx context.Context, uses []apikey.Use) error {
	if err := s.before("Touch"); err != nil {
		return err
	}
	return s.MemoryStore.Touch(ctx, uses)
}

func (s *scripted) Owner(ctx context.Context, id string) (apikey.Owner, error) {
	if err := s.before("Owner"); err != nil {
		return apikey.Owner{}, err
	}
	return s.MemoryStore.Owner(ctx, id)
}

func (s *scripted) Events(ctx context.Context, q apikey.EventQuery) ([]apikey.Event, error) {
	if err := s.before("Events"); err != nil {
		return nil, err
	}
	return s.MemoryStore.Events(ctx, q)
}

func newService(t testing.TB, store apikey.Store, f *apikey.Format, o *apikey.Options) *apikey.Service {
	t.Helper()
	if f == nil {
		f = newFormat(t, "gx", nil)
	}
	s, err := apikey.NewService(store, f, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func create(t testing.TB, s *apikey.Service, spec apikey.Spec) apikey.Issued {
	t.Helper()
	if spec.Owner == "" {
		spec.Owner = "acct_1"
	}
	issued, err := s.Create(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	return issued
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func networks(t testing.TB, texts ...string) apikey.Networks {
	t.Helper()
	return must(apikey.ParseNetworks(texts...))(t)
}

// full returns a spec with everything in it.
func full(t testing.TB) apikey.Spec {
	t.Helper()
	return apikey.Spec{
		Owner: "acct_7", Name: "Production", Environment: "live",
		Scopes:   must(scopes.Parse("image:generate models:read"))(t),
		Metadata: must(apikey.NewMetadata(map[string]string{"team": "blue"}))(t),
		Settings: must(apikey.NewSettings(map[string]int64{"per_minute": 60}))(t),
		Networks: networks(t, "10.0.0.0/8"),
		TTL:      48 * time.Hour,
	}
}

func TestCreateThenVerify(t *testing.T) {
	for _, tt := range formats {
		t.Run(tt.name, func(t *testing.T) {
			s := newService(t, apikey.NewMemoryStore(), newFormat(t, tt.prefix, tt.options), nil)
			for _, env := range tt.environments {
				issued := create(t, s, apikey.Spec{Name: "Production", Environment: env})
				key, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil)
				if err != nil || !key.Equal(issued.Key) {
					t.Fatalf("Verify = %+v, %v; want %+v", key, err, issued.Key)
				}
			}
		})
	}
}

func TestCreateFillsTheKey(t *testing.T) {
	c := newClock()
	c.at = c.at.Add(123456789 * time.Nanosecond).In(time.FixedZone("west", -3600))
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	s := newService(t, apikey.NewMemoryStore(), f, &apikey.Options{Now: c.now})
	issued := create(t, s, full(t))
	k, token := issued.Key, issued.Secret.Reveal()
	created := time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)
	want := apikey.Key{
		ID: k.ID, Owner: "acct_7", Name: "Production", Environment: "live",
		Scopes: full(t).Scopes, Metadata: full(t).Metadata, Settings: full(t).Settings, Networks: full(t).Networks,
		CreatedAt: created, SecretAt: created, ExpiresAt: created.Add(48 * time.Hour), State: apikey.StateActive,
		Start: token[:len("sk_live_")+4], Last4: token[len(token)-4:], Meter: k.ID, Version: 1,
	}
	if !k.Equal(want) || len(k.ID) != 24 || !strings.HasPrefix(k.ID, "key_") || strings.Contains(token, k.ID[4:]) {
		t.Errorf("key\n%+v, want\n%+v", k, want)
	}
	if got, err := s.Get(t.Context(), k.ID); err != nil || !got.Equal(want) {
		t.Errorf("Get = %+v, %v", got, err)
	}
}

func TestCreateReportsEveryFault(t *testing.T) {
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	s := newService(t, apikey.NewMemoryStore(), f, nil)
	_, err := s.Create(t.Context(), apikey.Spec{Name: "two\nlines", Environment: "liv", TTL: -1})
	for _, want := range []string{`owner ""`, `name "two\nlines"`, `environment "liv": give one of live, test`, "TTL is -1ns"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if errors.CodeOf(err) != errors.Invalid {
		t.Errorf("code %v, want invalid", errors.CodeOf(err))
	}
	for name, spec := range map[string]apikey.Spec{
		"no environment":        {Owner: "a"},
		"expiry in the past":    {Owner: "a", Environment: "live", ExpiresAt: time.Unix(1, 0)},
		"expiry in year 10000":  {Owner: "a", Environment: "live", ExpiresAt: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
		"expiry and TTL":        {Owner: "a", Environment: "live", ExpiresAt: time.Date(9000, 1, 1, 0, 0, 0, 0, time.UTC), TTL: time.Hour},
		"TTL of a nanosecond":   {Owner: "a", Environment: "live", TTL: 1},
		"owner with NUL":        {Owner: "a\x00", Environment: "live"},
		"owner not UTF-8":       {Owner: "\xff", Environment: "live"},
		"long owner":            {Owner: strings.Repeat("a", 256), Environment: "live"},
		"long name":             {Owner: "a", Name: strings.Repeat("a", 256), Environment: "live"},
		"name with a C1 escape": {Owner: "a", Name: "a\u009b", Environment: "live"},
	} {
		if issued, err := s.Create(t.Context(), spec); errors.CodeOf(err) != errors.Invalid || !issued.Secret.IsZero() {
			t.Errorf("%s: %v, want invalid", name, err)
		}
	}
}

func TestNewServiceReportsEveryFault(t *testing.T) {
	_, err := apikey.NewService(nil, new(apikey.Format), &apikey.Options{
		Peppers:    []apikey.Pepper{{Version: 0, Secret: []byte("short"), NotAfter: time.Unix(1, 0)}, {Version: 2, Secret: pepper.Secret}, {Version: 2, Secret: pepper.Secret}},
		FlushEvery: -1, LastUsedEvery: -1, MaxPending: -1,
	})
	for _, want := range []string{
		"store is nil", "format is empty", "peppers[0]: version is 0", "peppers[0]: the secret has 5 bytes",
		"peppers[0]: the current pepper has an end", "peppers[2]: version 2 is given twice",
		"FlushEvery is -1ns", "LastUsedEvery is -1ns", "MaxPending is -1",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if errors.CodeOf(err) != errors.Invalid || strings.Contains(fmt.Sprint(err), "short"+"\"") {
		t.Errorf("error %v", err)
	}
}

func TestCreateTriesAgainWhenAnIDIsTaken(t *testing.T) {
	for _, times := range []int{3, 1000} {
		applied := 0
		s := newService(t, &scripted{apikey.NewMemoryStore(), func(verb string) error {
			if verb == "Apply" {
				if applied++; applied <= times {
					return fmt.Errorf("unique violation: %w", apikey.ErrExists)
				}
			}
			return nil
		}}, nil, nil)
		issued, err := s.Create(t.Context(), apikey.Spec{Owner: "a"})
		if times == 3 && err != nil || times == 1000 && (!errors.Is(err, apikey.ErrExists) || applied > 50 || !issued.Secret.IsZero()) {
			t.Errorf("%d collisions: %v after %d calls", times, err, applied)
		}
	}
}

func TestCreateWithoutRandomnessMakesNothing(t *testing.T) {
	for _, have := range []int{0, 64} { // none, and enough for the ID alone
		store := apikey.NewMemoryStore()
		source := io.LimitReader(rand.NewChaCha8([32]byte{3}), int64(have))
		s := newService(t, store, nil, &apikey.Options{Rand: source})
		issued, err := s.Create(t.Context(), apikey.Spec{Owner: "a"})
		if errors.CodeOf(err) != errors.Unavailable || !issued.Secret.IsZero() || len(state(t, store)) != 0 {
			t.Errorf("with %d random bytes: %+v, %v; want unavailable", have, issued, err)
		}
	}
}

// A source that repeats itself must not overwrite a key.
func TestCreateNeverOverwrites(t *testing.T) {
	store := apikey.NewMemoryStore()
	first := create(t, newService(t, store, nil, &apikey.Options{Rand: rand.NewChaCha8([32]byte{9})}), apikey.Spec{Owner: "first"})
	s := newService(t, store, nil, &apikey.Options{Rand: rand.NewChaCha8([32]byte{9})})
	second := create(t, s, apikey.Spec{Owner: "second"})
	if first.Key.ID == second.Key.ID || first.Secret.Reveal() == second.Secret.Reveal() {
		t.Fatal("two keys are one")
	}
	if k, err := s.Verify(t.Context(), first.Secret.Reveal(), nil); err != nil || k.Owner != "first" {
		t.Errorf("Verify = %+v, %v", k, err)
	}
}

func TestListPagesAndSelects(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	var ids []string
	for i := range 25 {
		owner := []string{"a", "b"}[i%2]
		issued := create(t, s, apikey.Spec{Owner: owner, TTL: time.Duration(i+1) * time.Hour})
		if owner == "a" {
			ids = append([]string{issued.Key.ID}, ids...)
		}
		c.advance(time.Second)
	}
	must(s.Revoke(t.Context(), ids[0], "lost"))(t)
	if err := s.Delete(t.Context(), ids[1]); err != nil {
		t.Fatal(err)
	}
	list := func(q apikey.Query) (got []string) {
		t.Helper()
		for {
			page := must(s.List(t.Context(), q))(t)
			for _, k := range page.Keys {
				got = append(got, k.ID)
			}
			if page.Next.IsZero() {
				return got
			}
			text := must(page.Next.MarshalText())(t) // as through a client
			if err := q.After.UnmarshalText(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tt := range map[string]struct {
		q    apikey.Query
		want []string
	}{
		"one page":        {apikey.Query{Owner: "a"}, append(ids[:1:1], ids[2:]...)},
		"pages of five":   {apikey.Query{Owner: "a", Limit: 5}, append(ids[:1:1], ids[2:]...)},
		"pages of twelve": {apikey.Query{Owner: "a", Limit: 12}, append(ids[:1:1], ids[2:]...)},
		"tombstones":      {apikey.Query{Owner: "a", States: []apikey.State{apikey.StateDeleted}}, ids[1:2]},
		"not expired":     {apikey.Query{Owner: "a", LiveAt: c.at.Add(23 * time.Hour), States: []apikey.State{apikey.StateRevoked}}, ids[:1]},
		"nobody":          {apikey.Query{Owner: "c"}, nil},
	} {
		if got := list(tt.q); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := list(apikey.Query{AnyOwner: true, Limit: 7}); len(got) != 24 {
		t.Errorf("any owner: %d keys, want 24", len(got))
	}
}

// Forgetting the owner must not list everybody's keys.
func TestListRefuses(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	for want, q := range map[string]apikey.Query{
		`owner "" with AnyOwner false`:      {},
		`owner "a" with AnyOwner true`:      {Owner: "a", AnyOwner: true},
		"limit is 1001; give 1 to 1000":     {Owner: "a", Limit: 1001},
		"limit is -1; give 1 to 1000":       {Owner: "a", Limit: -1},
		"states[1] is unknown; give active": {Owner: "a", States: []apikey.State{apikey.StateActive, apikey.StateUnknown}},
	} {
		if _, err := s.List(t.Context(), q); errors.CodeOf(err) != errors.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want invalid with %q", err, want)
		}
	}
}

func TestKeyAsJSON(t *testing.T) {
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, apikey.NewMemoryStore(), f, nil)
	want := create(t, s, full(t)).Key
	text := must(json.Marshal(want))(t)
	var got apikey.Key
	if err := json.Unmarshal(text, &got); err != nil || !got.Equal(want) {
		t.Errorf("JSON %s comes back as %+v, %v", text, got, err)
	}
	for _, part := range []string{`"metadata":{"team":"blue"}`, `"settings":{"per_minute":60}`, `"state":"active"`, `"networks":"10.0.0.0/8"`} {
		if !strings.Contains(string(text), part) {
			t.Errorf("JSON lacks %s: %s", part, text)
		}
	}
	if strings.Contains(string(text), "last_used_at") {
		t.Errorf("JSON of a key never used says when: %s", text)
	}
}
