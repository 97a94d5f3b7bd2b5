package apikey_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
	"unsafe" // to compare addresses, in one test

	"github.com/keytoll/keytoll/apikey"
)

// mentions reports whether text holds the secret part of token, in one piece
// or as the bytes that printers make of it.
func mentions(text, token string) bool {
	secret := token[len(token)-38:]
	for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), strings.Trim(fmt.Sprint([]byte(secret)), "[]")} {
		if strings.Contains(text, form) {
			return true
		}
	}
	return false
}

func TestSecretRedactsEverywhere(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{})
	token := issued.Secret.Reveal()
	if !mentions(token, token) || !mentions(fmt.Sprintf("%x", token), token) {
		t.Fatal("the test finds nothing")
	}
	type hidden struct{ secret apikey.Secret } // fmt may not call methods in here
	values := map[string]any{
		"value": issued.Secret, "pointer": &issued.Secret, "issued": issued, "pointer to issued": &issued, "hidden": hidden{issued.Secret},
		"hidden pointer": &hidden{issued.Secret}, "slice": []apikey.Secret{issued.Secret}, "map": map[string]any{"k": issued.Secret},
		"interface": []any{hidden{issued.Secret}},
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "% x", "%d", "%o", "%b", "%c", "%U", "%T", "%p", "%t", "%e", "%10.3s", "%!"} {
			if text := fmt.Sprintf(verb, v); mentions(text, token) {
				t.Errorf("%s with %s prints the secret: %s", name, verb, text)
			}
		}
		if text := fmt.Sprint(v); mentions(text, token) {
			t.Errorf("Sprint of %s: %s", name, text)
		}
		if text, err := json.Marshal(v); err != nil || mentions(string(text), token) {
			t.Errorf("JSON of %s: %s, %v", name, text, err)
		}
		if text, err := xml.Marshal(v); err == nil && mentions(string(text), token) {
			t.Errorf("XML of %s: %s", name, text)
		}
		var logs bytes.Buffer
		slog.New(slog.NewJSONHandler(&logs, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&logs, nil)).Info("x", "v", v)
		if mentions(logs.String(), token) {
			t.Errorf("slog of %s: %s", name, logs.String())
		}
	}
	if got := fmt.Sprintf("%s %v %d", issued.Secret, issued.Secret, issued.Secret); got != "[redacted] [redacted] [redacted]" {
		t.Errorf("printed as %q", got)
	}
	if got := must(json.Marshal(issued.Secret))(t); string(got) != `"[redacted]"` {
		t.Errorf("JSON %s", got)
	}
	var zero apikey.Secret
	if zero.Reveal() != "" || !zero.IsZero() || issued.Secret.IsZero() || zero.String() != "[redacted]" {
		t.Error("the zero value holds something")
	}
}

// A store that holds on to what it was given must not hold on to the key's text
// with it: texts that are cut from one another share memory.
func TestRecordsShareNoMemoryWithTheSecret(t *testing.T) {
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{})
	rec := must(store.ByID(t.Context(), issued.Key.ID))(t)
	token := issued.Secret.Reveal()
	begin := uintptr(unsafe.Pointer(unsafe.StringData(token)))
	for name, text := range map[string]string{"handle": rec.Handle, "start": rec.Key.Start, "last four": rec.Key.Last4, "ID": rec.Key.ID} {
		if at := uintptr(unsafe.Pointer(unsafe.StringData(text))); at >= begin && at < begin+uintptr(len(token)) {
			t.Errorf("the %s is a piece of the key's text", name)
		}
	}
}

// TestCanary runs every flow and searches all that is stored, returned and
// said for the secrets.
func TestCanary(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, nil, &apikey.Options{Now: c.now, Peppers: []apikey.Pepper{pepper}})
	var said strings.Builder
	say := func(values ...any) { fmt.Fprintf(&said, "%+v\n", values) }

	first := create(t, s, apikey.Spec{TTL: 100 * time.Hour})
	second := must(s.Rotate(t.Context(), first.Key.ID, time.Hour))(t)
	tokens := []string{first.Secret.Reveal(), second.Secret.Reveal()}
	for _, token := range tokens {
		k, err := s.Verify(t.Context(), token, nil)
		say(k, err)
		for _, bad := range []string{token[1:], token + "x", "x" + token, token[:len(token)-1] + "!", strings.ToLower(token), " " + token} {
			k, err := s.Verify(t.Context(), bad, nil)
			say(k, err, bad == token)
			_, err = s.Format().Parse(bad)
			say(err)
		}
		for _, err := range verbs(t.Context(), s, apikey.Issued{Key: apikey.Key{ID: token}, Secret: first.Secret}) {
			say(err) // a key's text pasted where an ID belongs
		}
	}
	c.advance(2 * time.Hour)
	_, err := s.Verify(t.Context(), tokens[0], nil)
	say(err)
	say(s.Revoke(t.Context(), second.Key.ID, "canary"))
	_, err = s.Verify(t.Context(), tokens[1], nil)
	say(err, s.Close(t.Context()))
	for _, rec := range state(t, store) {
		say(rec)
		text := must(json.Marshal(rec))(t)
		say(string(text))
	}
	for _, token := range tokens {
		if mentions(said.String(), token) {
			t.Errorf("%s\nmentions the secret of %s", said.String(), token)
		}
	}
	if !strings.Contains(said.String(), first.Key.ID) {
		t.Error("the canary run said nothing")
	}
}
