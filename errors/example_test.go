package errors_test

import (
	"fmt"
	"io"

	"github.com/keytoll/keytoll/errors"
)

// A package keeps its sentinels, and wraps each once, where it leaves the package.
func Example() {
	var errExpired error = &errors.Error{Code: errors.Unauthenticated, Msg: "the API key has expired"}

	err := errors.Wrap("apikey.Verify", errExpired)

	fmt.Println(err)
	fmt.Println(errors.Is(err, errExpired))
	fmt.Println(errors.CodeOf(err))
	// Output:
	// apikey.Verify: the API key has expired
	// true
	// unauthenticated
}

// What a client may read and what an operator needs are kept apart.
func ExampleMessageOf() {
	err := &errors.Error{
		Code: errors.Unavailable,
		Op:   "apikey.Verify",
		Msg:  "keys cannot be checked now; try again later",
		Err:  io.ErrUnexpectedEOF,
	}
	fmt.Println("client:  ", errors.MessageOf(err))
	fmt.Println("operator:", err)
	// Output:
	// client:   keys cannot be checked now; try again later
	// operator: apikey.Verify: keys cannot be checked now; try again later: unexpected EOF
}

// The mistake: sending the text of an error to a client. It holds the cause.
func ExampleError_Error_incorrect() {
	err := errors.Wrap("apikey.Verify", fmt.Errorf("dial 10.0.0.7:5432: refused"))
	fmt.Printf("%q\n", err.Error())
	fmt.Printf("%q\n", errors.MessageOf(err))
	// Output:
	// "apikey.Verify: dial 10.0.0.7:5432: refused"
	// ""
}

// A constructor names everything that is wrong at once.
func ExampleFaults() {
	f := errors.Faults{Op: "ratelimit.NewLimits"}
	f.Add("limit %q: count is %d; give 1 or more", "day", 0)
	f.Add("limit %q: name is taken by limit 1", "day")
	fmt.Println(f.Err())
	// Output:
	// ratelimit.NewLimits: limit "day": count is 0; give 1 or more
	// ratelimit.NewLimits: limit "day": name is taken by limit 1
}
