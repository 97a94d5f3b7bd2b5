//go:build race

package credits_test

const raceEnabled = true
