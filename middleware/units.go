package middleware

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// maxUnitsBody is how much of a body JSONUnits reads.
const maxUnitsBody = 1 << 20

// JSONUnits returns an [Operation.Units] that reads a whole number, 0 or more, from
// a member of the JSON object that is the request's body; absent is what its
// absence means. The handler reads the same body afterwards.
//
// The request is refused with 400 when the body is longer than 1 MiB or no such
// object, and when the member is there twice or is no such number. As
// encoding/json does, it takes names that differ only in case for one, so that no
// handler can see a number that was not counted.
func JSONUnits(member string, absent int64) func(*http.Request) (int64, error) {
	return func(r *http.Request) (int64, error) {
		if r.Body == nil {
			return absent, nil
		}
		text, err := io.ReadAll(io.LimitReader(r.Body, maxUnitsBody+1))
		if err != nil {
			return 0, err
		}
		if len(text) > maxUnitsBody {
			return 0, refusedUnits("the body is longer than " + strconv.Itoa(maxUnitsBody) + " bytes")
		}
		_ = r.Body.Close() // all of it was read
		r.Body = io.NopCloser(bytes.NewReader(text))
		if len(bytes.TrimSpace(text)) == 0 {
			return absent, nil
		}
		return memberOf(text, member, absent)
	}
}

// memberOf finds the number in an object.
func memberOf(text []byte, member string, absent int64) (int64, error) {
	in := json.NewDecoder(bytes.NewReader(text))
	if open, err := in.Token(); err != nil || open != json.Delim('{') {
		return 0, refusedUnits("the body is not a JSON object")
	}
	n, found := absent, false
	for in.More() {
		name, err := in.Token()
		var value json.RawMessage
		if err == nil {
			err = in.Decode(&value)
		}
		if err != nil {
			return 0, refusedUnits("the body is not a JSON object")
		}
		if key, _ := name.(string); !strings.EqualFold(key, member) {
			continue
		}
		if found {
			return 0, refusedUnits(member + " is there twice; give it once")
		}
		found = true
		if n, err = strconv.ParseInt(string(value), 10, 64); err != nil || n < 0 {
			return 0, refusedUnits(member + " is not a whole number of 0 or more")
		}
	}
	if _, err := in.Token(); err != nil {
		return 0, refusedUnits("the body is not a JSON object")
	}
	return n, nil
}

func refusedUnits(msg string) error {
	return &errors.Error{Code: errors.Invalid, Op: "middleware.JSONUnits", Msg: msg}
}
