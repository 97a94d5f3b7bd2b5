package apikey_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/keytoll/keytoll/apikey"
)

// The owner is told when a key is used from a country where it never was.
func ExampleNewPlaces() {
	ctx := context.Background()
	countries := map[netip.Prefix]string{
		netip.MustParsePrefix("192.0.2.0/24"):    "IS",
		netip.MustParsePrefix("203.0.113.0/24"):  "NZ",
		netip.MustParsePrefix("2001:db8:1::/48"): "IS", // of an IPv6 address, as much as the host likes
	}
	places, err := apikey.NewPlaces(func(ip netip.Addr) (string, bool) {
		for network, country := range countries {
			if network.Contains(ip) {
				return country, true
			}
		}
		return "", false
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	format, err := apikey.NewFormat("gx", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, &apikey.Options{Detector: places})
	if err != nil {
		fmt.Println(err)
		return
	}
	issued, err := keys.Create(ctx, apikey.Spec{Owner: "acct_42"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, client := range []string{"192.0.2.7", "2001:db8:1::7", "203.0.113.9", "192.0.2.8"} {
		if _, err := keys.Verify(ctx, issued.Secret.Reveal(), &apikey.VerifyOptions{IP: netip.MustParseAddr(client)}); err != nil {
			fmt.Println(err)
		}
	}
	if err := keys.Close(ctx); err != nil { // as Options.FlushEvery does again and again
		fmt.Println(err)
	}

	page, err := keys.Events(ctx, apikey.EventQuery{Owner: "acct_42", Kind: apikey.EventNewPlace, OldestFirst: true})
	if err != nil {
		fmt.Println(err)
	}
	for _, e := range page.Events {
		if before := e.Changes[0].Before; before == "" {
			fmt.Println("begins in", e.Note) // nobody is alarmed
		} else {
			fmt.Println("also in", e.Note, "and not only in", before, "from", e.Actor.IP)
		}
	}
	// Output:
	// begins in IS
	// also in NZ and not only in IS from 203.0.113.9
}
