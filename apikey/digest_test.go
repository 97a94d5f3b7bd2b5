package apikey_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

func TestPeppers(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	old := apikey.Pepper{Version: 1, Secret: bytes.Repeat([]byte{1}, 32)}
	young := apikey.Pepper{Version: 2, Secret: bytes.Repeat([]byte{2}, 32)}
	retired := old
	retired.NotAfter = c.at.Add(24 * time.Hour)
	with := func(peppers ...apikey.Pepper) *apikey.Service {
		return newService(t, store, nil, &apikey.Options{Peppers: peppers, Now: c.now})
	}
	tokens := map[string]string{}
	tokens["plain"] = create(t, with(), apikey.Spec{}).Secret.Reveal()
	tokens["old"] = create(t, with(old), apikey.Spec{}).Secret.Reveal()
	tokens["young"] = create(t, with(young, old), apikey.Spec{}).Secret.Reveal()
	impostor := apikey.Pepper{Version: 1, Secret: bytes.Repeat([]byte{9}, 32)}
	for _, tt := range []struct {
		name  string
		s     *apikey.Service
		works []string
	}{
		{"adopting a pepper kills no key", with(old), []string{"plain", "old"}},
		{"rotating the pepper kills no key", with(young, old), []string{"plain", "old", "young"}},
		{"retiring it with an end kills no key yet", with(young, retired), []string{"plain", "old", "young"}},
		{"leaving a pepper out stops its keys alone", with(young), []string{"plain", "young"}},
		{"dropping all peppers stops their keys", with(), []string{"plain"}},
		{"another secret under an old version proves nothing", with(impostor), []string{"plain"}},
	} {
		for name, token := range tokens {
			_, err := tt.s.Verify(t.Context(), token, nil)
			if works := slices.Contains(tt.works, name); works != (err == nil) || !works && !errors.Is(err, apikey.ErrUnknown) {
				t.Errorf("%s: the %s key: %v", tt.name, name, err)
			}
		}
	}
	s := with(young, retired)
	for _, tt := range []struct {
		at   time.Time
		want error
	}{{retired.NotAfter.Add(-1), nil}, {retired.NotAfter, apikey.ErrUnknown}} {
		c.at = tt.at
		if _, err := s.Verify(t.Context(), tokens["old"], nil); !errors.Is(err, tt.want) {
			t.Errorf("at %v, with an end at %v: %v, want %v", tt.at, retired.NotAfter, err, tt.want)
		}
	}
}

// A host logs its configuration; the pepper must not be in it.
func TestPepperRedactsItself(t *testing.T) {
	secret := "correct horse battery staple and more"
	p := apikey.Pepper{Version: 7, Secret: []byte(secret)}
	options := apikey.Options{Peppers: []apikey.Pepper{p}}
	config := map[string]any{"peppers": options.Peppers, "pointer": &p}
	var said bytes.Buffer
	for _, v := range []any{p, &p, options, &options, config, newService(t, apikey.NewMemoryStore(), nil, &options)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%c"} {
			fmt.Fprintf(&said, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&said, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&said, nil)).Info("x", "v", v)
	}
	said.Write(must(json.Marshal(config))(t))
	for _, form := range []string{
		secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprintf("% x", secret),
		strings.Trim(fmt.Sprint([]byte(secret)), "[]"), strings.TrimSuffix(fmt.Sprintf("%#v", []byte(secret))[len("[]byte{"):], "}"),
		base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		if strings.Contains(said.String(), form) {
			t.Errorf("the pepper is printed as %s", form)
		}
	}
	if !strings.Contains(said.String(), "pepper 7 [redacted]") {
		t.Error("the test printed nothing")
	}
	var read apikey.Pepper
	if err := json.Unmarshal([]byte(`{"Version":7,"Secret":"AQID"}`), &read); err != nil || read.Version != 7 || len(read.Secret) != 3 {
		t.Errorf("read from JSON as version %d with %d bytes, %v", read.Version, len(read.Secret), err)
	}
}

// The service keeps its own copy of a pepper.
func TestPeppersAreCopied(t *testing.T) {
	secret := bytes.Repeat([]byte{1}, 32)
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Peppers: []apikey.Pepper{{Version: 1, Secret: secret}}})
	issued := create(t, s, apikey.Spec{})
	clear(secret)
	for range 100 { // more than one pooled state
		if _, err := s.Verify(t.Context(), issued.Secret.Reveal(), nil); err != nil {
			t.Fatal(err)
		}
	}
}
