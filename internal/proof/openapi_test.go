package proof_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

// A description is an OpenAPI document that answers are held against, and what of
// it has been seen.
type description struct {
	*testing.T
	validator validator.Validator
	handler   http.Handler
	left      map[string]bool // "method path status" that is documented and not seen yet
}

// describe checks the document and returns it.
func describe(t *testing.T, text []byte, handler http.Handler) *description {
	t.Helper()
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(document)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, faults := v.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Error(f)
			for _, s := range f.SchemaValidationErrors {
				t.Error(s)
			}
		}
		t.FailNow()
	}
	d := &description{T: t, validator: v, handler: handler, left: make(map[string]bool)}
	var root struct {
		OpenAPI string
		Paths   map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(text, &root); err != nil || !strings.HasPrefix(root.OpenAPI, "3.1") {
		t.Fatal(root.OpenAPI, err)
	}
	for path, item := range root.Paths {
		for method, raw := range item {
			var operation struct{ Responses map[string]any }
			if method == "parameters" {
				continue
			}
			if err := json.Unmarshal(raw, &operation); err != nil {
				t.Fatal(err)
			}
			for status := range operation.Responses {
				d.left[strings.ToUpper(method)+" "+path+" "+status] = true
			}
		}
	}
	return d
}

// A try is one request.
type try struct {
	method, path, body string
	header             http.Header
}

// send makes a request of a documented operation, and holds request and answer, or
// the answer alone where the request is meant to be wrong, against the document.
func (d *description) send(operation string, in try, status int) []byte {
	d.Helper()
	request := func() *http.Request {
		r := httptest.NewRequest(in.method, in.path, strings.NewReader(in.body))
		maps.Copy(r.Header, in.header)
		return r
	}
	w := httptest.NewRecorder()
	d.handler.ServeHTTP(w, request())
	body := w.Body.Bytes()
	if w.Code != status {
		d.Errorf("%s %s %s: status %d, body %s; want %d", in.method, in.path, in.body, w.Code, body, status)
		return body
	}
	check := d.validator.ValidateHttpResponse
	if status < 300 {
		check = d.validator.ValidateHttpRequestResponse
	}
	response := w.Result()
	response.Body = io.NopCloser(bytes.NewReader(body))
	if ok, faults := check(request(), response); !ok {
		for _, f := range faults {
			d.Errorf("%s %s %s: %d %s: %v %v", in.method, in.path, in.body, status, body, f, f.SchemaValidationErrors)
		}
	}
	seen := in.method + " " + operation + " " + strconv.Itoa(status)
	if status >= 500 {
		seen = in.method + " " + operation + " default"
	}
	delete(d.left, seen)
	return body
}

// complete fails for what is documented and was not seen.
func (d *description) complete() {
	d.Helper()
	for _, missing := range slices.Sorted(maps.Keys(d.left)) {
		d.Errorf("documented and never answered: %s", missing)
	}
}
