package clientip_test

import (
	"fmt"
	"net/http"
	"net/netip"

	"github.com/keytoll/keytoll/middleware/clientip"
)

func Example() {
	resolver, err := clientip.NewResolver(netip.MustParsePrefix("10.0.0.0/8"))
	if err != nil {
		fmt.Println(err)
		return
	}
	// The client wrote the first entry itself; the load balancer added the second.
	r := &http.Request{
		RemoteAddr: "10.0.0.5:41000",
		Header:     http.Header{"X-Forwarded-For": {"127.0.0.1, 2001:db8:1:2::99"}},
	}
	ip := resolver.Resolve(r)
	fmt.Println(ip, "is counted as", clientip.Bucket(ip))
	// Output: 2001:db8:1:2::99 is counted as 2001:db8:1:2::/64
}

// Without trusted prefixes the header is not read: believing it would let
// every client choose its own bucket.
func Example_incorrect() {
	var resolver clientip.Resolver // forgot to name the load balancer
	for _, forged := range []string{"1.1.1.1", "2.2.2.2"} {
		r := &http.Request{RemoteAddr: "10.0.0.5:41000", Header: http.Header{"X-Forwarded-For": {forged}}}
		fmt.Println(clientip.Bucket(resolver.Resolve(r)))
	}
	// Output:
	// 10.0.0.5
	// 10.0.0.5
}
