package apikey_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestIdentifyKnowsKeysOfEveryState(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Now: c.now})
	for name, tt := range map[string]struct {
		spec apikey.Spec
		do   func(id string) error
		want apikey.Status
	}{
		"active":   {want: apikey.StatusActive},
		"disabled": {do: func(id string) error { _, err := s.Disable(t.Context(), id); return err }, want: apikey.StatusDisabled},
		"revoked":  {do: func(id string) error { _, err := s.Revoke(t.Context(), id, "lost"); return err }, want: apikey.StatusRevoked},
		"rotated":  {do: func(id string) error { _, err := s.Rotate(t.Context(), id, 0); return err }, want: apikey.StatusRotated},
		"bound":    {spec: apikey.Spec{Networks: networks(t, "10.0.0.0/8")}, want: apikey.StatusActive},
		"suspended": {spec: apikey.Spec{Owner: "acct_2"}, do: func(string) error {
			return store.Apply(t.Context(), apikey.Change{Owner: &apikey.Owner{ID: "acct_2", Epoch: 1, Suspended: true, Version: 1}})
		}, want: apikey.StatusSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			issued := create(t, s, tt.spec)
			if tt.do != nil {
				if err := tt.do(issued.Key.ID); err != nil {
					t.Fatal(err)
				}
			}
			key, err := s.Identify(t.Context(), issued.Secret.Reveal())
			if err != nil || key.ID != issued.Key.ID || key.Status(c.at) != tt.want {
				t.Errorf("Identify = %s %v, %v; want %s %v", key.ID, key.Status(c.at), err, issued.Key.ID, tt.want)
			}
		})
	}
}

func TestIdentifyNotesNoUse(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now})
	issued := create(t, s, apikey.Spec{})
	must(s.Identify(t.Context(), issued.Secret.Reveal()))(t)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if key := must(s.Get(t.Context(), issued.Key.ID))(t); !key.LastUsedAt.IsZero() {
		t.Errorf("LastUsedAt = %v, want never", key.LastUsedAt)
	}
}

func TestIdentifyProvesTheSecret(t *testing.T) {
	c := newClock()
	store, format := apikey.NewMemoryStore(), newFormat(t, "sk", &apikey.FormatOptions{NoChecksum: true})
	old := apikey.Pepper{Version: 1, Secret: []byte(strings.Repeat("a", 32))}
	s := newService(t, store, format, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{old}})
	issued, deleted := create(t, s, apikey.Spec{}), create(t, s, apikey.Spec{})
	if err := s.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	without := newService(t, store, format, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{{Version: 2, Secret: []byte(strings.Repeat("b", 32))}}})
	token := issued.Secret.Reveal()
	for name, tt := range map[string]struct {
		s          *apikey.Service
		token      string
		want       error
		unprovable bool
	}{
		"garbage":         {s, "sk_garbage", apikey.ErrMalformed, false},
		"empty":           {s, "", apikey.ErrMalformed, false},
		"unknown":         {s, must(format.Generate("", nil))(t).Reveal(), apikey.ErrUnknown, false},
		"wrong secret":    {s, token[:len(token)-1] + other(token[len(token)-1]), apikey.ErrUnknown, false},
		"deleted":         {s, deleted.Secret.Reveal(), apikey.ErrUnknown, true},
		"pepper is gone":  {without, token, apikey.ErrUnknown, true},
		"another's token": {s, token + deleted.Secret.Reveal(), apikey.ErrMalformed, false},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := tt.s.Identify(t.Context(), tt.token)
			if !errors.Is(err, tt.want) || key.ID != "" || errors.Is(err, apikey.ErrUnprovable) != tt.unprovable {
				t.Fatalf("Identify = %+v, %v; want %v and unprovable %t", key, err, tt.want, tt.unprovable)
			}
			if errors.MessageOf(err) != errors.MessageOf(apikey.ErrMalformed) || !strings.HasPrefix(err.Error(), "apikey.Identify: ") || strings.Contains(err.Error(), "Verify") {
				t.Errorf("message %q of %q", errors.MessageOf(err), err)
			}
		})
	}
}

func other(b byte) string {
	if b == 'a' {
		return "b"
	}
	return "a"
}

func TestIdentifyThatCannotDecide(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	store.before = func(string) error { return errors.New("down") }
	if _, err := s.Identify(t.Context(), issued.Secret.Reveal()); errors.CodeOf(err) != errors.Unavailable {
		t.Errorf("Identify = %v, want unavailable", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	store.before = func(string) error { return nil }
	if _, err := s.Identify(ctx, issued.Secret.Reveal()); errors.CodeOf(err) != errors.DeadlineExceeded {
		t.Errorf("Identify = %v, want the context's end", err)
	}
}
