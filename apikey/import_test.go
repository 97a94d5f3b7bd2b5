package apikey_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/legacy"
	"github.com/keytoll/keytoll/errors"
)

// hexed is a way in which another system made keys: "old_" and 32 hexadecimal
// digits, kept as SHA-256 in hex.
func hexed() apikey.Legacy {
	return apikey.Legacy{
		Name:   "sha256",
		Shape:  apikey.Shape{Prefix: "old_", MinLength: 36, Alphabet: "0123456789abcdef"},
		Scheme: legacy.SHA256Hex{},
	}
}

// old returns the text of a key that hexed made, and what was kept of it.
func old(n int) (text, encoded string) {
	text = fmt.Sprintf("old_%032x", n+0xabc000)
	sum := sha256.Sum256([]byte(text))
	return text, hex.EncodeToString(sum[:])
}

func row(n int, owner string) apikey.ImportRow {
	_, encoded := old(n)
	return apikey.ImportRow{Spec: apikey.Spec{Owner: owner}, Scheme: "sha256", Encoded: encoded}
}

func importRows(t testing.TB, s *apikey.Service, rows ...apikey.ImportRow) []apikey.ImportResult {
	t.Helper()
	results, err := s.Import(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Outcome != apikey.ImportDone || r.Err != nil {
			t.Fatalf("row %d: %s, %v", i, r.Outcome, r.Err)
		}
	}
	return results
}

func outcomes(results []apikey.ImportResult) (all []apikey.ImportOutcome) {
	for _, r := range results {
		all = append(all, r.Outcome)
	}
	return all
}

func TestImportKeepsWhatTheRowSays(t *testing.T) {
	c := newClock()
	store := apikey.NewMemoryStore()
	s := newService(t, store, sk(t, apikey.FormatOptions{}), &apikey.Options{Now: c.now, Legacy: []apikey.Legacy{hexed()}})
	text, encoded := old(1)
	r := apikey.ImportRow{
		Spec: full(t), Scheme: "sha256", Encoded: encoded, Start: "old_00", Last4: text[len(text)-4:],
		CreatedAt: c.at.Add(-24*time.Hour + 7), LastUsedAt: c.at.Add(-time.Minute), State: apikey.StateActive,
	}
	who := apikey.Actor{ID: "migration", IP: netip.MustParseAddr("192.0.2.9")}
	results, err := s.Import(apikey.WithActor(t.Context(), who), []apikey.ImportRow{r})
	if err != nil || results[0].Err != nil {
		t.Fatal(results, err)
	}
	key := results[0].Key
	created := c.at.Add(-24 * time.Hour)
	want := apikey.Key{
		ID: key.ID, Owner: r.Spec.Owner, Name: r.Spec.Name, Environment: "live", Scopes: r.Spec.Scopes, Metadata: r.Spec.Metadata,
		Settings: r.Spec.Settings, Networks: r.Spec.Networks, CreatedAt: created, SecretAt: created, ExpiresAt: created.Add(r.Spec.TTL),
		LastUsedAt: c.at.Add(-time.Minute), State: apikey.StateActive, Start: "old_00", Last4: "c001", Meter: key.ID, Version: 1,
	}
	if !key.Equal(want) || !strings.HasPrefix(key.ID, "key_") || len(key.ID) != 24 {
		t.Errorf("imported %+v\nwant %+v", key, want)
	}
	if got := must(s.Get(t.Context(), key.ID))(t); !got.Equal(want) {
		t.Errorf("stored %+v\nwant %+v", got, want)
	}
	events := must(store.Events(t.Context(), apikey.EventQuery{Owner: r.Spec.Owner, Limit: 10}))(t)
	if len(events) != 1 || events[0].Kind != apikey.EventImported || events[0].Key != key.ID || events[0].Actor != who ||
		!events[0].At.Equal(c.at) || events[0].Note != "sha256" {
		t.Errorf("events %+v", events)
	}
	verified, err := s.Verify(t.Context(), text, &apikey.VerifyOptions{IP: netip.MustParseAddr("10.1.1.1"), Environment: "live"})
	if err != nil || verified.ID != key.ID {
		t.Errorf("Verify = %+v, %v", verified, err)
	}
}

// The environment of an imported key is its record's, since its text bears none.
func TestImportedKeyBelongsToTheEnvironmentOfItsRecord(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), sk(t, apikey.FormatOptions{}), &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
	r := row(1, "a")
	r.Spec.Environment = "test"
	importRows(t, s, r)
	text, _ := old(1)
	for environment, want := range map[string]error{"": nil, "test": nil, "live": apikey.ErrEnvironment} {
		key, err := s.Verify(t.Context(), text, &apikey.VerifyOptions{Environment: environment})
		if !errors.Is(err, want) || err == nil && key.Environment != "test" {
			t.Errorf("environment %q: %q, %v; want %v", environment, key.Environment, err, want)
		}
	}
	r = row(2, "a") // and it must have one
	if results := must(s.Import(t.Context(), []apikey.ImportRow{r}))(t); results[0].Outcome != apikey.ImportRefused {
		t.Errorf("without an environment: %s", results[0].Outcome)
	}
}

func TestImportByText(t *testing.T) {
	store := apikey.NewMemoryStore()
	f := sk(t, apikey.FormatOptions{})
	s := newService(t, store, f, &apikey.Options{Legacy: []apikey.Legacy{hexed()}, Peppers: []apikey.Pepper{pepper}})
	own := generate(t, f, "test")
	text, encoded := old(1)
	results := importRows(t, s,
		apikey.ImportRow{Spec: apikey.Spec{Owner: "a"}, Text: apikey.NewSecret(own)},
		apikey.ImportRow{Spec: apikey.Spec{Owner: "a", Environment: "live"}, Text: apikey.NewSecret(text)})
	for i, tt := range []struct{ text, environment, start string }{{own, "test", own[:12]}, {text, "live", "old_"}} {
		key := results[i].Key
		if key.Environment != tt.environment || key.Start != tt.start || key.Last4 != tt.text[len(tt.text)-4:] {
			t.Errorf("%s: environment %q, start %q, last four %q", tt.start, key.Environment, key.Start, key.Last4)
		}
		if verified, err := s.Verify(t.Context(), tt.text, nil); err != nil || verified.ID != key.ID {
			t.Errorf("%s: Verify = %s, %v", tt.start, verified.ID, err)
		}
		rec := must(store.ByID(t.Context(), key.ID))(t)
		if rec.Imported != (apikey.Imported{}) || rec.Digest.Version != pepper.Version {
			t.Errorf("%s: kept as %+v, %d", tt.start, rec.Imported, rec.Digest.Version)
		}
	}
	// The same key by its text and by its digest is the same key.
	again := must(s.Import(t.Context(), []apikey.ImportRow{
		{Spec: apikey.Spec{Owner: "b", Environment: "live"}, Scheme: "sha256", Encoded: encoded},
		{Spec: apikey.Spec{Owner: "b", Environment: "live"}, Scheme: "sha256", Encoded: strings.ToUpper(encoded)},
	}))(t)
	for i, r := range again {
		if r.Outcome != apikey.ImportRefused || !errors.Is(r.Err, apikey.ErrExists) || errors.CodeOf(r.Err) != errors.Exists {
			t.Errorf("again, row %d: %s, %v", i, r.Outcome, r.Err)
		}
	}
}

func TestImportRefusesARowWithAllItsFaults(t *testing.T) {
	c := newClock()
	bcrypted := apikey.Legacy{
		Name: "bcrypt", Shape: apikey.Shape{MinLength: 20, MaxLength: 40},
		Handle: func(text string) string { return text[:8] }, Scheme: legacy.Bcrypt{},
	}
	plainOnly := apikey.Legacy{Name: "none", Shape: apikey.Shape{MinLength: 10}}
	s := newService(t, apikey.NewMemoryStore(), sk(t, apikey.FormatOptions{}), &apikey.Options{Now: c.now, Legacy: []apikey.Legacy{hexed(), bcrypted, plainOnly}})
	_, encoded := old(1)
	const slow = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	live := apikey.Spec{Owner: "a", Environment: "live"}
	for name, tt := range map[string]struct {
		row  apikey.ImportRow
		want []string
	}{
		"nothing":         {apikey.ImportRow{}, []string{"owner", "environment", "neither the key's text nor its digest"}},
		"text and digest": {apikey.ImportRow{Spec: live, Text: apikey.NewSecret("old_1"), Scheme: "sha256", Encoded: encoded}, []string{"both the text and a digest"}},
		"text and handle": {apikey.ImportRow{Spec: live, Text: apikey.NewSecret("old_1"), Handle: "x"}, []string{"both the text and a digest"}},
		"another's text":  {apikey.ImportRow{Spec: live, Text: apikey.NewSecret("nobodys_key_at_all!")}, []string{"the text, of 19 bytes, is neither"}},
		"a fake": {apikey.ImportRow{Spec: live, Text: apikey.NewSecret(sk(t, apikey.FormatOptions{}).Fake("live"))},
			[]string{"is neither a key of the format"}},
		"other environment": {apikey.ImportRow{Spec: live, Text: apikey.NewSecret(generate(t, s.Format(), "test"))}, []string{`environment "test" and the spec says "live"`}},
		"unknown scheme":    {apikey.ImportRow{Spec: live, Scheme: "md5", Encoded: encoded}, []string{`scheme "md5"`, "sha256, bcrypt"}},
		"no scheme":         {apikey.ImportRow{Spec: live, Encoded: encoded}, []string{"neither"}},
		"scheme by text":    {apikey.ImportRow{Spec: live, Scheme: "none", Encoded: encoded}, []string{`scheme "none"`}},
		"bad digest":        {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded[1:]}, []string{"63 characters; give 64"}},
		"long digest":       {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: strings.Repeat("a", 1025)}, []string{"1025 bytes; give at most 1024"}},
		"digest with NUL":   {apikey.ImportRow{Spec: live, Scheme: "bcrypt", Handle: "x", Encoded: slow[:59] + "\x00"}, []string{"without control characters"}},
		"needless handle":   {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, Handle: "x"}, []string{"leave it empty"}},
		"missing handle":    {apikey.ImportRow{Spec: live, Scheme: "bcrypt", Encoded: slow}, []string{"the handle has 0 bytes"}},
		"long handle":       {apikey.ImportRow{Spec: live, Scheme: "bcrypt", Encoded: slow, Handle: strings.Repeat("x", 256)}, []string{"the handle has 256 bytes"}},
		"made tomorrow":     {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, CreatedAt: c.at.Add(1e3)}, []string{"CreatedAt", "after now"}},
		"used tomorrow":     {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, LastUsedAt: c.at.Add(1)}, []string{"LastUsedAt", "after now"}},
		"ended before it was made": {apikey.ImportRow{Spec: apikey.Spec{Owner: "a", Environment: "live", ExpiresAt: c.at.Add(-2)}, CreatedAt: c.at.Add(-1), Scheme: "sha256", Encoded: encoded},
			[]string{"is not after CreatedAt"}},
		"deleted":       {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, State: apikey.StateDeleted}, []string{"state is deleted"}},
		"odd state":     {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, State: 99}, []string{"state is state(99)"}},
		"idle reason":   {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, RevokedReason: "x"}, []string{"RevokedReason is given"}},
		"odd reason":    {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, State: apikey.StateRevoked, RevokedReason: "a\n"}, []string{"RevokedReason"}},
		"long start":    {apikey.ImportRow{Spec: live, Scheme: "sha256", Encoded: encoded, Start: strings.Repeat("x", 65), Last4: "12345"}, []string{"Start and Last4 have 65 and 5"}},
		"several":       {apikey.ImportRow{Spec: apikey.Spec{Owner: "\n", TTL: -1}, Scheme: "x", Encoded: "y", State: 77}, []string{"owner", "TTL", "environment", "scheme", "state"}},
		"odd requestID": {apikey.ImportRow{Spec: apikey.Spec{Owner: "a", Environment: "live", RequestID: "\x00"}, Scheme: "sha256", Encoded: encoded}, []string{"request ID"}},
	} {
		good := row(7, "a")
		good.Spec.Environment = "live"
		results, err := s.Import(t.Context(), []apikey.ImportRow{tt.row, good, tt.row})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []apikey.ImportResult{results[0], results[2]} {
			if r.Outcome != apikey.ImportRefused || errors.CodeOf(r.Err) != errors.Invalid || !r.Key.Equal(apikey.Key{}) {
				t.Errorf("%s: %s, %v", name, r.Outcome, r.Err)
				continue
			}
			for _, want := range tt.want {
				if !strings.Contains(r.Err.Error(), want) {
					t.Errorf("%s: the error lacks %q: %v", name, want, r.Err)
				}
			}
			if text := tt.row.Text.Reveal(); text != "" && strings.Contains(r.Err.Error(), text) || len(tt.row.Encoded) > 20 && strings.Contains(r.Err.Error(), tt.row.Encoded[:20]) {
				t.Errorf("%s: the error tells what it must not: %v", name, r.Err)
			}
		}
		if results[1].Outcome == apikey.ImportDone { // the first time round
			continue
		}
		if !errors.Is(results[1].Err, apikey.ErrExists) {
			t.Errorf("%s: the row between: %s, %v", name, results[1].Outcome, results[1].Err)
		}
	}
}

// A disabled, revoked or expired key must not come to life by being moved.
func TestImportKeepsWhatIsSwitchedOff(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now, Legacy: []apikey.Legacy{hexed()}})
	disabled, revoked, expired := row(0, "a"), row(1, "a"), row(2, "a")
	disabled.State = apikey.StateDisabled
	revoked.State, revoked.RevokedReason = apikey.StateRevoked, "leaked"
	expired.CreatedAt, expired.Spec.TTL = c.at.Add(-2*time.Hour), time.Hour
	results := importRows(t, s, disabled, revoked, expired)
	for i, want := range []error{apikey.ErrDisabled, apikey.ErrRevoked, apikey.ErrExpired} {
		text, _ := old(i)
		if _, err := s.Verify(t.Context(), text, nil); !errors.Is(err, want) {
			t.Errorf("row %d: %v, want %v", i, err, want)
		}
	}
	if results[1].Key.RevokedReason != "leaked" {
		t.Errorf("the reason is %q", results[1].Key.RevokedReason)
	}
}

// One bad row, wherever it stands, keeps no other out (a batch that stops at the
// first is what unkey had to repair).
func TestImportSinglesOutWhatTheStoreRefuses(t *testing.T) {
	applies := 0
	store := &scripted{apikey.NewMemoryStore(), func(verb string) error {
		if verb == "Apply" {
			applies++
		}
		return nil
	}}
	s := newService(t, store, nil, &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
	importRows(t, s, row(3, "b"), row(777, "b"), row(1500, "b"))
	applies = 0
	rows := make([]apikey.ImportRow, 2500)
	for i := range rows {
		rows[i] = row(i, "a")
	}
	rows[1700] = row(12, "a") // given twice
	rows[2400].Encoded = "?"
	results := must(s.Import(t.Context(), rows))(t)
	for i, r := range results {
		bad := i == 3 || i == 777 || i == 1500 || i == 1700 || i == 2400
		if bad != (r.Outcome == apikey.ImportRefused) || !bad && r.Outcome != apikey.ImportDone || bad == (r.Err == nil) {
			t.Fatalf("row %d: %s, %v", i, r.Outcome, r.Err)
		}
	}
	if !errors.Is(results[1700].Err, apikey.ErrExists) || !strings.Contains(results[1700].Err.Error(), "rows[12]") {
		t.Errorf("the row given twice: %v", results[1700].Err)
	}
	if applies > 3+3*2*10 {
		t.Errorf("%d changes for 2500 rows with three bad ones", applies)
	}
	census := must(s.Census(t.Context()))(t)
	if want := []apikey.Count{{Scheme: "sha256", Keys: 2498}}; !slices.Equal(census, want) {
		t.Errorf("census %v, want %v", census, want)
	}
}

func TestImportWithRequestIDsCanBeRepeated(t *testing.T) {
	c := newClock()
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Now: c.now, Legacy: []apikey.Legacy{hexed()}})
	rows := make([]apikey.ImportRow, 40)
	for i := range rows {
		rows[i] = row(i, "a")
		rows[i].Spec.RequestID, rows[i].Spec.TTL = fmt.Sprint("row ", i), time.Hour
		rows[i].CreatedAt = c.at.Add(-time.Minute)
	}
	first := importRows(t, s, rows[:30]...)
	text, _ := old(4)
	must(s.Verify(t.Context(), text, nil))(t)
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.advance(time.Minute)
	again := must(s.Import(t.Context(), rows))(t)
	for i, r := range again {
		switch want := apikey.ImportReplayed; {
		case i >= 30 && r.Outcome != apikey.ImportDone:
			t.Errorf("row %d, for the first time: %s, %v", i, r.Outcome, r.Err)
		case i < 30 && (r.Outcome != want || r.Err != nil || r.Key.ID != first[i].Key.ID):
			t.Errorf("row %d, again: %s, %v, %s", i, r.Outcome, r.Err, r.Key.ID)
		}
	}
	if err := s.Delete(t.Context(), first[5].Key.ID); err != nil {
		t.Fatal(err)
	}
	other, stolen, gone := rows[6], row(3, "a"), rows[5]
	other.Spec.Name = "another"
	stolen.Spec.RequestID = "row 99" // of a key that is in
	twice := row(99, "a")
	twice.Spec.RequestID = "row 99"
	elsewhere := row(98, "b") // request IDs are the owner's
	elsewhere.Spec.RequestID = "row 0"
	results := must(s.Import(t.Context(), []apikey.ImportRow{other, stolen, gone, twice, elsewhere}))(t)
	for i, want := range []error{apikey.ErrIntent, apikey.ErrExists, apikey.ErrNotFound, apikey.ErrExists, nil} {
		if !errors.Is(results[i].Err, want) || (want == nil) != (results[i].Outcome == apikey.ImportDone) {
			t.Errorf("row %d: %s, %v; want %v", i, results[i].Outcome, results[i].Err, want)
		}
	}
}

// A store that goes down in the middle leaves no doubt that could be avoided.
func TestImportSaysWhatIsInWhenTheStoreFails(t *testing.T) {
	down := errors.New("connection lost")
	for _, tt := range []struct {
		name string
		in   bool // the change at which it fails comes true all the same
		back bool // it answers again at once
		want []apikey.ImportOutcome
		err  bool
	}{
		{"and the change is lost", false, false, []apikey.ImportOutcome{apikey.ImportDone, apikey.ImportUnknown, apikey.ImportUntried}, true},
		{"and the change came true", true, false, []apikey.ImportOutcome{apikey.ImportDone, apikey.ImportUnknown, apikey.ImportUntried}, true},
		{"and is back without the change", false, true, []apikey.ImportOutcome{apikey.ImportDone, apikey.ImportUnknown, apikey.ImportUntried}, true},
		{"and is back with the change", true, true, []apikey.ImportOutcome{apikey.ImportDone, apikey.ImportDone, apikey.ImportDone}, false},
	} {
		store := &failing{MemoryStore: apikey.NewMemoryStore()}
		s := newService(t, store, nil, &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
		rows := make([]apikey.ImportRow, 2500)
		for i := range rows {
			rows[i] = row(i, "a")
			rows[i].Spec.RequestID = fmt.Sprint(i)
		}
		rows[1200].Encoded = "?"
		applies := 0
		store.apply = func(through func() error) error {
			if applies++; applies != 2 {
				return through()
			}
			store.down = !tt.back
			if tt.in {
				if err := through(); err != nil {
					t.Fatal(err)
				}
			}
			return down
		}
		results, err := s.Import(t.Context(), rows)
		if (err != nil) != tt.err || tt.err && (!errors.Is(err, down) || errors.CodeOf(err) != errors.Unavailable) {
			t.Errorf("%s: %v", tt.name, err)
		}
		store.down = false
		for i, r := range results {
			n := i
			if i > 1200 {
				n-- // the bad row is in no change
			}
			want := tt.want[n/1000]
			if i == 1200 {
				want = apikey.ImportRefused
			}
			_, err := store.MemoryStore.ByID(t.Context(), r.Key.ID)
			if r.Outcome != want || (want == apikey.ImportDone) != (err == nil) || (want == apikey.ImportDone) != (r.Err == nil) {
				t.Fatalf("%s: row %d: %s, %v; want %s", tt.name, i, r.Outcome, r.Err, want)
			}
		}
		// Given again, all of it is in, once.
		again := must(s.Import(t.Context(), rows))(t)
		for i, r := range again {
			if want := i != 1200; want != (r.Outcome == apikey.ImportDone || r.Outcome == apikey.ImportReplayed) {
				t.Fatalf("%s: row %d, again: %s, %v", tt.name, i, r.Outcome, r.Err)
			}
		}
		if got := must(s.Census(t.Context()))(t); len(got) != 1 || got[0].Keys != 2499 {
			t.Errorf("%s: census %v", tt.name, got)
		}
	}
}

// A failing store decides what becomes of Apply, and can be down for reads.
type failing struct {
	*apikey.MemoryStore
	apply func(through func() error) error
	down  bool
}

func (f *failing) Apply(ctx context.Context, c apikey.Change) error {
	return f.apply(func() error { return f.MemoryStore.Apply(ctx, c) })
}

func (f *failing) ByID(ctx context.Context, id string) (apikey.Record, error) {
	if f.down {
		return apikey.Record{}, errors.New("still down")
	}
	return f.MemoryStore.ByID(ctx, id)
}

func TestImportOverIsNotTried(t *testing.T) {
	s := newService(t, apikey.NewMemoryStore(), nil, &apikey.Options{Legacy: []apikey.Legacy{hexed()}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	results, err := s.Import(ctx, []apikey.ImportRow{row(1, "a"), {}})
	if want := []apikey.ImportOutcome{apikey.ImportUntried, apikey.ImportRefused}; !errors.Is(err, context.Canceled) || !slices.Equal(outcomes(results), want) {
		t.Errorf("%v, %v; want %v", outcomes(results), err, want)
	}
	if results, err := s.Import(t.Context(), nil); len(results) != 0 || err != nil {
		t.Errorf("nothing: %v, %v", results, err)
	}
}

// A row that is printed shows no key.
func TestImportRowRedactsItsText(t *testing.T) {
	text, _ := old(1)
	said := fmt.Sprintf("%v %+v %#v %s", apikey.ImportRow{Text: apikey.NewSecret(text)}, []apikey.ImportRow{{Text: apikey.NewSecret(text)}},
		apikey.ImportRow{Text: apikey.NewSecret(text)}, apikey.NewSecret(text))
	if strings.Contains(said, text[4:]) {
		t.Error(said)
	}
}
