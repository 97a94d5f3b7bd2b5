package secretscan_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/base64"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/secretscan"
)

func TestUnsignedRequestsDoNothing(t *testing.T) {
	s := newScene(t, nil, nil)
	issued := s.create()
	body := `[{"token":"` + issued.Secret.Reveal() + `","type":"t","url":"u","source":"commit"}]`
	valid := sign(t, s.key, []byte(body))
	for name, alter := range map[string]func(h http.Header){
		"no headers":      func(h http.Header) { clear(h) },
		"no name":         func(h http.Header) { h.Del(secretscan.HeaderKey) },
		"no signature":    func(h http.Header) { h.Del(secretscan.HeaderSignature) },
		"two names":       func(h http.Header) { h.Add(secretscan.HeaderKey, keyName) },
		"two signatures":  func(h http.Header) { h.Add(secretscan.HeaderSignature, valid) },
		"empty":           func(h http.Header) { h.Set(secretscan.HeaderSignature, "") },
		"unknown name":    func(h http.Header) { h.Set(secretscan.HeaderKey, "other") },
		"long name":       func(h http.Header) { h.Set(secretscan.HeaderKey, strings.Repeat("k", 1000)) },
		"not base64":      func(h http.Header) { h.Set(secretscan.HeaderSignature, "%%%") },
		"not a signature": func(h http.Header) { h.Set(secretscan.HeaderSignature, "AAAA") },
		"long":            func(h http.Header) { h.Set(secretscan.HeaderSignature, strings.Repeat("A", 1000)) },
		"of another body": func(h http.Header) { h.Set(secretscan.HeaderSignature, sign(t, s.key, []byte(body+" "))) },
		"of another key": func(h http.Header) {
			h.Set(secretscan.HeaderSignature, sign(t, newKey(t, elliptic.P256()), []byte(body)))
		},
		"with a tail": func(h http.Header) {
			der, _ := base64.StdEncoding.DecodeString(valid)
			h.Set(secretscan.HeaderSignature, base64.StdEncoding.EncodeToString(append(der, 0)))
		},
		"of zeros": func(h http.Header) {
			h.Set(secretscan.HeaderSignature, base64.StdEncoding.EncodeToString([]byte{0x30, 6, 2, 1, 0, 2, 1, 0}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.request(body)
			alter(r.Header)
			w := s.serve(r)
			if w.Code != http.StatusUnauthorized || strings.Contains(w.Body.String(), "sk_") {
				t.Errorf("the answer is %d %s", w.Code, w.Body)
			}
			if r := <-s.reports; r.Status != http.StatusUnauthorized || r.Err == nil || r.Items != 0 {
				t.Errorf("report %+v", r)
			}
		})
	}
	if s.state(issued.Key.ID) != apikey.StateActive || s.events(issued.Key.ID) != 1 {
		t.Error("a request that nobody signed did something")
	}
}

// What is not signed is not parsed, and what is signed is parsed strictly.
func TestHostileBodies(t *testing.T) {
	s := newScene(t, nil, &secretscan.Options{MaxBody: 100_000, MaxItems: 3})
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"nothing":           {"", 400},
		"garbage":           {"\xff\x00", 400},
		"null":              {"null", 400},
		"an object":         {`{"token":"x"}`, 400},
		"a text":            {`"x"`, 400},
		"no end":            {`[{"token":"x"}`, 400},
		"a comma too many":  {`[{"token":"x"},]`, 400},
		"two arrays":        {`[][]`, 400},
		"a tail":            {`[] x`, 400},
		"deep":              {strings.Repeat("[", 50_000), 400},
		"deep in an item":   {`[` + strings.Repeat(`{"a":`, 15_000) + `1` + strings.Repeat(`}`, 15_000) + `]`, 400},
		"none":              {`[]`, 200},
		"none, spaced":      {" [ \n ] \n", 200},
		"as many as may be": {`[1,2,3]`, 200},
		"too many":          {`[1,2,3,4]`, 413},
		"too large":         {`[` + strings.Repeat(" ", 100_000) + `]`, 413},
	} {
		t.Run(name, func(t *testing.T) {
			if w := s.serve(s.request(tt.body)); w.Code != tt.status {
				t.Errorf("the answer is %d %s, want %d", w.Code, w.Body, tt.status)
			}
			unknownLength := s.request(tt.body)
			unknownLength.ContentLength = -1
			if w := s.serve(unknownLength); w.Code != tt.status {
				t.Errorf("the answer is %d for a body of unknown length, want %d", w.Code, tt.status)
			}
			unsigned := s.request(tt.body)
			unsigned.Header.Set(secretscan.HeaderSignature, sign(t, s.key, []byte("other")))
			if w := s.serve(unsigned); w.Code != http.StatusUnauthorized && tt.status != 413 {
				t.Errorf("the answer is %d without a signature", w.Code)
			}
		})
	}
	broken := s.request("[]")
	broken.Body = io.NopCloser(io.MultiReader(strings.NewReader("["), brokenReader{}))
	if w := s.serve(broken); w.Code != http.StatusBadRequest {
		t.Errorf("the answer is %d for a body that breaks off", w.Code)
	}
	get := s.request("[]")
	get.Method = http.MethodGet
	if w := s.serve(get); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("the answer to GET is %d %v", w.Code, w.Header())
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type sourceFunc func() (*ecdsa.PublicKey, error)

func (f sourceFunc) Key(context.Context, string) (*ecdsa.PublicKey, error) { return f() }

// Without keys nothing is believed, and nothing is lost.
func TestSourceThatCannotDecide(t *testing.T) {
	s := newScene(t, nil, nil)
	for name, source := range map[string]sourceFunc{
		"an error":      func() (*ecdsa.PublicKey, error) { return nil, errors.New("down") },
		"no key":        func() (*ecdsa.PublicKey, error) { return nil, nil },
		"another curve": func() (*ecdsa.PublicKey, error) { return &newKey(t, elliptic.P384()).PublicKey, nil },
	} {
		intake, err := secretscan.NewIntake(s.service, source, always(apikey.LeakNote), nil)
		if err != nil {
			t.Fatal(err)
		}
		s.intake = intake
		if w := s.serve(s.request("[]")); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: the answer is %d", name, w.Code)
		}
	}
}
