package errors

import (
	"errors"
	"fmt"
	"strings"
)

// An Error is what every package of this module returns. Its zero value is a
// valid error of code [Unknown].
type Error struct {
	Code Code   // what programs switch on
	Op   string // the operation that failed: "apikey.Verify"
	Msg  string // safe to show to a client: what was wrong and what would be right
	Err  error  // the private cause, for operators; may be nil
}

// Error returns "op: message: cause", leaving out what is empty and a cause that
// the message begins with, and the name of the code when all is.
func (e *Error) Error() string {
	if e == nil {
		return Unknown.String()
	}
	parts := make([]string, 0, 3)
	if e.Op != "" {
		parts = append(parts, e.Op)
	}
	if e.Msg != "" {
		parts = append(parts, e.Msg)
	}
	if e.Err != nil {
		if cause := e.Err.Error(); e.Msg != cause && !strings.HasPrefix(e.Msg, cause+": ") {
			parts = append(parts, cause)
		}
	}
	if len(parts) == 0 {
		return e.Code.String()
	}
	return strings.Join(parts, ": ")
}

// Unwrap returns the private cause, and nil for a nil e: a nil *Error that
// slipped into an error is still no reason to panic.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Wrap adds the operation op to err, once, at the boundary of a package. It
// returns nil for a nil err, and keeps code and message reachable through
// [CodeOf] and [MessageOf].
func Wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op, Err: err}
}

// MessageOf returns the first client-safe message in err's tree, walked depth
// first, or "" when there is none.
func MessageOf(err error) string {
	for err != nil {
		if e, ok := err.(*Error); ok && e != nil && e.Msg != "" { //nolint:errorlint // this is the walk
			return e.Msg
		}
		switch x := err.(type) { //nolint:errorlint // this is the walk
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, branch := range x.Unwrap() {
				if m := MessageOf(branch); m != "" {
					return m
				}
			}
			return ""
		default:
			return ""
		}
	}
	return ""
}

// Faults gathers everything that is wrong with a configuration, so that one
// answer names it all. The zero value, with Op set, is ready to use.
type Faults struct {
	Op   string // the constructor: "ratelimit.NewLimits"
	errs []error
}

// Add notes one fault. The text, formatted as by fmt.Sprintf, says what was
// wrong and what would be right.
func (f *Faults) Add(format string, args ...any) {
	f.errs = append(f.errs, &Error{Code: Invalid, Op: f.Op, Msg: fmt.Sprintf(format, args...)})
}

// Join adds every fault of err, an error returned by a nested constructor; nil
// adds nothing.
func (f *Faults) Join(err error) {
	if err != nil {
		f.errs = append(f.errs, err)
	}
}

// Err returns nil when nothing was noted, and otherwise all faults joined.
func (f *Faults) Err() error { return errors.Join(f.errs...) }
