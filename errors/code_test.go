package errors_test

import (
	"context"
	stderrors "errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/keytoll/keytoll/errors"
)

// Numbers and names are stored in metrics and journals. A row here may be added
// and never changed.
var pinned = []struct {
	code   errors.Code
	number uint8
	name   string
}{
	{errors.Unknown, 0, "unknown"},
	{errors.Invalid, 1, "invalid"},
	{errors.NotFound, 2, "not_found"},
	{errors.Exists, 3, "exists"},
	{errors.Conflict, 4, "conflict"},
	{errors.Unauthenticated, 5, "unauthenticated"},
	{errors.Forbidden, 6, "forbidden"},
	{errors.Exhausted, 7, "exhausted"},
	{errors.Insufficient, 8, "insufficient"},
	{errors.Canceled, 9, "canceled"},
	{errors.DeadlineExceeded, 10, "deadline_exceeded"},
	{errors.Unavailable, 11, "unavailable"},
	{errors.Corrupt, 12, "corrupt"},
}

func TestCodesArePinned(t *testing.T) {
	seen := map[string]bool{}
	for i, tt := range pinned {
		if uint8(tt.code) != tt.number || tt.code.String() != tt.name {
			t.Errorf("row %d: code %d is called %q, want %d and %q", i, tt.code, tt.code, tt.number, tt.name)
		}
		if seen[tt.name] {
			t.Errorf("the name %q is used twice", tt.name)
		}
		seen[tt.name] = true
	}
	// The row after the last: a new code without a pin fails here.
	next := errors.Code(len(pinned))
	if got, want := next.String(), fmt.Sprintf("code(%d)", next); got != want {
		t.Errorf("code %d is called %q and not pinned in this table", next, got)
	}
	if got := errors.Code(255).String(); got != "code(255)" {
		t.Errorf("code 255 is called %q", got)
	}
}

// Errors of foreign making, one for each way in which a tree can grow.
type (
	single struct{ err error }
	many   struct{ errs []error }
)

func (e single) Error() string    { return "single" }
func (e single) Unwrap() error    { return e.err }
func (e many) Error() string      { return "many" }
func (e many) Unwrap() []error    { return e.errs }
func coded(c errors.Code) error   { return &errors.Error{Code: c} }
func typedNil() error             { return (*errors.Error)(nil) }
func plain(text string) error     { return stderrors.New(text) }
func under(err error) error       { return fmt.Errorf("under: %w", err) }
func both(err1, err2 error) error { return fmt.Errorf("%w and %w", err1, err2) }

func TestCodeOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		err  error
		want errors.Code
	}{
		{"nil", nil, errors.Unknown},
		{"a plain error", plain("x"), errors.Unknown},
		{"a coded error", coded(errors.NotFound), errors.NotFound},
		{"the zero Error", &errors.Error{}, errors.Unknown},
		{"wrapped by fmt", under(under(coded(errors.Exists))), errors.Exists},
		{"wrapped by Wrap", errors.Wrap("op", coded(errors.Exists)), errors.Exists},
		{"wrapped by a foreign type", single{coded(errors.Forbidden)}, errors.Forbidden},
		{"the outer of two codes", &errors.Error{Code: errors.Unavailable, Err: coded(errors.Corrupt)}, errors.Unavailable},
		{"Unknown gives way to what is below", &errors.Error{Err: coded(errors.Corrupt)}, errors.Corrupt},
		{"the first branch of a join", errors.Join(coded(errors.Invalid), coded(errors.Corrupt)), errors.Invalid},
		{"the second branch when the first has none", errors.Join(plain("x"), coded(errors.Corrupt)), errors.Corrupt},
		{"the second %w", both(plain("x"), coded(errors.Conflict)), errors.Conflict},
		{"deep in the first branch before shallow in the second",
			errors.Join(under(under(coded(errors.Insufficient))), coded(errors.Invalid)), errors.Insufficient},
		{"joins in joins", errors.Join(plain("x"), errors.Join(plain("y"), errors.Join(coded(errors.Exhausted)))), errors.Exhausted},
		{"after a branch that ends in nil", many{[]error{nil, single{nil}, coded(errors.Exists)}}, errors.Exists},
		{"a join of nothing", many{}, errors.Unknown},

		{"a nil *Error", typedNil(), errors.Unknown},
		{"a nil *Error, wrapped", under(typedNil()), errors.Unknown},
		{"a nil *Error in a join", errors.Join(typedNil(), coded(errors.Exists)), errors.Exists},
		{"a nil *Error as the cause", &errors.Error{Err: typedNil()}, errors.Unknown},

		{"canceled", context.Canceled, errors.Canceled},
		{"deadline", context.DeadlineExceeded, errors.DeadlineExceeded},
		{"canceled, wrapped", errors.Wrap("op", under(context.Canceled)), errors.Canceled},
		{"deadline in a join", errors.Join(plain("x"), under(context.DeadlineExceeded)), errors.DeadlineExceeded},
		{"a code above the context's", &errors.Error{Code: errors.Unavailable, Err: context.Canceled}, errors.Unavailable},
		{"a code beside the context's", errors.Join(context.Canceled, coded(errors.Unavailable)), errors.Unavailable},
		{"canceled before deadline", errors.Join(context.DeadlineExceeded, context.Canceled), errors.Canceled},
		{"a number of a later version", &errors.Error{Code: 200}, 200},
		{"another package's not found", fs.ErrNotExist, errors.Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := errors.CodeOf(tt.err); got != tt.want {
				t.Errorf("CodeOf(%v) = %v, want %v", tt.err, got, tt.want)
			}
		})
	}
}

func TestCodeOfKnowsARealContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := errors.CodeOf(errors.Wrap("op", ctx.Err())); got != errors.Canceled {
		t.Errorf("a canceled context has code %v", got)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 0)
	defer cancel()
	<-ctx.Done()
	if got := errors.CodeOf(errors.Wrap("op", ctx.Err())); got != errors.DeadlineExceeded {
		t.Errorf("a context past its deadline has code %v", got)
	}
}
