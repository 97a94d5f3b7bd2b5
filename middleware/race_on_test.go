//go:build race

package middleware_test

// underRace tells that pools drop what they are given, so that allocations vary.
const underRace = true
