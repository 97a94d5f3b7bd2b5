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

// A key is made, shown once, and proven at each request.
func Example() {
	ctx := context.Background()
	format, err := apikey.NewFormat("sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = keys.Close(ctx) }()

	granted, err := scopes.Parse("image:generate models:read")
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "Production", Environment: "live", Scopes: granted})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("printed:", issued.Secret, "revealed:", len(issued.Secret.Reveal()), "characters")

	key, err := keys.Verify(ctx, issued.Secret.Reveal(), &apikey.VerifyOptions{IP: netip.MustParseAddr("203.0.113.7")})
	fmt.Println(key.Owner, key.Environment, key.Scopes, err)

	_, err = keys.Verify(ctx, "sk_live_typed_by_hand", nil)
	fmt.Println(errors.CodeOf(err), "-", errors.MessageOf(err))
	// Output:
	// printed: [redacted] revealed: 62 characters
	// acct_42 live image:generate models:read <nil>
	// unauthenticated - the API key is not valid
}

// Rotation without downtime: both keys work until the holder has changed over,
// and limits and credits go on being counted under one Meter.
func ExampleService_Rotate() {
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
	show := func(when string) {
		_, err1 := keys.Verify(ctx, old.Secret.Reveal(), nil)
		_, err2 := keys.Verify(ctx, young.Secret.Reveal(), nil)
		fmt.Printf("%s: old works %t, new works %t\n", when, err1 == nil, err2 == nil)
	}
	show("at once")
	now = now.Add(24*time.Hour - time.Microsecond)
	show("until just before the end")
	now = now.Add(time.Microsecond)
	show("at the end")
	fmt.Println("one meter:", young.Key.Meter == old.Key.Meter)

	_, err = keys.Rotate(ctx, old.Key.ID, time.Hour)
	fmt.Println("again:", errors.Is(err, apikey.ErrRotated))
	// Output:
	// at once: old works true, new works true
	// until just before the end: old works true, new works true
	// at the end: old works false, new works true
	// one meter: true
	// again: true
}

// Changes have three states: nil leaves, a value sets, a zero value clears.
func ExampleService_Update() {
	ctx := context.Background()
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42", Name: "CI", TTL: 24 * time.Hour})
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := keys.Update(ctx, issued.Key.ID, apikey.Changes{Name: new("Production"), ExpiresAt: new(time.Time{})})
	fmt.Println(key.Name, "- never expires:", key.ExpiresAt.IsZero(), err)
	// Output: Production - never expires: true <nil>
}

// One Format value describes keys that are in use elsewhere.
func ExampleNewFormat() {
	format, err := apikey.NewFormat("mgx-sk", &apikey.FormatOptions{
		Separator:  "-",
		Alphabet:   "abcdefghijklmnopqrstuvwxyz0123456789",
		NoID:       true,
		NoChecksum: true,
	})
	fmt.Println(format.Regexp(), err)
	fmt.Println(format.Fake(""))

	_, err = apikey.NewFormat("gx_", &apikey.FormatOptions{SecretLength: 12})
	fmt.Println(err)
	// Output:
	// mgx-sk-[0-9a-z]{32} <nil>
	// mgx-sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
	// apikey.NewFormat: prefix "gx_" ends in the separator, which is added to it; give "gx"
	// apikey.NewFormat: secret length 12 holds 71 random bits; give 22 or more characters for 128 bits
}

// The mistake: printing a key shows nothing, and so does a log. Reveal is for
// the one answer that hands the key to its owner.
func ExampleSecret_incorrect() {
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	secret, err := format.Generate("", nil)
	fmt.Printf("%v %+v %#v %s %q %x %v\n", secret, secret, secret, secret, secret, secret, err)
	// Output: [redacted] [redacted] [redacted] [redacted] [redacted] [redacted] <nil>
}
