package webhook_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

func listOf(keys webhook.Keys) []webhook.Key { return slices.Collect(keys.All()) }

// Until the grace is over both keys sign, and afterwards the new one alone: the
// unit of the grace is the same wherever it counts.
func TestARotatedSecretSignsBesideTheOldOneForTheGrace(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	made := o.hire(t, "ep_1", webhook.Settings{})
	o.clock.Advance(time.Minute)
	key := must(o.RotateSecret(t.Context(), "ep_1", webhook.Key{ID: "second"}, time.Hour))(t)
	if key.ID != "second" || key.Secret.IsZero() || key.Secret.Equal(made.Secret) {
		t.Errorf("%+v", key)
	}
	keys := listOf(must(o.EndpointKeys(t.Context(), "ep_1"))(t))
	if len(keys) != 2 || !keys[0].Secret.Equal(key.Secret) || !keys[0].NotAfter.IsZero() ||
		!keys[1].Secret.Equal(made.Secret) || !keys[1].NotAfter.Equal(o.clock.Now().Add(time.Hour)) {
		t.Errorf("%+v", keys)
	}
	if e := must(o.Endpoint(t.Context(), "ep_1"))(t); !e.UpdatedAt.Equal(o.clock.Now()) {
		t.Errorf("updated at %v", e.UpdatedAt)
	}
	third := must(o.RotateSecret(t.Context(), "ep_1", webhook.Key{}, 0))(t) // one that has leaked
	if keys := listOf(must(o.EndpointKeys(t.Context(), "ep_1"))(t)); len(keys) != 1 || !keys[0].Secret.Equal(third.Secret) {
		t.Errorf("%+v", keys)
	}
}

func TestRotatingAgainDoesNothing(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	next := webhook.Key{Secret: must(webhook.SecretFromString(testSecret))(t)}
	first := must(o.RotateSecret(t.Context(), "ep_1", next, time.Hour))(t)
	before := listOf(must(o.EndpointKeys(t.Context(), "ep_1"))(t))
	o.clock.Advance(time.Minute)
	if again := must(o.RotateSecret(t.Context(), "ep_1", next, time.Hour))(t); again.ID != first.ID {
		t.Errorf("again: %+v", again)
	}
	if after := listOf(must(o.EndpointKeys(t.Context(), "ep_1"))(t)); len(after) != 2 || !after[1].NotAfter.Equal(before[1].NotAfter) {
		t.Errorf("the grace began anew: %+v", after)
	}
	if e := must(o.Endpoint(t.Context(), "ep_1"))(t); e.UpdatedAt.Equal(o.clock.Now()) {
		t.Error("it was written")
	}
}

func TestAGeneratedSecretIsOfTheKindInUse(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	private, _ := webhook.GenerateKeyPair()
	for i, key := range []webhook.Key{
		{Secret: webhook.GenerateSecret()},
		{Secret: webhook.GenerateSecret(), Scheme: webhook.Standard("acme-")},
		{Secret: must(webhook.SecretFromRaw(webhook.GenerateSecret().Reveal()))(t), Scheme: webhook.Stripe()},
		{Secret: private},
	} {
		id := fmt.Sprint("ep_", i)
		spec := webhook.EndpointSpec{ID: id, Account: "acme", Settings: webhook.Settings{URL: "https://example.com"}, Keys: must(webhook.NewKeys(key))(t)}
		must(o.CreateEndpoint(t.Context(), spec))(t)
		next := must(o.RotateSecret(t.Context(), id, webhook.Key{}, 0))(t)
		was := listOf(spec.Keys)[0]
		if next.Secret.Kind() != was.Secret.Kind() || next.Scheme != was.Scheme || next.Secret.Equal(was.Secret) {
			t.Errorf("after %v under %q comes %v under %q", was.Secret.Kind(), was.Scheme.Name, next.Secret.Kind(), next.Scheme.Name)
		}
	}
}

func TestKeysThatCannotSignAreRefused(t *testing.T) {
	held := must(webhook.NewKeys(webhook.Key{ID: "host", Secret: must(webhook.SecretFromString(otherSecret))(t)}))(t)
	o := open(t, webhook.SenderOptions{Keys: held})
	o.hire(t, "ep_1", webhook.Settings{})
	before := listOf(must(o.EndpointKeys(t.Context(), "ep_1"))(t))
	_, public := webhook.GenerateKeyPair()
	clashing := webhook.Stripe()
	clashing.Name, clashing.SignatureHeader = "mine", "Webhook-Signature"
	past := o.clock.Now()
	for _, tt := range []struct {
		name string
		key  webhook.Key
		want string
	}{
		{"a public key", webhook.Key{Secret: public}, "verif"},
		{"an expired one", webhook.Key{Secret: webhook.GenerateSecret(), NotAfter: past}, "expired"},
		{"one of the host's", webhook.Key{ID: "mine", Secret: must(webhook.SecretFromString(otherSecret))(t)}, "the secret is that of key"},
		{"one with the name of the host's", webhook.Key{ID: "host", Secret: webhook.GenerateSecret()}, "the ID is there twice"},
		{"a scheme that takes headers of the host's", webhook.Key{Secret: must(webhook.SecretFromRaw(webhook.GenerateSecret().Reveal()))(t), Scheme: clashing}, "uses one of its headers"},
		{"a scheme without a secret", webhook.Key{Scheme: webhook.Stripe()}, "a scheme and no secret"},
	} {
		_, err := o.RotateSecret(t.Context(), "ep_1", tt.key, time.Hour)
		if kterrors.CodeOf(err) != kterrors.Invalid || !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
		if tt.key.Secret.IsZero() || !tt.key.NotAfter.IsZero() {
			continue
		}
		spec := webhook.EndpointSpec{Account: "acme", Settings: webhook.Settings{URL: "https://example.com"}, Keys: must(webhook.NewKeys(tt.key))(t)}
		if _, err := o.CreateEndpoint(t.Context(), spec); kterrors.CodeOf(err) != kterrors.Invalid {
			t.Errorf("%s, at once: %v", tt.name, err)
		}
	}
	_, err := o.RotateSecret(t.Context(), "ep_1", webhook.Key{}, -1)
	wantFaults(t, err, "grace is -1ns")
	_, err = o.UpdateKeys(t.Context(), "ep_1", func(time.Time, webhook.Keys) (webhook.Keys, error) {
		return webhook.NewKeys(webhook.Key{Secret: webhook.GenerateSecret(), NotAfter: past})
	})
	wantFaults(t, err, "none that is live")
	_, err = o.UpdateKeys(t.Context(), "ep_1", func(time.Time, webhook.Keys) (webhook.Keys, error) { return webhook.Keys{}, nil })
	wantFaults(t, err, "none that is live")
	_, err = o.UpdateKeys(t.Context(), "ep_1", nil)
	wantFaults(t, err, "fn: nil")
	if after := listOf(must(o.EndpointKeys(t.Context(), "ep_1"))(t)); len(after) != 1 || !after[0].Secret.Equal(before[0].Secret) {
		t.Errorf("what was refused changed the keys: %+v", after)
	}
}

// From one scheme to another: both sign until the grace is over.
func TestASchemeIsChangedLikeAKey(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	o.hire(t, "ep_1", webhook.Settings{})
	keys := must(o.UpdateKeys(t.Context(), "ep_1", func(now time.Time, keys webhook.Keys) (webhook.Keys, error) {
		return keys.Rotate(webhook.Key{ID: "new", Secret: webhook.GenerateSecret(), Scheme: webhook.Standard("acme-")}, now, time.Hour)
	}))(t)
	list := listOf(keys)
	if len(list) != 2 || list[0].Scheme.Name != "standard-acme" || list[1].Scheme.Name != "standard" || list[1].NotAfter.IsZero() {
		t.Errorf("%+v", list)
	}
}

func TestSecretsOfEndpointsAreNotStoredInTheClear(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	made := o.hire(t, "ep_1", webhook.Settings{})
	text := made.Secret.Reveal()
	raw := must(base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_")))(t)
	for _, e := range must(o.store.Endpoints(t.Context(), webhook.EndpointQuery{Limit: 10}))(t) {
		if row := fmt.Appendf(nil, "%+v%s", e, e.Sealed); bytes.Contains(row, []byte(text[6:])) || bytes.Contains(row, raw) {
			t.Error("the row holds the secret")
		}
	}
	if got := fmt.Sprintf("%+v", made); strings.Contains(got, text[6:]) {
		t.Errorf("prints its secret: %s", got)
	}
}

func TestResealGoesFromOneSealingKeyToTheNext(t *testing.T) {
	const endpoints = 501 // more than a page
	first, second := webhook.GenerateSealingKey(1), webhook.GenerateSealingKey(2)
	store := webhook.NewMemoryStore(nil)
	under := func(keys ...webhook.SealingKey) *webhook.Sender {
		return must(webhook.NewSender(store, keys, nil))(t)
	}
	old, secrets := under(first), map[string]webhook.Secret{}
	for i := range endpoints {
		made := must(old.CreateEndpoint(t.Context(), webhook.EndpointSpec{ID: fmt.Sprint("ep_", i), Account: "acme", Settings: webhook.Settings{URL: "https://example.com"}}))(t)
		secrets[made.Endpoint.ID] = made.Secret
	}
	if _, err := under(second).EndpointKeys(t.Context(), "ep_0"); kterrors.CodeOf(err) != kterrors.Corrupt {
		t.Errorf("without the key it needs: %v", err)
	}
	if n, err := under(second).Reseal(t.Context()); n != 0 || kterrors.CodeOf(err) != kterrors.Corrupt || strings.Count(err.Error(), "endpoint ep_") != 10 {
		t.Errorf("without the key it needs: %d, %v", n, err)
	}
	both := under(second, first)
	if n, err := both.Reseal(t.Context()); n != endpoints || err != nil {
		t.Errorf("sealed %d, %v, want %d", n, err, endpoints)
	}
	if n, err := both.Reseal(t.Context()); n != 0 || err != nil {
		t.Errorf("sealed %d again, %v", n, err)
	}
	alone := under(second)
	for id, secret := range secrets {
		if keys := listOf(must(alone.EndpointKeys(t.Context(), id))(t)); !keys[0].Secret.Equal(secret) {
			t.Fatalf("%s has another secret", id)
		}
	}
}

// One endpoint that cannot be read does not keep the others from their new seal.
func TestResealPassesOverWhatItCannotRead(t *testing.T) {
	first, second := webhook.GenerateSealingKey(1), webhook.GenerateSealingKey(2)
	store := webhook.NewMemoryStore(nil)
	old := must(webhook.NewSender(store, []webhook.SealingKey{first}, nil))(t)
	for _, id := range []string{"ep_1", "ep_2", "ep_3"} {
		must(old.CreateEndpoint(t.Context(), webhook.EndpointSpec{ID: id, Account: "acme", Settings: webhook.Settings{URL: "https://example.com"}}))(t)
	}
	spoil := func(_ time.Time, e *webhook.Endpoint) error { e.Sealed[len(e.Sealed)-1] ^= 1; return nil }
	if err := store.Change(t.Context(), "ep_2", spoil); err != nil {
		t.Fatal(err)
	}
	n, err := must(webhook.NewSender(store, []webhook.SealingKey{second, first}, nil))(t).Reseal(t.Context())
	if n != 2 || kterrors.CodeOf(err) != kterrors.Corrupt || !strings.Contains(err.Error(), "endpoint ep_2") || strings.Contains(err.Error(), "ep_1") {
		t.Errorf("sealed %d, %v", n, err)
	}
}
