package webhook_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/webhook"
)

// Every test that the list of defects names is there, and every check of the
// contract that it names by the beginning of its text.
func TestTheListOfDefectsNamesTests(t *testing.T) {
	list, err := os.ReadFile(filepath.Join("..", "docs", "webhooks-defects.md"))
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, pattern := range []string{
		"*_test.go", "webhooktest/*.go", "../stores/*/*_test.go", "../examples/*/*_test.go", "../internal/benchcmp/*_test.go",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatal(pattern, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			sources.Write(text)
		}
	}
	names := regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(list), -1)
	if len(names) < 90 {
		t.Errorf("only %d tests are named", len(names))
	}
	for _, name := range names {
		if !strings.Contains(sources.String(), "func "+name[1]+"(") {
			t.Errorf("%s is named and is not there", name[1])
		}
	}
	for _, check := range regexp.MustCompile(`\("([^"]+)"\)`).FindAllStringSubmatch(string(list), -1) {
		if !strings.Contains(sources.String(), `"`+check[1]) {
			t.Errorf("the check %q is named and is not there", check[1])
		}
	}
}

// Stripe, and others, hash with the text of a secret where Standard Webhooks
// decodes it: both begin with "whsec_", and every signature is wrong with the other.
func TestDefectSecretOfStripeIsDecoded(t *testing.T) {
	const text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	decoded, err := webhook.SecretFromString(text)
	if err != nil {
		t.Fatal(err)
	}
	_, err = webhook.NewKeys(webhook.Key{ID: "k", Secret: decoded, Scheme: webhook.Stripe()})
	wantFaults(t, err, `key 1 "k": scheme "stripe": the secret was decoded, and Stripe hashes with its text; give the whole text, "whsec_" included, to SecretFromRaw`)
	raw, err := webhook.SecretFromRaw(text)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := webhook.NewKeys(webhook.Key{ID: "k", Secret: raw, Scheme: webhook.Stripe()}); err != nil {
		t.Error(err)
	}
}
