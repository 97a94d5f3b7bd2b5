package credits_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// listed collects every row of a listing, page by page.
func listed[T, P any](t *testing.T, limit int, page func(credits.ListQuery) (P, error), rows func(P) ([]T, credits.Cursor)) []T {
	t.Helper()
	var all []T
	q := credits.ListQuery{Account: acme, Limit: limit}
	for range 1000 {
		p, err := page(q)
		if err != nil {
			t.Fatal(err)
		}
		list, next := rows(p)
		if limit > 0 && len(list) > limit {
			t.Fatalf("a page of %d has %d rows", limit, len(list))
		}
		all = append(all, list...)
		if q.Cursor = next; next == "" {
			return all
		}
	}
	t.Fatal("the listing does not end")
	return nil
}

func opsOf(p credits.OpPage) ([]credits.Op, credits.Cursor)    { return p.Ops, p.Next }
func lotsOf(p credits.LotPage) ([]credits.Lot, credits.Cursor) { return p.Lots, p.Next }

func opIDs(list []credits.Op) []credits.OpID {
	var ids []credits.OpID
	for _, o := range list {
		ids = append(ids, o.ID)
	}
	return ids
}

func TestListingsGoThroughAllRowsInOrder(t *testing.T) {
	r := newRig(t)
	for i := range 25 {
		r.run(credits.Grant{Account: acme, ID: credits.OpID(fmt.Sprintf("g%02d", i)), Amount: 2})
		r.run(credits.Hold{Account: acme, ID: credits.OpID(fmt.Sprintf("h%02d", i)), Amount: 1})
	}
	want := r.snapshot(acme)
	for _, limit := range []int{0, 1, 7, 24, 25, 26, 1000} {
		lots := listed(t, limit, func(q credits.ListQuery) (credits.LotPage, error) { return r.Lots(t.Context(), q) }, lotsOf)
		if !reflect.DeepEqual(lots, want.Lots) {
			t.Errorf("limit %d: %d lots", limit, len(lots))
		}
		ops := opIDs(listed(t, limit, func(q credits.ListQuery) (credits.OpPage, error) { return r.Ops(t.Context(), q) }, opsOf))
		if len(ops) != 50 || !slices.IsSorted(ops) {
			t.Errorf("limit %d: ops %v", limit, ops)
		}
		holds := opIDs(listed(t, limit, func(q credits.ListQuery) (credits.OpPage, error) { return r.Holds(t.Context(), q) }, opsOf))
		if !slices.Equal(holds, ops[25:]) {
			t.Errorf("limit %d: holds %v", limit, holds)
		}
	}
}

// A listing shows what time has done, whoever has written it or not.
func TestListingsCountWhatIsDueAsDone(t *testing.T) {
	r := newRig(t)
	for i := range 10 {
		r.run(credits.Grant{Account: acme, ID: credits.OpID(fmt.Sprintf("g%d", i)), Amount: 2, ExpiresAt: epoch.Add(time.Duration(1+i%2) * time.Hour)})
		r.run(credits.Hold{Account: acme, ID: credits.OpID(fmt.Sprintf("h%d", i)), Amount: 1, TTL: time.Duration(1+i%3) * 10 * time.Minute})
	}
	var before, after [2]any
	r.add(70 * time.Minute)
	for i, got := range []*[2]any{&before, &after} {
		got[0] = listed(t, 3, func(q credits.ListQuery) (credits.LotPage, error) { return r.Lots(t.Context(), q) }, lotsOf)
		got[1] = listed(t, 3, func(q credits.ListQuery) (credits.OpPage, error) { return r.Ops(t.Context(), q) }, opsOf)
		if holds := listed(t, 3, func(q credits.ListQuery) (credits.OpPage, error) { return r.Holds(t.Context(), q) }, opsOf); len(holds) != 0 {
			t.Errorf("all have timed out, and listed are %v", opIDs(holds))
		}
		if o, err := r.Op(t.Context(), acme, "h0"); err != nil || o.Hold != credits.HoldTimedOut || o.SettledRest != 1 {
			t.Errorf("the hold %+v, %v", o, err)
		}
		if i == 0 {
			r.run(debit("touch", 0))
		}
	}
	lots, ops := after[0].([]credits.Lot), after[1].([]credits.Op)
	if want := before[0].([]credits.Lot); !reflect.DeepEqual(lots, want) || len(want) != 10 || want[0].Totals.Expired != 2 {
		t.Errorf("lots before the due work was posted:\n%+v\nand after:\n%+v", want, lots)
	}
	if want := before[1].([]credits.Op); len(ops) != len(want)+1 || ops[10].Hold != credits.HoldTimedOut || want[10].Hold != credits.HoldTimedOut {
		t.Errorf("ops before the due work was posted:\n%+v\nand after:\n%+v", want, ops)
	}
}

func TestOpIsFoundByItsID(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 10))
	r.run(debit("d", 4))
	r.run(refund("r", "d", 1))
	o, err := r.Op(t.Context(), acme, "d")
	if err != nil || !reflect.DeepEqual(o, r.snapshot(acme).Ops["d"]) || o.Parts.At(0).Refunded != 1 {
		t.Errorf("%+v, %v", o, err)
	}
	for _, id := range []credits.OpID{"nothing", "D"} {
		if o, err := r.Op(t.Context(), acme, id); kerrors.CodeOf(err) != kerrors.NotFound || o.ID != "" {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if _, err := r.Op(t.Context(), "", "\x00"); kerrors.CodeOf(err) != kerrors.Invalid || !strings.Contains(err.Error(), "Account is empty") || !strings.Contains(err.Error(), "ID holds a control") {
		t.Errorf("ids that cannot be: %v", err)
	}
}

func TestListingsRefuseCursorsOfOthers(t *testing.T) {
	r := newRig(t)
	for i := range 3 {
		r.run(grant(credits.OpID(fmt.Sprintf("12345%d", i)), 10))
		r.run(hold(credits.OpID(fmt.Sprintf("12345678%d", i)), 1))
	}
	pages := map[string]func(credits.ListQuery) (credits.Cursor, error){
		"lots": func(q credits.ListQuery) (credits.Cursor, error) {
			p, err := r.Lots(t.Context(), q)
			return p.Next, err
		},
		"ops": func(q credits.ListQuery) (credits.Cursor, error) {
			p, err := r.Ops(t.Context(), q)
			return p.Next, err
		},
		"holds": func(q credits.ListQuery) (credits.Cursor, error) {
			p, err := r.Holds(t.Context(), q)
			return p.Next, err
		},
	}
	for name, page := range pages {
		next, err := page(credits.ListQuery{Account: acme, Limit: 1})
		if err != nil || next == "" {
			t.Fatal(name, next, err)
		}
		for what, q := range map[string]credits.ListQuery{
			"another account": {Account: "other", Cursor: next},
			"garbage":         {Account: acme, Cursor: "garbage"},
			"cut":             {Account: acme, Cursor: next[1:]},
			"longer":          {Account: acme, Cursor: next + "A"},
			"huge":            {Account: acme, Cursor: credits.Cursor(strings.Repeat("A", 1<<16))},
			"limit below":     {Account: acme, Limit: -1},
			"limit above":     {Account: acme, Limit: 1001},
			"no account":      {},
		} {
			if _, err := page(q); kerrors.CodeOf(err) != kerrors.Invalid {
				t.Errorf("%s, %s: %v", name, what, err)
			}
		}
		for other, page := range pages {
			if _, err := page(credits.ListQuery{Account: acme, Cursor: next}); other != name && kerrors.CodeOf(err) != kerrors.Invalid {
				t.Errorf("a cursor of %s is taken for one of %s: %v", name, other, err)
			}
		}
		if _, err := r.Entries(t.Context(), credits.Query{Account: acme, Cursor: next}); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("a cursor of %s is taken for one of entries: %v", name, err)
		}
	}
}

// Ids of every length make cursors that are read again.
func TestCursorsOfLongIDs(t *testing.T) {
	r := newRig(t)
	r.run(grant("g", 1000))
	for _, n := range []int{1, 2, 3, 8, 254, 255} {
		r.run(debit(credits.OpID(strings.Repeat("x", n)), 1))
	}
	ops := listed(t, 1, func(q credits.ListQuery) (credits.OpPage, error) { return r.Ops(t.Context(), q) }, opsOf)
	if len(ops) != 7 {
		t.Errorf("%d ops", len(ops))
	}
}
