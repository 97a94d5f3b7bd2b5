package apikey_test

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// A deed is something done to a key of [full], in the order of the table, and what
// the events must say of it: kind, fields changed, note.
type deed struct {
	name string
	do   func(t *testing.T, s *apikey.Service, c *clock, of *apikey.Issued)
	says []string
}

const made = "key.created on new: environment[|live] expires_at[|2026-03-03T12:00:00Z] last4 metadata[|{\"team\":\"blue\"}] name[|Production] networks[|10.0.0.0/8] " +
	"scopes[|image:generate models:read] settings[|{\"per_minute\":60}] start state[|active]"

var deeds = []deed{
	{"create", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) { *of = create(t, s, full(t)) }, []string{made}},
	{"rename", update(func(*testing.T, *clock) apikey.Changes { return apikey.Changes{Name: new("CI")} }), []string{"key.renamed: name[Production|CI]"}},
	{"several fields", update(func(t *testing.T, _ *clock) apikey.Changes {
		return apikey.Changes{
			Scopes: new(must(scopes.Parse("models:read"))(t)), Settings: new(apikey.Settings{}), Metadata: new(apikey.Metadata{}),
			Networks: new(networks(t, "192.0.2.0/24")), Name: new("CI"), // which it has
		}
	}), []string{
		"key.scopes_changed: scopes[image:generate models:read|models:read]", `key.metadata_changed: metadata[{"team":"blue"}|]`,
		`key.settings_changed: settings[{"per_minute":60}|]`, "key.networks_changed: networks[10.0.0.0/8|192.0.2.0/24]",
	}},
	{"another end", update(func(_ *testing.T, c *clock) apikey.Changes { return apikey.Changes{ExpiresAt: new(time.Time{})} }),
		[]string{"key.expiry_changed: expires_at[2026-03-03T12:00:00Z|]"}},
	{"no change", update(func(*testing.T, *clock) apikey.Changes { return apikey.Changes{Name: new("CI")} }), nil},
	{"disable", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.Disable(t.Context(), of.Key.ID))(t)
	},
		[]string{"key.disabled: state[active|disabled]"}},
	{"disable again", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.Disable(t.Context(), of.Key.ID))(t)
	}, nil},
	{"enable", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.Enable(t.Context(), of.Key.ID))(t)
	},
		[]string{"key.enabled: state[disabled|active]"}},
	{"regenerate", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		*of = must(s.Regenerate(t.Context(), of.Key.ID))(t)
	},
		[]string{"key.regenerated: last4 start"}},
	{"clone", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.Clone(t.Context(), of.Key.ID, apikey.Changes{}))(t)
	}, []string{"key.created on new: environment[|live] last4 name[|CI] networks[|192.0.2.0/24] scopes[|models:read] start state[|active]"}},
	{"rotate", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		*of = must(s.Rotate(t.Context(), of.Key.ID, time.Hour))(t)
	}, []string{
		"key.rotated on old: expires_at[|2026-03-01T13:00:00Z] successor",
		"key.created: environment[|live] last4 name[|CI] networks[|192.0.2.0/24] predecessor scopes[|models:read] start state[|active]",
	}},
	{"suspend", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.SuspendOwner(t.Context(), of.Key.Owner, "unpaid"))(t)
	}, []string{"owner.suspended on nobody: suspended[false|true] (unpaid)"}},
	{"suspend again", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.SuspendOwner(t.Context(), of.Key.Owner, "again"))(t)
	}, nil},
	{"restore", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.RestoreOwner(t.Context(), of.Key.Owner, "paid"))(t)
	}, []string{"owner.restored on nobody: suspended[true|false] (paid)"}},
	{"restore again", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.RestoreOwner(t.Context(), of.Key.Owner, ""))(t)
	}, nil},
	{"remind", func(t *testing.T, s *apikey.Service, c *clock, of *apikey.Issued) {
		c.advance(90 * 24 * time.Hour)
		must(s.Remind(t.Context(), &apikey.RemindOptions{Rotate: []time.Duration{90 * 24 * time.Hour}, Limit: 1}))(t)
	}, []string{"key.rotation_due on any:  (in use since 2026-03-01T12:00:00Z, for 2160h0m0s or more)"}},
	{"revoke self", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.RevokeSelf(t.Context(), of.Secret.Reveal(), "found on a forum"))(t)
	}, []string{"key.revoked: state[active|revoked] (found on a forum)"}},
	{"revoke", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.Revoke(t.Context(), of.Key.ID, "again"))(t)
	}, nil},
	{"revoke owner", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		must(s.RevokeOwner(t.Context(), of.Key.Owner, "left"))(t)
	}, []string{"owner.revoked on nobody: epoch[1|2] (left)"}},
	{"delete", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		if err := s.Delete(t.Context(), of.Key.ID); err != nil {
			t.Fatal(err)
		}
	}, []string{"key.deleted: state[revoked|deleted]"}},
	{"delete again", func(t *testing.T, s *apikey.Service, _ *clock, of *apikey.Issued) {
		if err := s.Delete(t.Context(), of.Key.ID); err != nil {
			t.Fatal(err)
		}
	}, nil},
}

func update(changes func(*testing.T, *clock) apikey.Changes) func(*testing.T, *apikey.Service, *clock, *apikey.Issued) {
	return func(t *testing.T, s *apikey.Service, c *clock, of *apikey.Issued) {
		must(s.Update(t.Context(), of.Key.ID, changes(t, c)))(t)
	}
}

// told writes an event as the table does; before and after are the keys that the
// deed began and ended with.
func told(e *apikey.Event, before, after string) string {
	on := map[string]string{after: "", "": " on nobody"}
	if before != after {
		on[before] = " on old"
	}
	where, known := on[e.Key]
	if !known || before == "" && where == "" {
		where = " on new"
	}
	if e.Kind == apikey.EventRotationDue {
		where = " on any"
	}
	var fields []string
	for _, c := range e.Changes {
		text := c.Field
		if !slices.Contains([]string{"start", "last4", "successor", "predecessor"}, c.Field) { // drawn at random
			text += "[" + c.Before + "|" + c.After + "]"
		}
		fields = append(fields, text)
	}
	slices.Sort(fields)
	text := string(e.Kind) + where + ": " + strings.Join(fields, " ")
	if e.Note != "" {
		text += " (" + e.Note + ")"
	}
	return text
}

// Every verb tells what it did, field by field, and what did nothing tells nothing.
// Event and change are one: both are in the same call of the store, which names
// every handle that caches must forget.
func TestEveryVerbWritesItsEvents(t *testing.T) {
	c := newClock()
	store := &witness{Store: apikey.NewMemoryStore()}
	f := newFormat(t, "sk", &apikey.FormatOptions{Environments: []string{"live"}})
	s := newService(t, store, f, &apikey.Options{Now: c.now})
	var of apikey.Issued
	for _, d := range deeds {
		before, n := of.Key.ID, len(store.changes)
		handles := handlesOf(t, store)
		d.do(t, s, c, &of)
		changes := store.since(n)
		if len(changes) > 1 || (len(changes) == 0) != (len(d.says) == 0) {
			t.Fatalf("%s: %d changes", d.name, len(changes))
		}
		var says []string
		for _, change := range changes {
			for _, e := range change.Events {
				says = append(says, told(&e, before, of.Key.ID))
				if !e.At.Equal(c.at) || e.Owner != "acct_7" {
					t.Errorf("%s: event %+v", d.name, e)
				}
			}
			checkNotices(t, d.name, &change, handles)
		}
		if !reflect.DeepEqual(says, d.says) {
			t.Errorf("%s says\n%q, want\n%q", d.name, says, d.says)
		}
	}
	if _, err := s.VerifyEvents(t.Context(), "acct_7", nil); err != nil {
		t.Error(err)
	}
}

// handlesOf returns the handle of each key.
func handlesOf(t *testing.T, store apikey.Store) map[string]string {
	t.Helper()
	handles := make(map[string]string)
	for _, rec := range state(t, store) {
		handles[rec.Key.ID] = rec.Handle
	}
	return handles
}

func checkNotices(t *testing.T, name string, c *apikey.Change, before map[string]string) {
	t.Helper()
	for _, rec := range c.Update {
		for _, handle := range []string{rec.Handle, before[rec.Key.ID]} {
			if !slices.Contains(c.Notices, apikey.Notice{Handle: handle}) {
				t.Errorf("%s: no notice of handle %q in %+v", name, handle, c.Notices)
			}
		}
	}
	if c.Owner != nil && !slices.Contains(c.Notices, apikey.Notice{Owner: c.Owner.ID}) {
		t.Errorf("%s: no notice of the owner in %+v", name, c.Notices)
	}
}

func TestEventsNameTheActor(t *testing.T) {
	for name, tt := range map[string]struct{ given, want apikey.Actor }{
		"a user":       {apikey.Actor{ID: "user_1", IP: netip.MustParseAddr("203.0.113.7")}, apikey.Actor{ID: "user_1", IP: netip.MustParseAddr("203.0.113.7")}},
		"mapped":       {apikey.Actor{IP: netip.MustParseAddr("::ffff:203.0.113.7")}, apikey.Actor{IP: netip.MustParseAddr("203.0.113.7")}},
		"zone":         {apikey.Actor{IP: netip.MustParseAddr("fe80::1").WithZone("a\x00b")}, apikey.Actor{IP: netip.MustParseAddr("fe80::1")}},
		"control text": {apikey.Actor{ID: "a\x00\x1b[31mb\u009b\xff"}, apikey.Actor{ID: "a[31mb"}},
		"long":         {apikey.Actor{ID: strings.Repeat("é", 200)}, apikey.Actor{ID: strings.Repeat("é", 127)}},
		"nobody":       {},
	} {
		s := newService(t, apikey.NewMemoryStore(), nil, nil)
		ctx := apikey.WithActor(t.Context(), tt.given)
		issued := must(s.Create(ctx, apikey.Spec{Owner: "a"}))(t)
		must(s.Revoke(ctx, issued.Key.ID, ""))(t)
		must(s.RevokeOwner(ctx, "a", ""))(t)
		for _, e := range must(s.Events(t.Context(), apikey.EventQuery{Owner: "a"}))(t).Events {
			if e.Actor != tt.want {
				t.Errorf("%s: %s by %+v, want %+v", name, e.Kind, e.Actor, tt.want)
			}
		}
	}
}

func TestRevokingOneselfIsOnTheKeysAccount(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{Owner: "a"})
	ip := netip.MustParseAddr("203.0.113.7")
	must(s.RevokeSelf(apikey.WithActor(t.Context(), apikey.Actor{IP: ip}), issued.Secret.Reveal(), ""))(t)
	e := must(s.Events(t.Context(), apikey.EventQuery{Owner: "a", Limit: 1}))(t).Events[0]
	if want := (apikey.Actor{ID: issued.Key.ID, IP: ip}); e.Kind != apikey.EventRevoked || e.Actor != want {
		t.Errorf("event %+v, want by %+v", e, want)
	}
}

// What does not come true is not told: a refusal leaves no event behind.
func TestARefusedChangeTellsNothing(t *testing.T) {
	store := &scripted{apikey.NewMemoryStore(), func(string) error { return nil }}
	s := newService(t, store, nil, nil)
	issued := create(t, s, apikey.Spec{Owner: "a"})
	before := must(s.Owner(t.Context(), "a"))(t)
	store.before = func(verb string) error {
		if verb == "Apply" {
			return errors.New("down")
		}
		return nil
	}
	verbs(t.Context(), s, issued)
	if after := must(s.Owner(t.Context(), "a"))(t); after != before {
		t.Errorf("owner %+v after refusals, want %+v", after, before)
	}
}

// Old logs keep showing who was meant: a key's events outlive the key.
func TestEventsOfADeletedKeyStay(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, nil)
	issued := create(t, s, apikey.Spec{Owner: "a", Name: "CI"})
	if err := s.Delete(t.Context(), issued.Key.ID); err != nil {
		t.Fatal(err)
	}
	page := must(s.Events(t.Context(), apikey.EventQuery{Owner: "a", Key: issued.Key.ID, OldestFirst: true}))(t)
	if len(page.Events) != 2 || !strings.Contains(fmt.Sprint(page.Events[0].Changes), "CI") {
		t.Errorf("events %+v", page.Events)
	}
}
