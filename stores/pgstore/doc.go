// Package pgstore will keep Keytoll's state in PostgreSQL, for fleets of
// servers that share it. It holds no store yet: this module exists so that its
// import path, and the fence around the driver, are in place first.
//
// What belongs here, and nowhere else: the PostgreSQL driver (pgx), one pool,
// one schema with one migration number, and the stores of keys, credits,
// webhook deliveries and, where a fleet wants them there, rate limits. The
// stores will pass the same conformance suites as the memory stores
// ([apikeytest], [ratelimittest], [creditstest]). Importing this module is
// what adds the driver to a program; the root module never does.
//
// The schema will be created by an explicit call and never behind the caller's
// back. Decisions that several servers share will be made on the database's
// clock.
//
// Until then: the memory stores of the domain packages serve one process, and
// [sqlitestore] keeps keys and credits in one durable file.
//
// [apikeytest]: https://pkg.go.dev/github.com/keytoll/keytoll/apikey/apikeytest
// [ratelimittest]: https://pkg.go.dev/github.com/keytoll/keytoll/ratelimit/ratelimittest
// [creditstest]: https://pkg.go.dev/github.com/keytoll/keytoll/credits/creditstest
// [sqlitestore]: https://pkg.go.dev/github.com/keytoll/keytoll/stores/sqlitestore
package pgstore
