package creditstest

import (
	"testing"
	"time"

	"github.com/keytoll/keytoll/credits"
)

// A script that is refused proves nothing.
func TestEveryVerbIsAccepted(t *testing.T) {
	s := newBroken(broken{})
	l, err := open(s)
	if err != nil {
		t.Fatal(err)
	}
	now, _ := instant(t.Context(), s)
	verbs := make(map[string]bool)
	for i := range everyVerb("a", now) {
		advance(s, time.Second)
		now, _ := instant(t.Context(), s)
		c := everyVerb("a", now)[i]
		o := c.Do(t.Context(), l)
		d, denied := c.Args.(credits.Debit)
		if refused := o.Result == ""; refused != (denied && d.ID == "d") {
			t.Errorf("%v: %v", c, o)
		}
		verbs[c.Verb] = true
	}
	t.Logf("%d verbs", len(verbs))
}
