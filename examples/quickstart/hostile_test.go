package main_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// raw sends bytes as they are and reads the answer.
func (p *process) raw(t *testing.T, request string) answer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.Addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.WriteString(conn, request) }() // the server may answer and close before it has read all
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer to %.80q: %v", request, err)
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}
}

func TestGarbageHeaders(t *testing.T) {
	t.Parallel()
	p := start(t)
	request := func(headers string) string {
		return "POST /v1/images HTTP/1.1\r\nHost: x\r\nContent-Length: 14\r\n" + headers + "\r\n\r\n" + `{"prompt":"x"}`
	}
	good := "Authorization: Bearer " + p.Key
	tests := map[string]struct {
		headers string
		status  []int
	}{
		"two good keys":           {good + "\r\n" + good, []int{401}},
		"good and bad key":        {good + "\r\nAuthorization: Bearer x", []int{401}},
		"bad and good key":        {"Authorization: Bearer x\r\n" + good, []int{401}},
		"two keys in one line":    {good + ", Bearer " + p.Key, []int{401}},
		"basic":                   {"Authorization: Basic " + p.Key, []int{401}},
		"no scheme":               {"Authorization: " + p.Key, []int{401}},
		"empty":                   {"Authorization:", []int{401}},
		"bearer alone":            {"Authorization: Bearer", []int{401}},
		"bearer and space":        {"Authorization: Bearer ", []int{401}},
		"trailing junk":           {good + " x", []int{401}},
		"folded":                  {"Authorization: Bearer\r\n " + p.Key + "x", []int{400, 401}},
		"1 MiB value":             {"Authorization: Bearer " + strings.Repeat("k", 1<<20), []int{401, 431}},
		"1 MiB after a good key":  {good + strings.Repeat("k", 1<<19), []int{401, 431}},
		"NUL":                     {good + "\x00", []int{400, 401}},
		"control byte":            {"Authorization: Bearer \x01\x02", []int{400, 401}},
		"bytes above 127":         {"Authorization: Bearer \x80\xff" + p.Key, []int{400, 401}},
		"name with a space":       {"Authorization : Bearer " + p.Key, []int{400}},
		"name with an underscore": {"X_API_Key: " + p.Key, []int{401}},
		"query":                   {"X-Original-Url: /v1/images?api_key=" + p.Key, []int{401}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := p.raw(t, request(tt.headers))
			ok := false
			for _, status := range tt.status {
				ok = ok || a.status == status
			}
			if !ok {
				t.Fatalf("status %d, want one of %v: %.300s", a.status, tt.status, a.body)
			}
			if strings.Contains(fmt.Sprint(a.header)+string(a.body), p.Key[8:]) {
				t.Errorf("the answer holds the key: %v %s", a.header, a.body)
			}
			if a.status == http.StatusUnauthorized && a.header.Get("WWW-Authenticate") == "" {
				t.Errorf("401 without WWW-Authenticate: %v", a.header)
			}
		})
	}
	if s := p.self(t, p.Key); s.Credits.Available != "100" {
		t.Errorf("credits %+v after nothing but garbage, want 100 available", s.Credits)
	}
}

func TestForgedHeadersAreIgnored(t *testing.T) {
	t.Parallel()
	p := start(t)
	// Whoever is refused stays refused, whatever he says of himself.
	for _, header := range []string{"X-Forwarded-For: 127.0.0.1", "X-API-Key-ID: key_1", "X-Request-Id: x\"}", "Forwarded: for=127.0.0.1"} {
		a := p.raw(t, "GET /v1/models HTTP/1.1\r\nHost: x\r\n"+header+"\r\n\r\n")
		a.wantProblem(t, http.StatusUnauthorized, "missing_key", "")
	}
}

func TestGuessersAreSlowedAndGoodKeysAreNot(t *testing.T) {
	t.Parallel()
	p := start(t)
	p.must(t, http.MethodGet, "/v1/key", p.Key, "").want(t, http.StatusOK)
	guess := p.Key[:len(p.Key)-1] + "!"
	limited := false
	for range 2000 {
		a := p.must(t, http.MethodGet, "/v1/models", guess, "")
		if a.status == http.StatusTooManyRequests {
			limited = true
			break
		}
		a.want(t, http.StatusUnauthorized)
	}
	if !limited {
		t.Error("2000 wrong keys from one address were never slowed")
	}
	p.must(t, http.MethodGet, "/v1/key", p.Key, "").want(t, http.StatusOK)
}
