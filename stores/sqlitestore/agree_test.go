package sqlitestore_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
	kerrors "github.com/keytoll/keytoll/errors"
)

// The memory store is the reference reading of the contract: whatever is done to
// both, both answer alike.
func TestFileAndMemoryAgree(t *testing.T) {
	const rounds = 1500
	seed := uint64(time.Now().UnixNano())
	play := &player{Rand: rand.New(rand.NewPCG(seed, 0)), t: t, memory: apikey.NewMemoryStore(), file: open(t, nil).Keys()}
	for n := range rounds {
		play.round()
		if t.Failed() {
			t.Fatalf("seed %d, round %d", seed, n)
		}
	}
	t.Logf("%d changes made, %d refused", play.made, play.refused)
	if play.made < rounds/10 || play.refused < rounds/10 {
		t.Errorf("seed %d: %d changes made and %d refused prove little", seed, play.made, play.refused)
	}
}

// A player does the same at random to both stores, in a world so small that most
// things meet.
type player struct {
	*rand.Rand
	t             *testing.T
	memory, file  apikey.Store
	made, refused int
}

func (p *player) round() {
	p.t.Helper()
	ctx := p.t.Context()
	if p.IntN(5) == 0 {
		uses := p.uses()
		p.alike("Touch", p.memory.Touch(ctx, uses), p.file.Touch(ctx, uses), uses)
	} else {
		c := p.change()
		err := p.memory.Apply(ctx, c)
		p.alike("Apply", err, p.file.Apply(ctx, c), fmt.Sprintf("%+v, cap %+v, owner %+v", c, c.Cap, c.Owner))
		if err == nil {
			p.made++
		} else {
			p.refused++
		}
	}
	handle, owner := p.name("handle", 12), p.owner()
	m, err := p.memory.ByHandle(ctx, handle)
	f, other := p.file.ByHandle(ctx, handle)
	p.alike("ByHandle", err, other, handle)
	p.same("ByHandle", record(m), record(f), handle)
	mo, err := p.memory.Owner(ctx, owner)
	fo, other := p.file.Owner(ctx, owner)
	p.alike("Owner", err, other, owner)
	p.same("Owner", mo, fo, owner)
	q := p.query()
	ml, err := p.memory.List(ctx, q)
	fl, other := p.file.List(ctx, q)
	p.alike("List", err, other, q)
	p.same("List", records(ml), records(fl), q)
	eq := p.eventQuery()
	me, err := p.memory.Events(ctx, eq)
	fe, other := p.file.Events(ctx, eq)
	p.alike("Events", err, other, eq)
	p.same("Events", me, fe, eq)
	mc, err := p.memory.Census(ctx)
	fc, other := p.file.Census(ctx)
	p.alike("Census", err, other, nil)
	for _, counts := range [][]apikey.Count{mc, fc} {
		slices.SortFunc(counts, func(a, b apikey.Count) int {
			return bytes.Compare(fmt.Append(nil, a.Version, " ", a.Scheme), fmt.Append(nil, b.Version, " ", b.Scheme))
		})
	}
	p.same("Census", mc, fc, nil)
}

// alike fails the test unless both succeed or both refuse. Where several reasons
// stand against a change each store may give its own.
func (p *player) alike(call string, memory, file error, arg any) {
	p.t.Helper()
	if (memory == nil) != (file == nil) || kerrors.CodeOf(file) == kerrors.Corrupt || kerrors.CodeOf(file) == kerrors.Unavailable {
		p.t.Errorf("%s(%+v): memory says %v, file says %v", call, arg, memory, file)
	}
}

func (p *player) same(call string, memory, file, arg any) {
	p.t.Helper()
	if m, f := fmt.Sprintf("%+v", memory), fmt.Sprintf("%+v", file); m != f {
		p.t.Errorf("%s(%+v):\nmemory %s\nfile   %s", call, arg, m, f)
	}
}

// record shows what a record holds.
func record(rec apikey.Record) string {
	return fmt.Sprintf("%+v %s %s %s %s", rec, rec.Key.Scopes, rec.Key.Metadata, rec.Key.Settings, rec.Key.Networks)
}

func records(recs []apikey.Record) (all []string) {
	for _, rec := range recs {
		all = append(all, record(rec))
	}
	return all
}

func (p *player) name(kind string, of int) string { return kind + strconv.Itoa(p.IntN(of)) }
func (p *player) owner() string                   { return []string{"", "a", "b"}[p.IntN(3)] }
func (p *player) flip() bool                      { return p.IntN(2) == 0 }

// at is an instant among few, or never.
func (p *player) at() time.Time {
	if p.IntN(4) == 0 {
		return time.Time{}
	}
	return p.instant()
}

func (p *player) instant() time.Time { return time.UnixMicro(1e15 + int64(p.IntN(8))).UTC() }

func (p *player) state() apikey.State { return apikey.State(1 + p.IntN(4)) }

func (p *player) states() []apikey.State {
	states := make([]apikey.State, 1+p.IntN(4))
	for i := range states {
		states[i] = p.state()
	}
	return states
}

func (p *player) digest() apikey.Digest {
	return apikey.Digest{Version: uint32(p.IntN(2)), Sum: [32]byte{byte(p.IntN(2))}}
}

func (p *player) imported() apikey.Imported {
	if p.flip() {
		return apikey.Imported{}
	}
	return apikey.Imported{Scheme: p.name("scheme", 2), Encoded: p.name("x", 2)}
}

func (p *player) event() apikey.Event {
	e := eventOf(p.owner(), p.name("key", 8))
	e.At, e.Kind, e.Note, e.Count = p.instant(), apikey.EventKind(p.name("kind", 3)), p.name("note", 9), int64(p.IntN(3))
	if p.flip() {
		e.Changes, e.Key = nil, ""
	}
	return e
}

// fill gives rec all that a change may replace.
func (p *player) fill(rec *apikey.Record) {
	k := &rec.Key
	k.Name, k.Environment, k.State, k.RevokedReason = p.name("name", 3), p.name("", 2), p.state(), p.name("why", 3)
	k.SecretAt, k.ExpiresAt, k.Successor = p.instant(), p.at(), ""
	if p.IntN(3) == 0 {
		k.Successor = p.name("key", 8)
	}
	rec.Digest, rec.Imported, rec.Label = p.digest(), p.imported(), ""
	if p.flip() {
		rec.Label = p.name("label", 2)
	}
	if k.State == apikey.StateDeleted {
		rec.Digest, rec.Imported = apikey.Digest{}, apikey.Imported{}
	}
	rec.Sealed = []byte(p.name("sealed", 3))
	rec.Reminded = apikey.Reminded{Expiry: time.Duration(p.IntN(3)) * time.Hour, Age: time.Duration(p.IntN(3)) * time.Hour}
}

// change is one that a service might make, but for its versions, names and caps.
func (p *player) change() (c apikey.Change) {
	ids, handles := p.Perm(8), p.Perm(12)
	held := make(map[string]bool) // handles that this change takes from a record
	for i := range p.IntN(4) {
		id := "key" + strconv.Itoa(ids[i])
		rec, err := p.memory.ByID(p.t.Context(), id)
		if err != nil {
			rec = apikey.Record{Handle: "handle" + strconv.Itoa(handles[i]), Key: apikey.Key{ID: id, Owner: p.owner(), CreatedAt: p.instant()}}
			if p.IntN(8) == 0 { // there is none
				rec.Key.Version = 2
				p.fill(&rec)
				c.Update = append(c.Update, rec)
				continue
			}
			p.fill(&rec)
			rec.Key.Version, rec.Key.LastUsedAt = 1, p.at()
			if p.flip() {
				rec.Epoch = 1
			}
			c.Insert = append(c.Insert, rec)
			continue
		}
		held[rec.Handle] = true
		p.fill(&rec)
		if rec.Key.Version++; p.IntN(12) == 0 {
			rec.Key.Version += int64(p.IntN(3)) - 1
		}
		if p.IntN(4) == 0 {
			rec.Handle = "handle" + strconv.Itoa(handles[i])
		}
		c.Update = append(c.Update, rec)
	}
	taken := make(map[string]bool)
	once := func(recs []apikey.Record, update bool) []apikey.Record {
		return slices.DeleteFunc(recs, func(rec apikey.Record) bool {
			own, err := p.memory.ByID(p.t.Context(), rec.Key.ID)
			moved := held[rec.Handle] && !(update && err == nil && own.Handle == rec.Handle)
			again := taken[rec.Handle]
			taken[rec.Handle] = true
			return moved || again
		})
	}
	c.Update, c.Insert = once(c.Update, true), once(c.Insert, false)
	if p.IntN(6) == 0 {
		o, err := p.memory.Owner(p.t.Context(), p.owner())
		if err != nil {
			p.t.Fatal(err)
		}
		o.Epoch += int64(p.IntN(2))
		o.Version += int64(p.IntN(5) / 4 * p.IntN(3)) // mostly the next
		o.Version++
		o.Suspended, o.RevokedReason, o.SuspendedReason, o.ChangedAt = p.flip(), p.name("why", 3), p.name("why", 3), p.at()
		c.Owner = &o
	}
	if p.IntN(3) == 0 {
		c.Cap = &apikey.Cap{Owner: p.owner(), Most: p.IntN(5), States: p.states(), LiveAt: p.at()}
	}
	for range p.IntN(3) {
		c.Events = append(c.Events, p.event())
	}
	return c
}

func (p *player) uses() (uses []apikey.Use) {
	for range p.IntN(4) {
		use := apikey.Use{ID: p.name("key", 9), At: p.at()}
		if p.flip() {
			use.Restamp = &apikey.Restamp{Was: p.digest(), Imported: p.imported(), Digest: p.digest()}
			rec, err := p.memory.ByID(p.t.Context(), use.ID)
			if err == nil && rec.Key.State == apikey.StateDeleted {
				use.Restamp = nil // nothing is proven by a tombstone
			} else if err == nil && p.flip() {
				use.Restamp.Was, use.Restamp.Imported = rec.Digest, rec.Imported
			}
		}
		uses = append(uses, use)
	}
	return uses
}

func (p *player) query() apikey.Query {
	q := apikey.Query{States: p.states(), Limit: 1 + p.IntN(5), Order: apikey.Order(p.IntN(2)), Unreplaced: p.flip()}
	for _, set := range []func(){
		func() { q.Owner = p.owner() },
		func() { q.Environment = p.name("", 2) },
		func() { q.LiveAt = p.instant() },
		func() { q.ExpiresBefore = p.instant() },
		func() { q.UnusedSince = p.instant() },
		func() { q.SecretBefore = p.instant() },
		func() { q.After = apikey.Cursor{At: p.instant(), ID: p.name("key", 9)} },
	} {
		if p.IntN(3) == 0 {
			set()
		}
	}
	return q
}

func (p *player) eventQuery() apikey.EventQuery {
	q := apikey.EventQuery{Owner: p.owner(), AnyOwner: p.flip(), OldestFirst: p.flip(), Limit: 1 + p.IntN(9)}
	for _, set := range []func(){
		func() { q.Key = p.name("key", 8) },
		func() { q.Kind = apikey.EventKind(p.name("kind", 3)) },
		func() { q.Until = p.instant() },
		func() { q.After = apikey.EventCursor{At: p.instant(), Owner: p.owner(), Seq: int64(p.IntN(9))} },
	} {
		if p.IntN(3) == 0 {
			set()
		}
	}
	return q
}
