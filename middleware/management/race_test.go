package management_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

// at once runs f so many times at the same time.
func atOnce(n int, f func(i int)) {
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-begin
			f(i)
		})
	}
	close(begin)
	wg.Wait()
}

func TestSixtyFourCreatesOnACapOfFive(t *testing.T) {
	d := open(t, &apikey.Options{Policy: plan}, nil)
	var made, refused atomic.Int64
	atOnce(64, func(i int) {
		body := fmt.Sprintf(`{"name":"key %d","environment":"live","credit_cap":{"amount":"1"}}`, i)
		switch a := d.do("POST", "", body); a.Code {
		case http.StatusCreated:
			made.Add(1)
		default:
			p := a.refused(http.StatusForbidden, "key_limit")
			if p.Limit != 5 || p.Plan != "Business" || p.Upgrade == "" {
				t.Errorf("refused with %+v", p)
			}
			refused.Add(1)
		}
	})
	if made.Load() != 5 || refused.Load() != 59 {
		t.Errorf("%d made and %d refused", made.Load(), refused.Load())
	}
	// A key that is switched off makes room, and then has none itself.
	var list struct{ Keys []key }
	d.do("GET", "", "").into(http.StatusOK, &list)
	first := list.Keys[0].ID
	d.do("POST", "/"+first+"/disable", "").into(http.StatusOK, nil)
	d.create(`{"name":"sixth","environment":"live"}`)
	if p := d.do("POST", "/"+first+"/enable", "").refused(http.StatusForbidden, "key_limit"); p.Limit != 5 {
		t.Errorf("enabled again: %+v", p)
	}
}

func TestOneRequestMakesOneKeyHoweverOftenItIsAsked(t *testing.T) {
	d := open(t, nil, nil)
	var made atomic.Int64
	atOnce(32, func(int) {
		a := d.do("POST", "", `{"name":"a","environment":"live"}`, header("Idempotency-Key", "once"))
		if a.Code == http.StatusCreated {
			made.Add(1)
		} else {
			a.into(http.StatusOK, nil)
		}
	})
	var list struct{ Keys []key }
	d.do("GET", "", "").into(http.StatusOK, &list)
	if made.Load() != 1 || len(list.Keys) != 1 {
		t.Errorf("%d answers with a secret, keys %+v", made.Load(), list.Keys)
	}
}

func TestSettingsThatAreEditedAtOnceAreAllKept(t *testing.T) {
	d := open(t, nil, nil)
	k := d.create(`{"name":"a","environment":"live","settings":{"s0":0}}`)
	atOnce(8, func(i int) {
		d.do("PATCH", "/"+k.Key.ID, fmt.Sprintf(`{"settings":{"s%d":%d}}`, i, i+1)).into(http.StatusOK, nil)
	})
	var got key
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &got)
	for i := range 8 {
		if name := fmt.Sprintf("s%d", i); got.Settings[name] != int64(i+1) {
			t.Errorf("%s is %d", name, got.Settings[name])
		}
	}
}

// An edit that comes between reading and writing is not undone.
func TestSettingsEditedMeanwhileAreKept(t *testing.T) {
	d := open(t, nil, nil)
	k := d.create(`{"name":"a","environment":"live","settings":{"rpm":1,"rpd":1}}`)
	d.between.Store(new(func() { d.do("PATCH", "/"+k.Key.ID, `{"settings":{"rpd":2}}`).into(http.StatusOK, nil) }))
	var got key
	d.do("PATCH", "/"+k.Key.ID, `{"settings":{"rpm":2}}`).into(http.StatusOK, &got)
	if got.Settings["rpm"] != 2 || got.Settings["rpd"] != 2 {
		t.Errorf("settings %v", got.Settings)
	}
	d.between.Store(new(func() { d.do("PATCH", "/"+k.Key.ID, `{"settings":{"rpd":3}}`).into(http.StatusOK, nil) }))
	d.do("PATCH", "/"+k.Key.ID, `{"settings":{"rpm":3}}`, header("If-Match", `"3"`)).refused(http.StatusPreconditionFailed, "version_conflict")
}

func TestOfTwoEditsOfOneVersionOneWins(t *testing.T) {
	d := open(t, nil, nil)
	k := d.create(`{"name":"a","environment":"live","settings":{"rpm":1}}`)
	var won atomic.Int64
	atOnce(16, func(i int) {
		a := d.do("PATCH", "/"+k.Key.ID, fmt.Sprintf(`{"name":"n%d","settings":{"rpm":%d}}`, i, i+2), header("If-Match", `"1"`))
		if a.Code == http.StatusOK {
			won.Add(1)
			if got := a.Header().Get("ETag"); got != `"2"` {
				t.Errorf("ETag %s", got)
			}
			return
		}
		a.refused(http.StatusPreconditionFailed, "version_conflict")
	})
	if won.Load() != 1 {
		t.Errorf("%d won", won.Load())
	}
	for _, match := range []string{`"1"`, `1`, `W/"2"`, `"2", "3"`, `"x"`, `"-1"`, `"02"`} {
		d.do("POST", "/"+k.Key.ID+"/revoke", "", header("If-Match", match)).refused(http.StatusPreconditionFailed, "version_conflict")
	}
	d.do("POST", "/"+k.Key.ID+"/disable", "", header("If-Match", "*")).into(http.StatusOK, nil)
}
