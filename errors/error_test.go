package errors_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/errors"
)

func TestErrorText(t *testing.T) {
	cause := plain("disk full")
	for _, tt := range []struct {
		err  *errors.Error
		want string
	}{
		{nil, "unknown"},
		{&errors.Error{}, "unknown"},
		{&errors.Error{Code: errors.NotFound}, "not_found"},
		{&errors.Error{Code: errors.NotFound, Op: "apikey.Get"}, "apikey.Get"},
		{&errors.Error{Msg: "no such key"}, "no such key"},
		{&errors.Error{Err: cause}, "disk full"},
		{&errors.Error{Op: "apikey.Get", Err: cause}, "apikey.Get: disk full"},
		{&errors.Error{Op: "apikey.Get", Msg: "no such key", Err: cause}, "apikey.Get: no such key: disk full"},
		{&errors.Error{Msg: "no such key: \"k\"", Err: &errors.Error{Msg: "no such key"}}, "no such key: \"k\""},
		{&errors.Error{Msg: "disk full", Err: cause}, "disk full"},
		{&errors.Error{Msg: "disk fuller", Err: cause}, "disk fuller: disk full"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%#v reads %q, want %q", tt.err, got, tt.want)
		}
	}
}

func TestCauseStaysReachable(t *testing.T) {
	sentinel := coded(errors.Forbidden)
	err := errors.Wrap("middleware.Begin", &errors.Error{Op: "apikey.Verify", Err: errors.Join(sentinel, io.EOF, context.Canceled)})
	for _, target := range []error{sentinel, io.EOF, context.Canceled} {
		if !errors.Is(err, target) || !stderrors.Is(err, target) {
			t.Errorf("%v is not found in %v", target, err)
		}
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, coded(errors.Forbidden)) {
		t.Error("an error matches what it does not hold")
	}
	if e, ok := errors.AsType[*errors.Error](err); !ok || e.Op != "middleware.Begin" {
		t.Errorf("AsType finds %v", e)
	}
	if got := errors.Unwrap(errors.Wrap("op", io.EOF)); got != io.EOF { //nolint:errorlint // the cause itself, not one that wraps it
		t.Errorf("Unwrap returns %v", got)
	}
}

func TestWrap(t *testing.T) {
	if err := errors.Wrap("op", nil); err != nil {
		t.Errorf("Wrap of nil is %v", err)
	}
	inner := &errors.Error{Code: errors.Conflict, Msg: "somebody was faster"}
	err := errors.Wrap("credits.Hold", inner)
	if err.Error() != "credits.Hold: somebody was faster" {
		t.Errorf("reads %q", err)
	}
	if errors.CodeOf(err) != errors.Conflict || errors.MessageOf(err) != inner.Msg || !errors.Is(err, inner) {
		t.Errorf("code %v, message %q", errors.CodeOf(err), errors.MessageOf(err))
	}
	if *inner != (errors.Error{Code: errors.Conflict, Msg: "somebody was faster"}) {
		t.Errorf("Wrap changed what it wraps to %+v", inner)
	}
}

func TestMessageOf(t *testing.T) {
	said := func(msg string) error { return &errors.Error{Msg: msg} }
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"nil", nil, ""},
		{"a plain error", plain("private"), ""},
		{"a nil *Error", typedNil(), ""},
		{"a nil *Error in a join", errors.Join(typedNil(), said("a")), "a"},
		{"no message", &errors.Error{Code: errors.Corrupt, Op: "op", Err: plain("private")}, ""},
		{"a message", said("a"), "a"},
		{"the outer of two", &errors.Error{Msg: "a", Err: said("b")}, "a"},
		{"below one without", errors.Wrap("op", under(said("b"))), "b"},
		{"the first branch of a join", errors.Join(plain("private"), under(said("a")), said("b")), "a"},
		{"through a foreign type", single{said("a")}, "a"},
		{"a join of nothing", many{}, ""},
		{"below a branch that ends in nil", many{[]error{nil, single{nil}, said("a")}}, "a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := errors.MessageOf(tt.err); got != tt.want {
				t.Errorf("MessageOf = %q, want %q", got, tt.want)
			}
		})
	}
}

// Trees are grown at random from everything an error can be. Whatever is not a Msg
// carries the word "private", which must never come out.
func TestMessageOfNeverRevealsACause(t *testing.T) {
	const seed = 31
	rng := rand.New(rand.NewPCG(seed, 0))
	var grow func(depth int) error
	grow = func(depth int) error {
		if depth == 0 {
			return []error{plain("private"), io.EOF, context.Canceled, typedNil(), nil, coded(errors.Corrupt)}[rng.IntN(6)]
		}
		switch rng.IntN(6) {
		case 0:
			return &errors.Error{Op: "private", Err: grow(depth - 1)}
		case 1:
			return &errors.Error{Op: "private", Msg: "public", Err: grow(depth - 1)}
		case 2:
			return fmt.Errorf("private: %w", errors.Join(plain("private"), grow(depth-1)))
		case 3:
			return single{grow(depth - 1)}
		case 4:
			return many{[]error{grow(depth - 1), grow(depth - 1)}}
		default:
			return errors.Join(grow(depth-1), grow(depth-1))
		}
	}
	said := 0
	for range 5000 {
		err := grow(rng.IntN(6))
		switch msg := errors.MessageOf(err); msg {
		case "public":
			said++
		case "":
		default:
			t.Fatalf("seed %d: MessageOf(%v) = %q", seed, err, msg)
		}
		errors.CodeOf(err) // must not panic on any tree
	}
	if said == 0 {
		t.Errorf("seed %d: no tree had a message; the test proves nothing", seed)
	}
}

func TestFaultsReportsAll(t *testing.T) {
	f := errors.Faults{Op: "ratelimit.NewLimits"}
	if err := f.Err(); err != nil {
		t.Fatalf("no faults, and Err is %v", err)
	}
	f.Join(nil)
	if err := f.Err(); err != nil {
		t.Fatalf("Join(nil) noted %v", err)
	}
	f.Add("limit %q: count is %d; give 1 or more", "day", 0)
	nested := errors.Faults{Op: "scopes.Parse"}
	nested.Add("scope 1 is empty")
	nested.Add("scope 2 is empty")
	f.Join(nested.Err())
	foreign := io.ErrUnexpectedEOF
	f.Join(foreign)
	f.Add("limit %q: period is 0s; give 1ms or more", "day")

	err := f.Err()
	want := `ratelimit.NewLimits: limit "day": count is 0; give 1 or more
scopes.Parse: scope 1 is empty
scopes.Parse: scope 2 is empty
unexpected EOF
ratelimit.NewLimits: limit "day": period is 0s; give 1ms or more`
	if err.Error() != want {
		t.Errorf("reads\n%v\nwant\n%s", err, want)
	}
	if errors.CodeOf(err) != errors.Invalid {
		t.Errorf("code %v", errors.CodeOf(err))
	}
	if got := errors.MessageOf(err); got != `limit "day": count is 0; give 1 or more` {
		t.Errorf("message %q", got)
	}
	if !errors.Is(err, foreign) {
		t.Error("a joined fault is not reachable")
	}
}

func TestFaultsErrIsNotChangedByLaterFaults(t *testing.T) {
	var f errors.Faults
	f.Add("one")
	err := f.Err()
	f.Add("two")
	if strings.Contains(err.Error(), "two") {
		t.Errorf("an error that was handed out became %q", err)
	}
}

func TestForwards(t *testing.T) {
	if err := errors.New("x"); err.Error() != "x" || errors.Is(err, errors.New("x")) {
		t.Error("New does not make a distinct error")
	}
	if errors.Join(nil, nil) != nil {
		t.Error("Join of nils is an error")
	}
	if errors.Unwrap(plain("x")) != nil {
		t.Error("Unwrap finds something in a plain error")
	}
	if _, ok := errors.AsType[*errors.Error](plain("x")); ok {
		t.Error("AsType finds an *Error in a plain error")
	}
}
