package main_test

import (
	"context"
	"net/http/httptrace"
	"strconv"
	"testing"
)

// withTrace calls asked when the server asks for the request's body.
func withTrace(ctx context.Context, asked func()) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got100Continue: asked})
}

// credits reads a whole number of credits.
func credits(t *testing.T, s string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
