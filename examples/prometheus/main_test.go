package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What Prometheus would read, after a call that was charged and one that was
// refused.
func TestScrape(t *testing.T) {
	api, secret, err := newAPI(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	do := func(method, path, key string, status int) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != status {
			t.Fatalf("%s %s: status %d, %v: %s", method, path, resp.StatusCode, err, body)
		}
		return string(body)
	}
	do("POST", "/v1/images", secret.Reveal(), 200)
	do("POST", "/v1/images", "", 401)
	page := do("GET", "/metrics", "", 200) // short answers leave the server after the call was settled
	for name, want := range map[string]struct {
		labels []string
		value  string
	}{
		"keytoll_decisions_total":                 {[]string{`keytoll_operation="images.create"`, `keytoll_outcome="missing"`}, "1"},
		"keytoll_credits_captured_total":          {[]string{`keytoll_ending="success"`}, "5e+06"},
		"keytoll_settlements_total":               {[]string{`keytoll_action="capture"`, `keytoll_ending="success"`}, "1"},
		"keytoll_passes_open":                     {[]string{`keytoll_operation="images.create"`}, "0"},
		"keytoll_decision_duration_seconds_count": {[]string{`keytoll_outcome="allowed"`}, "1"},
	} {
		found := false
		for line := range strings.Lines(page) {
			hit := strings.HasPrefix(line, name+"{") && strings.HasSuffix(line, "} "+want.value+"\n")
			for _, label := range want.labels {
				hit = hit && strings.Contains(line, label)
			}
			found = found || hit
		}
		if !found {
			t.Errorf("%s%v %s is not in\n%s", name, want.labels, want.value, page)
		}
	}
	if strings.Contains(page, secret.Reveal()) || strings.Contains(page, "acct_1") {
		t.Error("the page tells whose key it was")
	}
}
