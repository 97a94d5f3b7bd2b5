module github.com/keytoll/keytoll/internal/benchcmp

go 1.26.0

require (
	github.com/keytoll/keytoll v0.0.0
	github.com/sethvargo/go-limiter v0.7.1
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
	github.com/stripe/stripe-go/v85 v85.0.0
	github.com/throttled/throttled/v2 v2.15.0
	github.com/ulule/limiter/v3 v3.11.2
	golang.org/x/time v0.16.0
)

require (
	github.com/hashicorp/golang-lru v0.5.4 // indirect
	github.com/pkg/errors v0.9.1 // indirect
)

replace github.com/keytoll/keytoll => ../..
