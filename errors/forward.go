package errors

import "errors"

// New returns an error with the given text, as the standard library's does.
func New(text string) error { return errors.New(text) }

// Is reports whether any error in err's tree matches target.
func Is(err, target error) bool { return errors.Is(err, target) }

// AsType returns the first error in err's tree of type E.
func AsType[E error](err error) (E, bool) { return errors.AsType[E](err) }

// Join returns one error that wraps all given errors that are not nil, or nil.
func Join(errs ...error) error { return errors.Join(errs...) }

// Unwrap returns what err.Unwrap() error returns, or nil without that method.
func Unwrap(err error) error { return errors.Unwrap(err) }
