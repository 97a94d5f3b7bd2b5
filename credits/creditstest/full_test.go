package creditstest

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// "Every field of every row" holds for fields that come with later versions too:
// of each there is a row that uses it.
func TestFullUsesEveryField(t *testing.T) {
	st := new(credits.State)
	st.Reset("a")
	now := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
	change(st, now)
	full(st, now)
	used := make(map[string]bool)
	var walk func(name string, v reflect.Value)
	walk = func(name string, v reflect.Value) {
		switch x := v.Interface().(type) {
		case credits.Parts:
			v = reflect.ValueOf(slices.Collect(x.All()))
		case credits.Charges:
			v = reflect.ValueOf(slices.Collect(x.All()))
		case time.Time:
			used[name] = used[name] || !x.IsZero()
			return
		}
		switch {
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(name+"."+v.Type().Field(i).Name, v.Field(i))
			}
		case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
			for i := range v.Len() {
				walk(name, v.Index(i))
			}
		default:
			used[name] = used[name] || !v.IsZero()
		}
	}
	walk("Account", reflect.ValueOf(st.Account))
	for i := range st.Lots {
		walk("Lot", reflect.ValueOf(st.Lots[i].Lot))
	}
	for i := range st.Ops {
		walk("Op", reflect.ValueOf(st.Ops[i].Op))
	}
	for i := range st.Budgets {
		walk("Budget", reflect.ValueOf(st.Budgets[i].Budget))
	}
	for i := range st.Schedules {
		walk("Schedule", reflect.ValueOf(st.Schedules[i].Schedule))
	}
	for name, is := range used {
		if !is {
			t.Errorf("no row uses %s", name)
		}
	}
	t.Logf("%d fields", len(used))
}
