package errors_test

import (
	"context"
	"testing"

	"github.com/keytoll/keytoll/errors"
)

// The errors that a gate meets, from the commonest to the deepest.
var met = []struct {
	name string
	err  error
	code errors.Code
}{
	{"nil", nil, errors.Unknown},
	{"sentinel", coded(errors.Unauthenticated), errors.Unauthenticated},
	{"wrapped", errors.Wrap("apikey.Verify", coded(errors.Unauthenticated)), errors.Unauthenticated},
	{"joined", errors.Join(plain("x"), under(coded(errors.Corrupt))), errors.Corrupt},
	{"context", errors.Wrap("credits.Hold", under(context.Canceled)), errors.Canceled},
}

func TestReadingAnErrorDoesNotAllocate(t *testing.T) {
	for _, tt := range met {
		if n := testing.AllocsPerRun(100, func() { errors.CodeOf(tt.err); errors.MessageOf(tt.err) }); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

func BenchmarkCodeOf(b *testing.B) {
	for _, tt := range met {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if errors.CodeOf(tt.err) != tt.code {
					b.Fatalf("code %v", errors.CodeOf(tt.err))
				}
			}
		})
	}
}

// sink makes what is measured escape, as it does in a program.
var sink error

func BenchmarkWrap(b *testing.B) {
	err := coded(errors.Unauthenticated)
	b.ReportAllocs()
	for b.Loop() {
		sink = errors.Wrap("apikey.Verify", err)
	}
}
