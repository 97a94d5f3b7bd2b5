package apikey_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// sk is a format with two environments.
func sk(t testing.TB, o apikey.FormatOptions) *apikey.Format {
	t.Helper()
	o.Environments = []string{"live", "test"}
	return newFormat(t, "sk", &o)
}

// Before the secret is proven a client cannot tell why it is refused, and an
// operator can.
func TestRefusalsBeforeProofLookTheSame(t *testing.T) {
	store := apikey.NewMemoryStore()
	f := newFormat(t, "gx", &apikey.FormatOptions{NoChecksum: true})
	s := newService(t, store, f, &apikey.Options{Peppers: []apikey.Pepper{pepper}})
	key := create(t, s, apikey.Spec{}).Secret.Reveal()
	deleted := create(t, s, apikey.Spec{})
	if err := s.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	wrong := []byte(key)
	wrong[len(wrong)-1] ^= 1 // stays a letter or digit of base62 for all but a few
	if _, err := f.Parse(string(wrong)); err != nil {
		wrong[len(wrong)-1] = 'q'
	}
	other := newService(t, store, f, &apikey.Options{Peppers: []apikey.Pepper{{Version: 2, Secret: bytes.Repeat([]byte("another!"), 4)}}})
	causes := map[string]bool{}
	for name, tt := range map[string]struct {
		s     *apikey.Service
		token string
		want  error
	}{
		"malformed":       {s, "sk_live_123", apikey.ErrMalformed},
		"empty":           {s, "", apikey.ErrMalformed},
		"unknown handle":  {s, generate(t, f, ""), apikey.ErrUnknown},
		"wrong secret":    {s, string(wrong), apikey.ErrUnknown},
		"deleted":         {s, deleted.Secret.Reveal(), apikey.ErrUnknown},
		"pepper is gone":  {other, key, apikey.ErrUnknown},
		"its own key id":  {s, deleted.Key.ID, apikey.ErrMalformed},
		"header injected": {s, key + "\r\nX: y", apikey.ErrMalformed},
	} {
		got, err := tt.s.Verify(t.Context(), tt.token, nil)
		if !errors.Is(err, tt.want) || !got.Equal(apikey.Key{}) {
			t.Errorf("%s: Verify = %+v, %v; want %v", name, got, err, tt.want)
		}
		if errors.CodeOf(err) != errors.Unauthenticated || errors.MessageOf(err) != "the API key is not valid" {
			t.Errorf("%s: a client reads %v, %q", name, errors.CodeOf(err), errors.MessageOf(err))
		}
		causes[err.Error()] = true
	}
	if len(causes) != 5 { // malformed, no handle, wrong secret, deleted, pepper
		t.Errorf("operators read %d causes, want 5: %v", len(causes), causes)
	}
}

// After proof the holder is told, what cannot be undone first.
func TestRefusalsAfterProof(t *testing.T) {
	ip := netip.MustParseAddr("10.1.2.3")
	for name, tt := range map[string]struct {
		spec    apikey.Spec
		prepare func(t *testing.T, s *apikey.Service, c *clock, id string)
		options *apikey.VerifyOptions
		want    error
		code    errors.Code
	}{
		"disabled": {want: apikey.ErrDisabled, code: errors.Unauthenticated,
			prepare: func(t *testing.T, s *apikey.Service, _ *clock, id string) { must(s.Disable(t.Context(), id))(t) }},
		"revoked": {want: apikey.ErrRevoked, code: errors.Unauthenticated,
			prepare: func(t *testing.T, s *apikey.Service, _ *clock, id string) {
				must(s.Revoke(t.Context(), id, "leaked"))(t)
			}},
		"revoked, disabled and expired": {spec: apikey.Spec{TTL: time.Hour}, want: apikey.ErrRevoked, code: errors.Unauthenticated,
			prepare: func(t *testing.T, s *apikey.Service, c *clock, id string) {
				must(s.Disable(t.Context(), id))(t)
				c.advance(2 * time.Hour)
				must(s.Revoke(t.Context(), id, ""))(t)
			}},
		"expired and disabled": {spec: apikey.Spec{TTL: time.Hour}, want: apikey.ErrExpired, code: errors.Unauthenticated,
			prepare: func(t *testing.T, s *apikey.Service, c *clock, id string) {
				must(s.Disable(t.Context(), id))(t)
				c.advance(2 * time.Hour)
			}},
		"other environment": {want: apikey.ErrEnvironment, code: errors.Forbidden, options: &apikey.VerifyOptions{Environment: "live"}},
		"other network": {spec: apikey.Spec{Networks: networks(t, "10.0.0.0/9", "192.0.2.1")}, want: apikey.ErrNetwork, code: errors.Forbidden,
			options: &apikey.VerifyOptions{IP: netip.MustParseAddr("10.128.0.1")}},
		"unknown address":         {spec: apikey.Spec{Networks: networks(t, "0.0.0.0/0", "::/0")}, want: apikey.ErrNetwork, code: errors.Forbidden, options: &apikey.VerifyOptions{}},
		"nothing known":           {spec: apikey.Spec{Networks: networks(t, "0.0.0.0/0", "::/0")}, want: apikey.ErrNetwork, code: errors.Forbidden},
		"its network":             {spec: apikey.Spec{Networks: networks(t, "10.0.0.0/9")}, options: &apikey.VerifyOptions{IP: ip}},
		"its network as IPv6":     {spec: apikey.Spec{Networks: networks(t, "10.0.0.0/9")}, options: &apikey.VerifyOptions{IP: netip.MustParseAddr("::ffff:10.1.2.3")}},
		"any network, no address": {},
		"its environment":         {options: &apikey.VerifyOptions{Environment: "test", IP: ip}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			s := newService(t, apikey.NewMemoryStore(), sk(t, apikey.FormatOptions{}), &apikey.Options{Now: c.now})
			tt.spec.Environment = "test"
			issued := create(t, s, tt.spec)
			if tt.prepare != nil {
				tt.prepare(t, s, c, issued.Key.ID)
			}
			key, err := s.Verify(t.Context(), issued.Secret.Reveal(), tt.options)
			if !errors.Is(err, tt.want) || errors.CodeOf(err) != tt.code || (err != nil) != key.Equal(apikey.Key{}) {
				t.Errorf("Verify = %+v, %v (%v); want %v", key, err, errors.CodeOf(err), tt.want)
			}
		})
	}
}

func TestExpiredExactlyAtTheInstant(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	end := c.at.Add(90 * time.Minute)
	issued := create(t, s, apikey.Spec{ExpiresAt: end.In(time.FixedZone("east", 3600))})
	for _, tt := range []struct {
		at     time.Time
		want   error
		status apikey.Status
	}{
		{end.Add(-time.Nanosecond), nil, apikey.StatusActive},
		{end, apikey.ErrExpired, apikey.StatusExpired},
		{end.Add(time.Nanosecond), apikey.ErrExpired, apikey.StatusExpired},
		{end.Add(-time.Hour), nil, apikey.StatusActive}, // a clock set back
	} {
		c.at = tt.at
		_, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil)
		if !errors.Is(err, tt.want) || issued.Key.Status(tt.at) != tt.status || issued.Key.Expired(tt.at) != (tt.want != nil) {
			t.Errorf("at %v: %v, status %v; want %v", tt.at, err, issued.Key.Status(tt.at), tt.want)
		}
	}
}

func TestNoExpiryIsNever(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{})
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)} {
		c.at = at
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil {
			t.Errorf("at %v: %v", at, err)
		}
	}
}

// What a thief of the database holds must not open anything.
func TestLeakedDigestIsNoKey(t *testing.T) {
	store := apikey.NewMemoryStore()
	f := newFormat(t, "k", &apikey.FormatOptions{Alphabet: "0123456789abcdef", SecretLength: 64, NoID: true, NoChecksum: true})
	for _, peppers := range [][]apikey.Pepper{nil, {pepper}} {
		s := newService(t, store, f, &apikey.Options{Peppers: peppers})
		issued := create(t, s, apikey.Spec{})
		rec := must(store.ByID(t.Context(), issued.Key.ID))(t)
		sum := rec.Digest.Sum[:]
		for name, token := range map[string]string{
			"raw": string(sum), "hex": hex.EncodeToString(sum), "base64": base64.StdEncoding.EncodeToString(sum),
			"dressed as a key": "k_" + hex.EncodeToString(sum), "handle": rec.Handle, "dressed handle": "k_" + rec.Handle + rec.Handle,
			"id": issued.Key.ID, "start and last four": rec.Key.Start + rec.Key.Last4,
		} {
			if _, err := s.Verify(t.Context(), token, nil); errors.CodeOf(err) != errors.Unauthenticated {
				t.Errorf("%s: %v, want unauthenticated", name, err)
			}
		}
	}
}

// A record without digest, as a store might give for a tombstone or a fault,
// is proven by nothing.
func TestRecordWithoutDigestIsProvenByNothing(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	rec := must(store.ByID(t.Context(), issued.Key.ID))(t)
	rec.Digest = apikey.Digest{}
	rec.Key.Version++
	if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); !errors.Is(err, apikey.ErrUnknown) {
		t.Errorf("Verify = %v, want ErrUnknown", err)
	}
}

func TestUnknownStateRefuses(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	for _, state := range []apikey.State{apikey.StateUnknown, 77} {
		rec := must(store.ByID(t.Context(), issued.Key.ID))(t)
		rec.Key.State, rec.Key.Version = state, rec.Key.Version+1
		if err := store.Apply(t.Context(), apikey.Change{Update: []apikey.Record{rec}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); errors.CodeOf(err) != errors.Corrupt {
			t.Errorf("state %v: Verify = %v, want corrupt", state, err)
		}
		_, err := s.Enable(t.Context(), issued.Key.ID)
		_, err2 := s.Rotate(t.Context(), issued.Key.ID, 0)
		if errors.CodeOf(err) != errors.Corrupt || errors.CodeOf(err2) != errors.Corrupt {
			t.Errorf("state %v: Enable = %v, Rotate = %v; want corrupt", state, err, err2)
		}
	}
}

// With a checksum a swapped environment is malformed; without, and also for a
// thief who computes the checksum anew, it fails the proof.
func TestEnvironmentSwapIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		o    apikey.FormatOptions
		want error
	}{
		"checksum":    {apikey.FormatOptions{}, apikey.ErrMalformed},
		"no checksum": {apikey.FormatOptions{NoChecksum: true}, apikey.ErrUnknown},
		"no id":       {apikey.FormatOptions{NoChecksum: true, NoID: true}, apikey.ErrUnknown},
	} {
		s := newService(t, apikey.NewMemoryStore(), sk(t, tt.o), nil)
		token := create(t, s, apikey.Spec{Environment: "test"}).Secret.Reveal()
		swapped := strings.Replace(token, "sk_test_", "sk_live_", 1)
		if _, err := s.Verify(t.Context(), swapped, nil); !errors.Is(err, tt.want) {
			t.Errorf("%s: Verify of a swapped key = %v, want %v", name, err, tt.want)
		}
	}
}

// state reads every record of a store.
func state(t testing.TB, store apikey.Store) []apikey.Record {
	t.Helper()
	all := []apikey.State{apikey.StateActive, apikey.StateDisabled, apikey.StateRevoked, apikey.StateDeleted}
	return must(store.List(t.Context(), apikey.Query{States: all, Limit: 1000}))(t)
}

func TestFailedGuessChangesNothing(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, sk(t, apikey.FormatOptions{NoChecksum: true}), &apikey.Options{Now: c.now})
	live := create(t, s, apikey.Spec{Environment: "live"})
	bound := create(t, s, apikey.Spec{Environment: "live", Networks: networks(t, "10.0.0.0/8")})
	off := create(t, s, apikey.Spec{Environment: "test"})
	must(s.Disable(t.Context(), off.Key.ID))(t)
	before := state(t, store)
	wrong := live.Secret.Reveal()[:len("sk_live_")+16] + strings.Repeat("Ab", 16)
	for _, token := range []string{wrong, "garbage", strings.Replace(off.Secret.Reveal(), "test", "live", 1), bound.Secret.Reveal(), off.Secret.Reveal()} {
		c.advance(time.Hour)
		if _, err := s.Verify(t.Context(), token, nil); err == nil {
			t.Errorf("%q is accepted", token)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after := state(t, store); !reflect.DeepEqual(before, after) {
		t.Errorf("refusals changed the store:\n%+v\nwant\n%+v", after, before)
	}
}

// A verification in flight while the key is disabled must not undo that.
func TestVerifyRacingDisableDoesNotReenable(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	looked := false
	store.before = func(verb string) error {
		if verb == "Touch" && !looked {
			looked = true
			must(s.Disable(t.Context(), issued.Key.ID))(t)
		}
		return nil
	}
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	if err := s.Flush(t.Context()); err != nil || !looked {
		t.Fatal(err, looked)
	}
	if k := must(s.Get(t.Context(), issued.Key.ID))(t); k.State != apikey.StateDisabled {
		t.Errorf("state %v, want disabled", k.State)
	}
}

func TestStoreFailureIsUnavailable(t *testing.T) {
	down := errors.New("dial tcp: connection refused")
	failing := false
	s := newService(t, &scripted{apikey.NewMemoryStore(), func(string) error {
		if failing {
			return down
		}
		return nil
	}}, nil, nil)
	issued := create(t, s, apikey.Spec{})
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	failing = true
	for name, err := range verbs(t.Context(), s, issued) {
		if errors.CodeOf(err) != errors.Unavailable || !errors.Is(err, down) || strings.Contains(errors.MessageOf(err), "tcp") {
			t.Errorf("%s: %v (%v, %q), want unavailable", name, err, errors.CodeOf(err), errors.MessageOf(err))
		}
		for _, is := range []error{apikey.ErrMalformed, apikey.ErrUnknown, apikey.ErrNotFound} {
			if errors.Is(err, is) {
				t.Errorf("%s: %v is %v", name, err, is)
			}
		}
	}
	if _, err := s.Verify(t.Context(), "garbage", nil); !errors.Is(err, apikey.ErrMalformed) {
		t.Errorf("garbage with the store down: %v, want malformed", err)
	}
	failing = false
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestContextEndIsItsOwnError(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	must(s.Verify(t.Context(), issued.Secret.Reveal(), nil))(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range verbs(ctx, s, issued) {
		if errors.CodeOf(err) != errors.Canceled || !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v (%v), want canceled", name, err, errors.CodeOf(err))
		}
	}
}

// verbs calls every verb that asks the store.
func verbs(ctx context.Context, s *apikey.Service, issued apikey.Issued) map[string]error {
	id := issued.Key.ID
	_, verify := s.Verify(ctx, issued.Secret.Reveal(), nil)
	_, create := s.Create(ctx, apikey.Spec{Owner: "a"})
	_, get := s.Get(ctx, id)
	_, list := s.List(ctx, apikey.Query{Owner: "a"})
	_, update := s.Update(ctx, id, apikey.Changes{Name: new("x")})
	_, disable := s.Disable(ctx, id)
	_, enable := s.Enable(ctx, id)
	_, revoke := s.Revoke(ctx, id, "")
	_, rotate := s.Rotate(ctx, id, time.Hour)
	_, again := s.Create(ctx, apikey.Spec{Owner: "a", RequestID: "r"})
	_, clone := s.Clone(ctx, id, apikey.Changes{})
	_, regenerate := s.Regenerate(ctx, id)
	_, revokeSelf := s.RevokeSelf(ctx, issued.Secret.Reveal(), "")
	_, owner := s.Owner(ctx, "a")
	_, revokeOwner := s.RevokeOwner(ctx, "a", "")
	_, suspend := s.SuspendOwner(ctx, "a", "")
	_, restore := s.RestoreOwner(ctx, "a", "")
	_, events := s.Events(ctx, apikey.EventQuery{Owner: "a"})
	_, chain := s.VerifyEvents(ctx, "a", nil)
	_, expiring := s.Expiring(ctx, time.Hour, apikey.Query{Owner: "a"})
	_, unused := s.Unused(ctx, time.Unix(1, 0), apikey.Query{Owner: "a"})
	_, due := s.RotationDue(ctx, time.Hour, apikey.Query{Owner: "a"})
	_, remind := s.Remind(ctx, nil)
	_, readiness := s.Readiness(ctx, id)
	return map[string]error{
		"Create again": again, "Clone": clone, "Regenerate": regenerate, "RevokeSelf": revokeSelf, "Owner": owner,
		"RevokeOwner": revokeOwner, "SuspendOwner": suspend, "RestoreOwner": restore, "Events": events, "VerifyEvents": chain,
		"Expiring": expiring, "Unused": unused, "RotationDue": due, "Remind": remind, "Readiness": readiness,
		"Verify": verify, "Create": create, "Get": get, "List": list, "Update": update, "Disable": disable, "Enable": enable,
		"Revoke": revoke, "Rotate": rotate, "Delete": s.Delete(ctx, id), "Flush": s.Flush(ctx), "Close": s.Close(ctx),
	}
}

func TestVerifyAllocatesNothing(t *testing.T) {
	for name, peppers := range map[string][]apikey.Pepper{"plain": nil, "pepper": {pepper}} {
		s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Peppers: peppers})
		token := create(t, s, apikey.Spec{}).Secret.Reveal()
		unknown := generate(t, s.Format(), "")
		for what, token := range map[string]string{"key": token, "garbage": token[1:], "unknown": unknown} {
			allocs := testing.AllocsPerRun(1000, func() { _, _ = s.Verify(context.Background(), token, nil) })
			if allocs > 0 && !raceEnabled {
				t.Errorf("%s, %s: %v allocations", name, what, allocs)
			}
		}
	}
}
