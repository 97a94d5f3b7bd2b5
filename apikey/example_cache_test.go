package apikey_test

import (
	"context"
	"fmt"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// Two servers keep what they looked up. What one changes the other hears of, and
// never goes by the old for longer than the bound. Here both share a memory store,
// which is its own feed; processes share the store and the feed of package
// pgstore in the same way.
func ExampleCacheOptions() {
	ctx := context.Background()
	store := apikey.NewMemoryStore()
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	server := func() (*apikey.Service, error) {
		return apikey.NewService(store, format, &apikey.Options{
			FlushEvery: 10 * time.Second,
			Cache: &apikey.CacheOptions{
				Bound:  10 * time.Second, // the longest that a revoked key works, whatever happens
				MaxAge: 5 * time.Minute,  // while the feed is heard; so long a key in use costs no look-up
				Feed:   store,
			},
		})
	}
	here, err := server()
	if err != nil {
		fmt.Println(err)
		return
	}
	there, err := server()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { fmt.Println("closed:", errors.Join(here.Close(ctx), there.Close(ctx))) }()

	issued, err := here.Create(ctx, apikey.Spec{Owner: "acct_42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	token := issued.Secret.Reveal()
	key, err := there.Verify(ctx, token, nil)
	fmt.Println("there:", key.Owner, err)

	if _, err := here.Revoke(ctx, issued.Key.ID, "the laptop was stolen"); err != nil {
		fmt.Println(err)
	}
	_, err = here.Verify(ctx, token, nil)
	fmt.Println("here, at once:", err)
	_, err = there.Verify(ctx, token, &apikey.VerifyOptions{Fresh: true})
	fmt.Println("there, asking the store:", err)
	for err = nil; err == nil; { // a moment, until the notice is heard
		_, err = there.Verify(ctx, token, nil)
	}
	fmt.Println("there:", err)
	// Output:
	// there: acct_42 <nil>
	// here, at once: apikey.Verify: the API key has been revoked
	// there, asking the store: apikey.Verify: the API key has been revoked
	// there: apikey.Verify: the API key has been revoked
	// closed: <nil>
}
