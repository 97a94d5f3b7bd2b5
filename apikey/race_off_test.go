//go:build !race

package apikey_test

// raceEnabled says that sync.Pool drops at random, as it does under the race
// detector, so that allocations cannot be counted.
const raceEnabled = false
