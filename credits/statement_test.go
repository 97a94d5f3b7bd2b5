package credits_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
	kerrors "github.com/keytoll/keytoll/errors"
)

// statements is a ledger with a history of ten hours, two entries in each, and
// a seal of it.
func statements(t *testing.T) (*rig, *credits.Sealer, *credits.SealTree) {
	t.Helper()
	r := newRig(t)
	for i := range 10 {
		id := credits.OpID(string(rune('a' + i)))
		r.run(grant("g"+id, 10))
		r.run(credits.Debit{Account: acme, ID: "d" + id, Amount: 5, Key: "k", Operation: "o", Price: "p"})
		r.add(time.Hour)
	}
	for _, other := range []credits.AccountID{"a", "b", "z"} {
		if _, err := r.Grant(t.Context(), credits.Grant{Account: other, ID: "g", Amount: 1}); err != nil {
			t.Fatal(err)
		}
	}
	by := sealer(t, "2026")
	tree, err := r.Seal(t.Context(), by)
	if err != nil {
		t.Fatal(err)
	}
	return r, by, tree
}

func TestStatementsOfEveryPeriod(t *testing.T) {
	r, by, tree := statements(t)
	r.run(grant("later", 1)) // after the seal; in no statement
	hour := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Hour) }
	for from := -1; from <= 11; from++ {
		for to := from; to <= 10; to++ {
			for _, open := range []bool{false, true} {
				q := credits.StatementQuery{Account: acme, From: hour(from), To: hour(to)}
				end := to
				if open {
					if to != 10 {
						continue
					}
					q.To = time.Time{}
				}
				if from == -1 && to%2 == 0 {
					q.From = time.Time{}
				}
				s, err := r.Statement(t.Context(), by, tree, q)
				if err != nil {
					t.Fatalf("%+v: %v", q, err)
				}
				if err := credits.VerifyStatement(s, by.Key()); err != nil {
					t.Fatalf("%+v: %v", q, err)
				}
				begun, ended := min(max(from, 0), 10), max(end, 0)
				at := func(n int) credits.Totals {
					return credits.Totals{Issued: credits.Amount(10 * n), Available: credits.Amount(5 * n), Consumed: credits.Amount(5 * n)}
				}
				if len(s.Period()) != 2*(ended-begun) || s.Opening != at(begun) || s.Closing != at(ended) {
					t.Errorf("from %d to %d: %d entries, %+v to %+v", from, to, len(s.Period()), s.Opening, s.Closing)
				}
				text, err := json.Marshal(s)
				if err != nil {
					t.Fatal(err)
				}
				again, err := credits.ParseStatement(text)
				if err != nil || !reflect.DeepEqual(again, s) {
					t.Fatalf("%s\nis read as\n%+v, want\n%+v, %v", text, again, s, err)
				}
				if err := credits.VerifyStatement(again, by.Key()); err != nil {
					t.Errorf("as it was read: %v", err)
				}
			}
		}
	}
}

func TestStatementsThatCannotBe(t *testing.T) {
	r, by, tree := statements(t)
	for name, c := range map[string]struct {
		by   *credits.Sealer
		tree *credits.SealTree
		q    credits.StatementQuery
		code kerrors.Code
	}{
		"no account":           {by, tree, credits.StatementQuery{}, kerrors.Invalid},
		"a zero sealer":        {new(credits.Sealer), tree, credits.StatementQuery{Account: acme}, kerrors.Invalid},
		"no sealer":            {nil, tree, credits.StatementQuery{Account: acme}, kerrors.Invalid},
		"no tree":              {by, nil, credits.StatementQuery{Account: acme}, kerrors.Invalid},
		"to before from":       {by, tree, credits.StatementQuery{Account: acme, From: epoch.Add(time.Hour), To: epoch}, kerrors.Invalid},
		"to after the seal":    {by, tree, credits.StatementQuery{Account: acme, To: r.now().Add(time.Second)}, kerrors.Invalid},
		"an account not there": {by, tree, credits.StatementQuery{Account: "c"}, kerrors.NotFound},
	} {
		if s, err := r.Statement(t.Context(), c.by, c.tree, c.q); kerrors.CodeOf(err) != c.code || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := credits.VerifyStatement(nil, by.Key()); !errors.Is(err, credits.ErrUnproven) {
		t.Errorf("nil: %v", err)
	}
	if err := credits.VerifyStatement(&credits.Statement{}, by.Key()); !errors.Is(err, credits.ErrUnproven) {
		t.Errorf("nothing: %v", err)
	}
	// Nothing is what a zero key has signed: it checks nothing.
	if err := credits.VerifyStatement(&credits.Statement{}, nil, &credits.SealKey{}); !errors.Is(err, credits.ErrUnproven) {
		t.Errorf("nothing, with keys of nothing: %v", err)
	}
	if _, err := r.Seal(t.Context(), new(credits.Sealer)); kerrors.CodeOf(err) != kerrors.Invalid {
		t.Errorf("a zero sealer seals: %v", err)
	}
}

// Every field of a statement, changed alone, is found.
func TestAStatementWithAnyFieldChangedProvesNothing(t *testing.T) {
	r, by, tree := statements(t)
	fresh := func() *credits.Statement {
		s, err := r.Statement(t.Context(), by, tree, credits.StatementQuery{Account: acme, From: epoch.Add(3 * time.Hour), To: epoch.Add(6 * time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	count := 0
	var change func(path string, v reflect.Value, check func(path string))
	change = func(path string, v reflect.Value, check func(path string)) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		switch {
		case v.Type() == reflect.TypeFor[time.Time]():
			v.Set(reflect.ValueOf(v.Interface().(time.Time).Add(time.Microsecond)))
			check(path)
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				change(path+"."+v.Type().Field(i).Name, v.Field(i), check)
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				change(path+"[]", v.Index(i), check)
			}
			v.Set(v.Slice(0, v.Len()-1))
			check(path + " cut")
			v.Set(reflect.Append(old, old.Index(0)))
			check(path + " longer")
		case v.Kind() == reflect.Array:
			v.Index(v.Len() - 1).SetUint(v.Index(v.Len()-1).Uint() ^ 1)
			check(path)
		case v.Kind() == reflect.String:
			v.SetString(v.String() + "x")
			check(path)
		case v.CanInt():
			v.SetInt(v.Int() + 1)
			check(path)
		case v.CanUint():
			v.SetUint(v.Uint() ^ 1)
			check(path)
		default:
			t.Fatalf("%s is a %v", path, v.Kind())
		}
		v.Set(old)
	}
	s := fresh()
	change("", reflect.ValueOf(s).Elem(), func(path string) {
		count++
		if err := credits.VerifyStatement(s, by.Key()); !errors.Is(err, credits.ErrUnproven) {
			t.Errorf("%s was changed: %v", path, err)
		}
	})
	if !reflect.DeepEqual(s, fresh()) || credits.VerifyStatement(s, by.Key()) != nil || count < 100 {
		t.Errorf("%d changes, and the statement is not what it was", count)
	}
}

// No bit of the written form can be turned: it is not read, or it proves nothing.
func TestAStatementWithAnyBitTurnedProvesNothing(t *testing.T) {
	r, by, tree := statements(t)
	s, err := r.Statement(t.Context(), by, tree, credits.StatementQuery{Account: acme, From: epoch.Add(8 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 2000 {
		turned := slices.Clone(text)
		i, bit := rng.IntN(len(text)), byte(1)<<rng.IntN(8)
		turned[i] ^= bit
		got, err := credits.ParseStatement(turned)
		if err == nil {
			err = credits.VerifyStatement(got, by.Key())
		}
		if kerrors.CodeOf(err) != kerrors.Invalid {
			t.Fatalf("seed %d: bit %08b of byte %d, %q: %v", seed, bit, i, text[max(0, i-20):min(len(text), i+20)], err)
		}
	}
	var indented []byte
	if indented, err = json.MarshalIndent(s, "", "  "); err != nil {
		t.Fatal(err)
	}
	if _, err := credits.ParseStatement(indented); err != nil {
		t.Errorf("with spaces: %v", err)
	}
	for _, bad := range []string{
		"", "{}", "null", "[]", strings.Replace(string(text), `{`, `{"more":1,`, 1), strings.Replace(string(text), `"account"`, `"Account"`, 1),
		string(text) + " {}", strings.Replace(string(text), "statement-1", "statement-2", 1), strings.Replace(string(text), `"debit"`, `"theft"`, 1),
	} {
		if _, err := credits.ParseStatement([]byte(bad)); kerrors.CodeOf(err) != kerrors.Invalid {
			t.Errorf("%.40s: %v", bad, err)
		}
	}
}

// rewritten is a store whose journal was changed behind the ledger's back.
type rewritten struct {
	credits.Store
	change func([]credits.Entry) []credits.Entry
}

func (s rewritten) Entries(ctx context.Context, q credits.EntryQuery) ([]credits.Entry, error) {
	list, err := s.Store.Entries(ctx, q)
	return s.change(list), err
}

// With its own key, a ledger cannot sign what it has not sealed.
func TestNoStatementOfAJournalThatWasRewritten(t *testing.T) {
	r, by, tree := statements(t)
	chained := func(list []credits.Entry) []credits.Entry {
		for i := range list {
			if i > 0 {
				list[i].Hash = list[i].Chain(list[i-1].Hash)
			}
		}
		return list
	}
	for name, change := range map[string]func([]credits.Entry) []credits.Entry{
		"an amount": func(list []credits.Entry) []credits.Entry {
			for i := range list {
				if list[i].Seq == 9 {
					list[i].Amount++
				}
			}
			return list
		},
		"an amount, and all hashes": func(list []credits.Entry) []credits.Entry {
			for i := range list {
				if list[i].Seq == 9 {
					list[i].Amount++
				}
			}
			return chained(list)
		},
		"an entry less": func(list []credits.Entry) []credits.Entry {
			return slices.DeleteFunc(list, func(e credits.Entry) bool { return e.Seq == 9 })
		},
		"a key": func(list []credits.Entry) []credits.Entry {
			for i := range list {
				list[i].Key = "x"
			}
			return chained(list)
		},
	} {
		l, err := credits.NewLedger(rewritten{r.store, change}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := l.Statement(t.Context(), by, tree, credits.StatementQuery{Account: acme}); !errors.Is(err, credits.ErrUnproven) || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A later seal shows whether it goes on from an earlier one.
func TestALaterStatementExtendsAnEarlierHead(t *testing.T) {
	r, by, tree := statements(t)
	head := tree.Heads()[slices.IndexFunc(tree.Heads(), func(h credits.Head) bool { return h.Account == acme })]
	r.add(time.Hour)
	sealed := r.now()
	for i := range 5 {
		r.run(debit(credits.OpID(rune('A'+i)), 1))
		r.add(time.Hour)
	}
	later, err := r.Seal(t.Context(), by)
	if err != nil {
		t.Fatal(err)
	}
	statement := func(l *credits.Ledger, tree *credits.SealTree, from time.Time) *credits.Statement {
		s, err := l.Statement(t.Context(), by, tree, credits.StatementQuery{Account: acme, From: from})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for name, from := range map[string]time.Time{"from the first": {}, "from before": epoch.Add(5 * time.Hour), "from there": sealed} {
		if err := statement(r.Ledger, later, from).Extends(head); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := statement(r.Ledger, later, sealed.Add(2*time.Hour)).Extends(head); !errors.Is(err, credits.ErrUnproven) || !strings.Contains(err.Error(), "begins after") {
		t.Errorf("from later: %v", err)
	}
	if err := statement(r.Ledger, tree, time.Time{}).Extends(later.Heads()[1]); !errors.Is(err, credits.ErrUnproven) {
		t.Errorf("of a later head, or of another account: %v", err)
	}
	// The same ledger, had its first debit been another one.
	other := newRig(t)
	for i := range 10 {
		id := credits.OpID(string(rune('a' + i)))
		other.run(grant("g"+id, 10))
		other.run(credits.Debit{Account: acme, ID: "d" + id, Amount: 5, Key: "other", Operation: "o", Price: "p"})
		other.add(time.Hour)
	}
	forged, err := other.Seal(t.Context(), by)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range []time.Time{{}, epoch.Add(5 * time.Hour)} {
		s := statement(other.Ledger, forged, from)
		if err := credits.VerifyStatement(s, by.Key()); err != nil {
			t.Fatal(err) // alone, it looks well
		}
		if err := s.Extends(head); !errors.Is(err, credits.ErrUnproven) || !strings.Contains(err.Error(), "was changed") {
			t.Errorf("a journal that was rewritten: %v", err)
		}
	}
}
