package apikey_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// dump writes all that v holds, bytes in hex too, as a dump of a store would.
func dump(v any) string {
	var b strings.Builder
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Struct:
			for _, field := range v.Fields() {
				walk(field)
			}
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() == reflect.Uint8 {
				raw := make([]byte, v.Len())
				for i := range raw {
					raw[i] = byte(v.Index(i).Uint())
				}
				fmt.Fprintf(&b, "%s %x\n", raw, raw)
				return
			}
			for i := range v.Len() {
				walk(v.Index(i))
			}
		case reflect.String:
			fmt.Fprintln(&b, v.String())
		}
	}
	walk(reflect.ValueOf(v))
	return b.String()
}

func TestDumpFindsText(t *testing.T) {
	rec := apikey.Record{Handle: "in the handle", Sealed: []byte("in the bytes")}
	text := dump([]apikey.Change{{Insert: []apikey.Record{rec}, Events: []apikey.Event{{Changes: []apikey.FieldChange{{After: "in the change"}}}}}})
	for _, want := range []string{"in the handle", "in the bytes", "in the change", fmt.Sprintf("%x", "in the bytes")} {
		if !strings.Contains(text, want) {
			t.Fatalf("the dump lacks %q: %s", want, text)
		}
	}
}

// The canary: whatever is done with a key, its secret is in no stored byte, event,
// notice, error or log.
func TestNoFlowLeaksTheSecret(t *testing.T) {
	for name, o := range map[string]apikey.FormatOptions{"id and checksum": {}, "nothing but the secret": {NoID: true, NoChecksum: true}} {
		o.Environments = []string{"live"}
		c := newClock()
		store := &witness{Store: apikey.NewMemoryStore()}
		policy := apikey.Policy{MayCreate: true, Scopes: granted(t, "*"), MaxKeys: 3, UniqueNames: true}
		s := newService(t, store, newFormat(t, "sk", &o), &apikey.Options{Now: c.now, Policy: always(&policy)})
		var tokens []string
		var said []any // errors and answers
		keep := func(issued apikey.Issued, err error) apikey.Issued {
			if !issued.Secret.IsZero() {
				tokens = append(tokens, issued.Secret.Reveal())
			}
			said = append(said, issued, err)
			return issued
		}
		say := func(v ...any) { said = append(said, v...) }

		spec := full(t)
		spec.RequestID, spec.Networks = "r", apikey.Networks{}
		first := keep(s.Create(t.Context(), spec))
		keep(s.Create(t.Context(), spec))
		spec.Metadata = apikey.Metadata{}
		keep(s.Create(t.Context(), spec))
		keep(s.Clone(t.Context(), first.Key.ID, apikey.Changes{}))
		keep(s.Clone(t.Context(), first.Key.ID, apikey.Changes{Name: new("clone")}))
		c.advance(47 * time.Hour)
		for range 3 { // the third is beyond the limit
			keep(s.Create(t.Context(), apikey.Spec{Owner: "acct_7", Environment: "live"}))
		}
		say(s.Verify(t.Context(), first.Secret.Reveal(), &apikey.VerifyOptions{Environment: "test"}))
		say(s.Remind(t.Context(), nil))
		heir := keep(s.Rotate(t.Context(), first.Key.ID, time.Hour))
		keep(s.Rotate(t.Context(), first.Key.ID, time.Hour))
		say(s.Readiness(t.Context(), first.Key.ID))
		young := keep(s.Regenerate(t.Context(), heir.Key.ID))
		for _, token := range tokens {
			say(s.Verify(t.Context(), token, nil))
			say(s.Identify(t.Context(), token))
			say(s.Verify(t.Context(), token[:len(token)-1]+"?", nil))
			swapped := token[:len(token)-20] + token[len(token)-19:] + "a"
			say(s.Verify(t.Context(), swapped, nil))
		}
		say(s.Disable(t.Context(), young.Key.ID))
		say(s.Enable(t.Context(), young.Key.ID))
		say(s.SuspendOwner(t.Context(), "acct_7", "unpaid"))
		say(s.Verify(t.Context(), young.Secret.Reveal(), nil))
		say(s.RestoreOwner(t.Context(), "acct_7", "paid"))
		say(s.RevokeSelf(t.Context(), young.Secret.Reveal(), "leaked"))
		say(s.RevokeSelf(t.Context(), heir.Secret.Reveal(), "leaked"))
		say(s.RevokeOwner(t.Context(), "acct_7", "left"))
		say(s.Verify(t.Context(), young.Secret.Reveal(), nil))
		say(s.Delete(t.Context(), young.Key.ID), s.Flush(t.Context()), s.Close(t.Context()))
		say(s.Events(t.Context(), apikey.EventQuery{AnyOwner: true, Limit: 1000}))
		say(s.VerifyEvents(t.Context(), "acct_7", nil))
		say(s.List(t.Context(), apikey.Query{AnyOwner: true}))

		var logs bytes.Buffer
		for _, log := range []*slog.Logger{slog.New(slog.NewTextHandler(&logs, nil)), slog.New(slog.NewJSONHandler(&logs, nil))} {
			for _, v := range said {
				log.Info("said", "v", v)
			}
		}
		for _, v := range said {
			fmt.Fprintf(&logs, "%v %+v %#v\n", v, v, v)
			text, err := json.Marshal(v)
			fmt.Fprintln(&logs, string(text), err)
		}
		places := map[string]string{
			"answers, errors and logs": logs.String(), "changes": dump(store.since(0)), "records": dump(state(t, store)),
			"pointers followed": dump(said),
		}
		if len(tokens) < 5 {
			t.Fatalf("%s: %d tokens", name, len(tokens))
		}
		for where, text := range places {
			if len(text) < 1000 {
				t.Errorf("%s: %s hold %d bytes only", name, where, len(text))
			}
			for i, token := range tokens {
				if secretIn(text, token) {
					t.Errorf("%s: the secret of key %d is in the %s", name, i, where)
				}
			}
		}
	}
}

// secretIn reports whether text holds sixteen characters of the secret part in a
// row, as they are or in hex.
func secretIn(text, token string) bool {
	for at := len(token) - 32; at+16 <= len(token); at++ {
		if piece := token[at : at+16]; strings.Contains(text, piece) || strings.Contains(text, fmt.Sprintf("%x", piece)) {
			return true
		}
	}
	return false
}
