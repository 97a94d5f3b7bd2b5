package apikey_test

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/scopes"
)

// A request that is made twice makes one key, within what the plan allows.
func ExampleService_Create() {
	ctx := context.Background()
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ceiling, err := scopes.Parse("image:* models:read")
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, &apikey.Options{
		Policy: func(context.Context, string) (apikey.Policy, error) { // by the owner's plan
			return apikey.Policy{
				Plan: "Business", MayCreate: true, MaxKeys: 1, Scopes: ceiling, UpgradeHint: "ask for Enterprise",
				Settings: []apikey.Setting{{Name: "per_minute", Default: 60, Min: 1, Max: 10_000}},
			}, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	spec := apikey.Spec{Owner: "acct_42", Name: "CI", RequestID: "order 7"}
	first, err := keys.Create(ctx, spec)
	fmt.Println("made:", !first.Secret.IsZero(), first.Key.Settings, err)
	again, err := keys.Create(ctx, spec)
	fmt.Println("the same:", again.Key.ID == first.Key.ID, "replayed:", again.Replayed, "secret:", !again.Secret.IsZero(), err)

	_, err = keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "one more"})
	fmt.Println(errors.CodeOf(err), "-", errors.MessageOf(err))
	// Output:
	// made: true {"per_minute":60} <nil>
	// the same: true replayed: true secret: false <nil>
	// exhausted - the account's plan "Business" allows 1 API key; revoke one first; ask for Enterprise
}

// Before the old key is cut off, look whether anybody would notice.
func ExampleService_Readiness() {
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
	old, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	young, err := keys.Rotate(ctx, old.Key.ID, 24*time.Hour)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range []struct {
		use  apikey.Secret
		rest time.Duration
	}{{old.Secret, 3 * time.Minute}, {young.Secret, 2 * time.Hour}} {
		if _, err := keys.Verify(ctx, step.use.Reveal(), nil); err != nil {
			fmt.Println(err)
			return
		}
		now = now.Add(step.rest)
		r, err := keys.Readiness(ctx, old.Key.ID)
		fmt.Println(r, err)
		fmt.Println("noticed:", r.Noticed(time.Hour))
	}
	// Output:
	// the old key was last used 3m0s ago; its successor was never used; the old key ends in 23h57m0s <nil>
	// noticed: true
	// the old key was last used 2h3m0s ago; its successor was last used 2h0m0s ago; the old key ends in 21h57m0s <nil>
	// noticed: false
}

// A key leaked: its holder ends it with nothing but the key itself, the owner's
// other keys go in one step, and the record of it all cannot be changed unseen.
func ExampleService_RevokeOwner() {
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
	leaked, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "laptop"})
	if err != nil {
		fmt.Println(err)
		return
	}
	other, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "server"})
	if err != nil {
		fmt.Println(err)
		return
	}

	_, err = keys.RevokeSelf(ctx, leaked.Secret.Reveal(), "found in a public repository")
	fmt.Println("revoked:", err)
	ctx = apikey.WithActor(ctx, apikey.Actor{ID: "admin_1", IP: netip.MustParseAddr("203.0.113.7")})
	_, err = keys.RevokeOwner(ctx, "acct_42", "the laptop was stolen")
	fmt.Println("all revoked:", err)
	_, err = keys.Verify(ctx, other.Secret.Reveal(), nil)
	fmt.Println(errors.MessageOf(err))

	page, err := keys.Events(ctx, apikey.EventQuery{Owner: "acct_42", OldestFirst: true})
	for _, e := range page.Events {
		fmt.Printf("%d %s %q\n", e.Seq, e.Kind, e.Note)
	}
	checkpoint, chain := keys.VerifyEvents(ctx, "acct_42", nil)
	fmt.Println(err, chain, checkpoint.Seq)
	// Output:
	// revoked: <nil>
	// all revoked: <nil>
	// the API key has been revoked
	// 1 key.created ""
	// 2 key.created ""
	// 3 key.revoked "found in a public repository"
	// 4 owner.revoked "the laptop was stolen"
	// <nil> <nil> 4
}

// Called now and then by one process or by several, Remind says each thing once.
func ExampleService_Remind() {
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
	if _, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", TTL: 30 * 24 * time.Hour}); err != nil {
		fmt.Println(err)
		return
	}
	for _, days := range []int{15, 2, 1, 7, 6} {
		now = now.AddDate(0, 0, days)
		events, err := keys.Remind(ctx, nil) // 14, 7 and 1 days before the end
		if err != nil {
			fmt.Println(err)
			return
		}
		for _, e := range events {
			fmt.Println(now.Format(time.DateOnly), e.Kind, e.Note)
		}
	}
	// Output:
	// 2026-03-18 key.expiring ends 2026-03-31T12:00:00Z, within 336h0m0s
	// 2026-03-26 key.expiring ends 2026-03-31T12:00:00Z, within 168h0m0s
}
