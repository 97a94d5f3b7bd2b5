package apikey_test

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A scanner found a key in public. The host decides what becomes of it, once for
// each place: here a day is left to change over. A successor inherits that end with
// all else, so it is given the one that the key had.
func ExampleService_ReportLeak() {
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, &apikey.Options{Now: func() time.Time { return now }})
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "CI"})
	if err != nil {
		fmt.Println(err)
		return
	}
	found := apikey.Leak{Source: "github/gist_content", URL: "https://gist.github.com/octocat/1"}
	for range 2 { // scanners say everything twice
		report, err := keys.ReportLeak(ctx, issued.Secret.Reveal(), found, func(apikey.Key) apikey.LeakDecision {
			return apikey.LeakDecision{Action: apikey.LeakExpire, Within: 24 * time.Hour}
		})
		fmt.Println("tell", report.Key.Owner, report.First, "ends", report.Key.ExpiresAt.Format(time.DateTime), err)
	}

	young, err := keys.Rotate(ctx, issued.Key.ID, time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := keys.Update(ctx, young.Key.ID, apikey.Changes{ExpiresAt: &issued.Key.ExpiresAt})
	fmt.Println("changed over:", key.Name, "never ends:", key.ExpiresAt.IsZero(), err)

	now = now.AddDate(0, 0, 2)
	_, err = keys.Verify(ctx, issued.Secret.Reveal(), nil)
	fmt.Println("the old key:", errors.MessageOf(err))
	_, err = keys.Verify(ctx, young.Secret.Reveal(), nil)
	fmt.Println("the new key:", err)

	page, err := keys.Events(ctx, apikey.EventQuery{Owner: "acct_42", Kind: apikey.EventLeaked})
	for _, e := range page.Events {
		fmt.Println(e.Kind, e.Note)
	}
	fmt.Println(err)
	// Output:
	// tell acct_42 true ends 2026-03-02 12:00:00 <nil>
	// tell acct_42 false ends 2026-03-02 12:00:00 <nil>
	// changed over: CI never ends: true <nil>
	// the old key: the API key has expired
	// the new key: <nil>
	// key.leaked github/gist_content https://gist.github.com/octocat/1
	// <nil>
}
