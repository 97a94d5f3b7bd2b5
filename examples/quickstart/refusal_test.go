package main_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/scopes"
	"github.com/keytoll/keytoll/stores/sqlitestore"
)

// operator opens the keys in the quickstart's file as another process would, with
// a clock of its own, so that a test can have keys in every state.
func operator(t *testing.T, db string, now time.Time) *apikey.Service {
	t.Helper()
	store, err := sqlitestore.Open(db, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := apikey.NewService(store.Keys(), format(t), &apikey.Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := keys.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
		_ = store.Close(t.Context())
	})
	return keys
}

// format is the quickstart's.
func format(t *testing.T) *apikey.Format {
	t.Helper()
	f, err := apikey.NewFormat("kt", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "toll.db")
	yesterday := time.Now().Add(-24 * time.Hour)
	keys := operator(t, db, yesterday)
	mint := func(spec apikey.Spec) apikey.Issued {
		t.Helper()
		spec.Owner, spec.Name = "acct_other", "test"
		if spec.Environment == "" {
			spec.Environment = "live"
		}
		issued, err := keys.Create(t.Context(), spec)
		if err != nil {
			t.Fatal(err)
		}
		return issued
	}
	image, err := scopes.Parse("image:generate")
	if err != nil {
		t.Fatal(err)
	}
	revoked, disabled, deleted := mint(apikey.Spec{Scopes: image}), mint(apikey.Spec{Scopes: image}), mint(apikey.Spec{Scopes: image})
	if _, err := keys.Revoke(t.Context(), revoked.Key.ID, "leaked"); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.Disable(t.Context(), disabled.Key.ID); err != nil {
		t.Fatal(err)
	}
	if err := keys.Delete(t.Context(), deleted.Key.ID); err != nil {
		t.Fatal(err)
	}
	good := mint(apikey.Spec{Scopes: image}).Secret.Reveal()
	wrong, err := format(t).Generate("live", nil)
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, "-db", db)
	tests := map[string]struct {
		key    string
		status int
		code   string
	}{
		"missing":             {"", 401, "missing_key"},
		"malformed":           {"hello", 401, "invalid_key"},
		"mistyped":            {good[:len(good)-1] + "?", 401, "invalid_key"},
		"wrong":               {wrong.Reveal(), 401, "invalid_key"},
		"another environment": {strings.Replace(good, "_live_", "_test_", 1), 401, "invalid_key"},
		"documentation key":   {format(t).Fake("live"), 401, "invalid_key"},
		"deleted":             {deleted.Secret.Reveal(), 401, "invalid_key"},
		"revoked":             {revoked.Secret.Reveal(), 401, "revoked_key"},
		"disabled":            {disabled.Secret.Reveal(), 401, "disabled_key"},
		"expired":             {mint(apikey.Spec{Scopes: image, ExpiresAt: yesterday.Add(time.Hour)}).Secret.Reveal(), 401, "expired_key"},
		"sandbox":             {mint(apikey.Spec{Scopes: image, Environment: "test"}).Secret.Reveal(), 401, "wrong_environment"},
		"missing scope":       {mint(apikey.Spec{}).Secret.Reveal(), 403, "insufficient_scope"},
		"no credits":          {good, 402, "insufficient_credits"},
	}
	var before problem // what all refusals before proof have in common
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := p.image(t, tt.key)
			got := a.wantProblem(t, tt.status, tt.code, tt.key)
			challenge := a.header.Get("WWW-Authenticate")
			switch {
			case tt.code == "missing_key" && strings.Contains(challenge, "error="):
				t.Errorf("challenge %q: RFC 6750 wants no error code without a credential", challenge)
			case tt.status == http.StatusUnauthorized && !strings.HasPrefix(challenge, "Bearer"):
				t.Errorf("challenge %q, want Bearer", challenge)
			case tt.code == "insufficient_scope" && !strings.Contains(challenge, `scope="image:generate"`):
				t.Errorf("challenge %q, want the scope that is missing", challenge)
			}
			if tt.status == http.StatusUnauthorized && a.header.Get("RateLimit") != "" {
				t.Errorf("RateLimit %q on 401 shows a stranger somebody's traffic", a.header.Get("RateLimit"))
			}
			if tt.code == "invalid_key" {
				got.RequestID = ""
				if before != (problem{}) && got != before {
					t.Errorf("%+v differs from another refusal before proof: %+v", got, before)
				}
				before = got
			}
		})
	}
}
