package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/keytoll/keytoll/middleware"
)

// readJSON reads the one JSON object that the body must be into v, or answers
// what is wrong and returns false. An empty body leaves v as it is.
func readJSON(w http.ResponseWriter, r *http.Request, v any) bool {
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	err := in.Decode(v)
	if err == nil {
		if _, err = in.Token(); err == nil {
			err = errors.New("something follows the object")
		}
	}
	if errors.Is(err, io.EOF) {
		return true
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		problem(w, r, http.StatusRequestEntityTooLarge, "body_too_large", "the body is longer than this service reads")
		return false
	}
	problem(w, r, http.StatusBadRequest, "invalid_request", "the body is not the JSON object this route takes: "+err.Error())
	return false
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(v) // fails when the client has left: nobody is there to be told
}

// problem answers in the form in which the gate refuses: RFC 9457, with a
// stable code and the request's id.
func problem(w http.ResponseWriter, r *http.Request, status int, code, detail string) {
	pass, _ := middleware.PassFrom(r.Context())
	pass.Refuse(w, r, status, code, detail)
}

// fail answers 500 without the cause, which goes to the log.
func (a *app) fail(w http.ResponseWriter, r *http.Request, err error) {
	a.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	problem(w, r, http.StatusInternalServerError, "internal", "something went wrong here; nothing is charged")
}
