//go:build race

package main_test

// buildFlags build the process under the detector that the test is under.
var buildFlags = []string{"-race"}
