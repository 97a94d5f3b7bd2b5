package errors

import (
	"context"
	"errors"
	"strconv"
)

// A Code classifies an error for programs. Numbers and names never change
// meaning and are never reused: they may be stored in metrics and journals.
// There is no code for success, because an error that means success is a bug.
type Code uint8

// The codes, in the order of their numbers.
const (
	Unknown          Code = 0  // not classified; treat as a fault of the server
	Invalid          Code = 1  // the argument can never be right; Msg says what would be
	NotFound         Code = 2  // the thing named does not exist
	Exists           Code = 3  // the name or id is taken
	Conflict         Code = 4  // the thing's present state forbids this, or somebody changed it first
	Unauthenticated  Code = 5  // who is asking is not proven
	Forbidden        Code = 6  // who is asking is proven, and may not
	Exhausted        Code = 7  // a rate, a window or a count is used up; it may come back with time
	Insufficient     Code = 8  // not enough credit; time alone does not mend it
	Canceled         Code = 9  // the caller gave up
	DeadlineExceeded Code = 10 // the time allowed for it is over
	Unavailable      Code = 11 // a store cannot decide now; trying later may help
	Corrupt          Code = 12 // stored data contradicts itself; a person must look
)

// codes is indexed by Code.
var codes = [...]string{
	"unknown", "invalid", "not_found", "exists", "conflict", "unauthenticated", "forbidden",
	"exhausted", "insufficient", "canceled", "deadline_exceeded", "unavailable", "corrupt",
}

// String returns the code's stable name in snake case, or "code(N)" for a
// number that this version does not know.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c]
	}
	return "code(" + strconv.Itoa(int(c)) + ")"
}

// CodeOf returns the first code other than [Unknown] in err's tree, walked
// depth first as errors.Is walks it. A tree without one that holds
// context.Canceled or context.DeadlineExceeded has the code of that name. For
// everything else, nil included, it returns Unknown.
func CodeOf(err error) Code {
	if err == nil {
		return Unknown
	}
	if c := firstCode(err); c != Unknown {
		return c
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	return Unknown
}

func firstCode(err error) Code {
	for err != nil {
		if e, ok := err.(*Error); ok && e != nil && e.Code != Unknown { //nolint:errorlint // this is the walk
			return e.Code
		}
		switch x := err.(type) { //nolint:errorlint // this is the walk
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, branch := range x.Unwrap() {
				if c := firstCode(branch); c != Unknown {
					return c
				}
			}
			return Unknown
		default:
			return Unknown
		}
	}
	return Unknown
}
