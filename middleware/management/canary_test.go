package management_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware/management"
)

// TestNoSecretInAnyOutputButItsOnlyShowing runs through everything that the handler
// does, and looks for every text that it has handed out in every other output, head
// and body, and in the log.
func TestNoSecretInAnyOutputButItsOnlyShowing(t *testing.T) {
	d := open(t, &apikey.Options{Policy: plan}, func(o *management.Options) {
		o.Verbs |= management.Owners
		o.Secrets = []string{"webhook"}
	})
	type output struct{ what, text string }
	var outputs []output
	shown := make(map[string]string) // secrets, by the output that shows them
	send := func(method, path, body string, edit ...func(*http.Request)) {
		a := d.do(method, path, body, edit...)
		var head bytes.Buffer
		if err := a.Header().Write(&head); err != nil {
			t.Fatal(err)
		}
		outputs = append(outputs, output{a.what, head.String() + a.Body.String()})
	}
	issue := func(method, path, body string, status int) issued {
		var k issued
		a := d.do(method, path, body)
		a.into(status, &k)
		if k.Secret == "" || len(k.Secrets) != 1 && !strings.HasSuffix(path, "regenerate") {
			t.Fatalf("%s shows %s", a.what, a.Body)
		}
		shown[k.Secret] = a.what
		for _, s := range k.Secrets {
			shown[s.Secret], shown[strings.TrimPrefix(s.Secret, "whsec_")] = a.what, a.what
		}
		outputs = append(outputs, output{a.what, a.Body.String()})
		return k
	}
	k := issue("POST", "", `{"name":"a","environment":"live","settings":{"rpm":7},"credit_cap":{"amount":"5"}}`, http.StatusCreated)
	next := issue("POST", "/"+k.Key.ID+"/rotate", "", http.StatusCreated)
	again := issue("POST", "/"+next.Key.ID+"/regenerate", "", http.StatusOK)
	clone := issue("POST", "/"+again.Key.ID+"/clone", `{"name":"b"}`, http.StatusCreated)
	replay := header("Idempotency-Key", "once")
	once := d.do("POST", "", `{"name":"c","environment":"live"}`, replay)
	var first issued
	once.into(http.StatusCreated, &first)
	shown[first.Secret] = once.what
	outputs = append(outputs, output{once.what, once.Body.String()})
	d.do("POST", "", `{"name":"c","environment":"live"}`, replay).into(http.StatusOK, &issued{})
	replayed := d.do("POST", "", `{"name":"c","environment":"live"}`, replay)
	outputs = append(outputs, output{"replay", replayed.Body.String()})

	for _, id := range []string{k.Key.ID, again.Key.ID, clone.Key.ID} {
		send("GET", "/"+id, "")
		send("GET", "/"+id+"/events", "")
		send("GET", "/"+id+"/usage", "")
		send("POST", "/"+id+"/rotate", `{"grace_seconds":-1}`)
		send("PATCH", "/"+id, `{"name":"`+id+`"}`)
		send("POST", "/"+id+"/disable", "")
		send("POST", "/"+id+"/enable", "")
		send("PUT", "/"+id+"/credit-cap", `{"amount":"9"}`)
		send("DELETE", "/"+id+"/credit-cap", "")
		// Whoever mixes things up sends the key where it does not belong.
		for text := range shown {
			send("GET", "/"+url.PathEscape(text), "") // a mux would send "//" elsewhere, and say where
			send("GET", "/"+id, "", header("Authorization", "Bearer "+text))
			send("GET", "?cursor="+text, "")
			send("GET", "/events?kind="+text+"%20", "")
			send("POST", "/"+id+"/rotate", `{"grace_seconds":"`+text+`"}`)
			send("POST", "/"+id+"/rotate", text)
			send("POST", "/"+id+"/rotate", `{"`+text+`":1}`)
			send("GET", "/"+id+"?"+text+"=1", "")
			send("GET", "/usage?zone="+text+"&by="+text, "")
			send("GET", "/usage?zone="+text, "")
			send("DELETE", "/"+id+"?confirm="+text, "")
			send("GET", "/"+id, "", header("If-Match", text))
		}
		send("POST", "/"+id+"/revoke", `{"reason":"leaked"}`)
		send("DELETE", "/"+id+"?confirm="+id, "")
	}
	send("GET", "", "")
	send("GET", "?state=active,disabled,revoked,deleted", "")
	send("GET", "/events?limit=1000", "")
	send("GET", "/usage", "")
	send("GET", "/openapi.json", "")
	for _, decision := range []string{"suspend", "restore", "revoke"} {
		send("POST", "/owner/"+decision, `{"reason":"unpaid"}`)
	}
	send("GET", "/owner", "")
	outputs = append(outputs, output{"the log", d.log.String()})
	if len(shown) < 8 {
		t.Fatalf("only %d secrets were shown", len(shown))
	}
	for text, by := range shown {
		times := 0
		for _, o := range outputs {
			if !strings.Contains(o.text, text) {
				continue
			}
			if o.what != by {
				t.Errorf("what %s has shown stands in the output of %s", by, o.what)
			}
			times++
		}
		if times != 1 {
			t.Errorf("what %s has shown is there %d times", by, times)
		}
	}
}

func TestSecretsThatAreBoundToAKeyAreShownOnce(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.Secrets = []string{"webhook", "export"} })
	for body, want := range map[string][]string{
		`{"environment":"live"}`:                      {"webhook", "export"},
		`{"environment":"live","secrets":["export"]}`: {"export"},
		`{"environment":"live","secrets":[]}`:         nil,
	} {
		k := d.create(body)
		if len(k.Secrets) != len(want) {
			t.Fatalf("%s: %+v", body, k.Secrets)
		}
		for i, name := range want {
			open := must(d.keys.OpenSecrets(t.Context(), k.Key.ID, name))(t)
			if k.Secrets[i].Name != name || k.Secrets[i].Secret != "whsec_"+open[0].Secret.Reveal() {
				t.Errorf("%s: %+v", name, k.Secrets[i])
			}
		}
	}
}

func TestListingsTurnPagesAndTellBadges(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.RotateEvery = 90 * 24 * 3600e9 })
	var ids []string
	for i := range 7 {
		ids = append(ids, d.create(fmt.Sprintf(`{"name":"key %d","environment":"live","expires_in_seconds":%d}`, i, (i+1)*24*3600*30)).Key.ID)
		d.clock.add(1e9)
	}
	test := d.create(`{"name":"sandbox","environment":"test"}`)
	d.do("POST", "/"+ids[4]+"/disable", "").into(http.StatusOK, nil)
	d.do("POST", "/"+ids[5]+"/revoke", "").into(http.StatusOK, nil)
	d.do("DELETE", "/"+ids[6]+"?confirm="+ids[6], "").into(http.StatusNoContent, nil)
	d.clock.add(100 * 24 * 3600e9) // three of them have ended
	all := func(query string) map[string]key {
		found := make(map[string]key)
		for cursor := ""; ; {
			var page struct {
				Keys []key
				Next string
			}
			d.do("GET", "?limit=2"+query+"&cursor="+cursor, "").into(http.StatusOK, &page)
			for _, k := range page.Keys {
				if _, twice := found[k.ID]; twice {
					t.Errorf("%s: %s is there twice", query, k.ID)
				}
				found[k.ID] = k
			}
			if cursor = page.Next; cursor == "" {
				return found
			}
		}
	}
	found := all("")
	for i, want := range []string{"expired", "expired", "expired", "active", "disabled", "revoked", ""} {
		if got := found[ids[i]]; got.Status != want || got.RotationDue != (want == "active") {
			t.Errorf("key %d: %q due %t, want %q", i, got.Status, got.RotationDue, want)
		}
	}
	if k := found[ids[3]]; !strings.HasPrefix(k.Start, "kt_live_") || len(k.Last4) != 4 {
		t.Errorf("start %q, last4 %q", k.Start, k.Last4)
	}
	for query, want := range map[string]int{
		"&expired=true": 3, "&expired=false": 4, "&state=deleted": 1, "&state=disabled,revoked": 2, "&environment=test": 1,
	} {
		if got := all(query); len(got) != want {
			t.Errorf("%s: %d keys, want %d", query, len(got), want)
		}
	}
	if got := found[test.Key.ID]; got.Environment != "test" || !got.ExpiresAt.IsZero() {
		t.Errorf("sandbox %+v", got)
	}
	// Expired keys can be revoked, to clean the list.
	d.do("POST", "/"+ids[0]+"/revoke", "").into(http.StatusOK, nil)
	// A tombstone is shown, for what it did, and nothing can be done to it.
	var gone key
	d.do("GET", "/"+ids[6], "").into(http.StatusOK, &gone)
	if gone.Status != "deleted" || gone.Name != "key 6" {
		t.Errorf("the tombstone is %+v", gone)
	}
	d.do("POST", "/"+ids[6]+"/enable", "").refused(http.StatusNotFound, "key_not_found")
	d.do("PUT", "/"+ids[6]+"/credit-cap", `{"amount":"1"}`).refused(http.StatusNotFound, "key_not_found")
}

func TestTheHostStopsAnAccount(t *testing.T) {
	d := open(t, nil, func(o *management.Options) { o.Verbs |= management.Owners })
	k := d.create(`{"environment":"live"}`)
	var owner struct {
		Owner, SuspendedReason string
		Suspended              bool
	}
	d.do("POST", "/owner/suspend", `{"reason":"abuse"}`).into(http.StatusOK, &owner)
	var got key
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &got)
	if !owner.Suspended || owner.Owner != "acme" || got.Status != "suspended" {
		t.Errorf("suspended: %+v, %q", owner, got.Status)
	}
	d.do("POST", "/owner/restore", "").into(http.StatusOK, nil)
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &got)
	if got.Status != "active" {
		t.Errorf("restored is %q", got.Status)
	}
	d.do("POST", "/owner/revoke", `{"reason":"compromised"}`).into(http.StatusOK, nil)
	d.do("GET", "/"+k.Key.ID, "").into(http.StatusOK, &got)
	if got.Status != "revoked" || got.RevokedReason != "compromised" {
		t.Errorf("revoked is %+v", got)
	}
	closed := open(t, nil, nil)
	closed.do("POST", "/owner/suspend", "").refused(http.StatusNotFound, "not_found")
}
