package benchcmp_test

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/keytoll/keytoll/webhook"
)

// A rival is the official Go library of a scheme.
type rival struct {
	name   string
	scheme webhook.Scheme
	prefix string // of the headers that carry id and timestamp; "" when the signature's does
	// secret makes ours of a text, as the library reads it.
	secret func(text string) (webhook.Secret, error)
	// verify and sign are the library's; sign returns the header's value.
	verify func(secret string, header http.Header, body []byte) error
	sign   func(secret, id string, at time.Time, body []byte) (string, error)
	strict []strictness
}

// A strictness is a reason for which we refuse what a library accepts.
type strictness struct {
	name   string
	err    error
	differ func(s *sample) bool
}

// A sample is one message as it is received.
type sample struct {
	rival     *rival
	header    http.Header
	body      []byte
	id        string // what the library takes for it
	timestamp string // what the library takes for it
	signature string // the first line of the header
}

func rivals() []*rival {
	hooks := []strictness{
		{"a header on several lines", webhook.ErrMalformed, manyLines},
		{"an id of more than 256 bytes, or of others than A-Z, a-z, 0-9, '_' and '-'", webhook.ErrMalformed, func(s *sample) bool { return !plainID.MatchString(s.id) }},
		{"a timestamp with a sign or leading zeros", webhook.ErrMalformed, func(s *sample) bool { return !plainTimestamp.MatchString(s.timestamp) }},
		{"a signature header of more than 4096 bytes", webhook.ErrMalformed, func(s *sample) bool { return len(s.signature) > 4096 }},
		{"more than 16 entries", webhook.ErrMalformed, func(s *sample) bool { return strings.Count(s.signature, " ") > 15 }},
		{`a "v1" entry that is not base64 of 32 bytes`, webhook.ErrMalformed, func(s *sample) bool { return badMAC(s.signature, " ", "v1,", hookMAC) }},
		{"an entry of another version that does not look like one", webhook.ErrMalformed, func(s *sample) bool { return badOther(s.signature, " ", hookOther, "v1,") }},
	}
	return []*rival{
		{"standard-webhooks", webhook.Standard(""), "Webhook-", webhook.SecretFromString, standardCheck, standardMake, hooks},
		{"svix", webhook.Standard("svix-"), "Svix-", webhook.SecretFromString, svixCheck, svixMake, append(hooks,
			strictness{"the headers of another prefix", webhook.ErrMissing, func(s *sample) bool {
				return s.header.Get("Svix-Id") == "" || s.header.Get("Svix-Timestamp") == "" || s.header.Get("Svix-Signature") == ""
			}})},
		{"stripe-go", webhook.Stripe(), "", webhook.SecretFromRaw, stripeCheck, stripeMake, []strictness{
			{"a header on several lines", webhook.ErrMalformed, manyLines},
			{"a timestamp further ahead than the tolerance", webhook.ErrTooNew, func(s *sample) bool { return ahead(s.timestamp) }},
			{"a timestamp with a sign or leading zeros", webhook.ErrMalformed, func(s *sample) bool { return !plainTimestamp.MatchString(s.timestamp) }},
			{"several timestamps", webhook.ErrMalformed, func(s *sample) bool { return len(stripeTime.FindAllString(s.signature, -1)) > 1 }},
			{"a header of more than 4096 bytes", webhook.ErrMalformed, func(s *sample) bool { return len(s.signature) > 4096 }},
			{"more than 16 entries", webhook.ErrMalformed, func(s *sample) bool { return strings.Count(s.signature, ",") > 15 }},
			{`a "v1" entry that is not 64 digits of lower-case hex`, webhook.ErrMalformed, func(s *sample) bool { return badMAC(s.signature, ",", "v1=", stripeMAC) }},
			{"an entry of another kind that does not look like one", webhook.ErrMalformed, func(s *sample) bool { return badOther(s.signature, ",", stripeOther, "v1=", "t=") }},
		}},
	}
}

// What we accept, in regular expressions.
var (
	plainID        = regexp.MustCompile(`\A[A-Za-z0-9_-]{1,256}\z`)
	plainTimestamp = regexp.MustCompile(`\A[1-9][0-9]{0,10}\z`)
	hookMAC        = regexp.MustCompile(`\Av1,[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=\z`)
	hookOther      = regexp.MustCompile(`\A[a-z0-9]{1,16},[\x21-\x2b\x2d-\x7e]+\z`)
	stripeMAC      = regexp.MustCompile(`\Av1=[0-9a-f]{64}\z`)
	stripeOther    = regexp.MustCompile(`\A[a-z0-9]{1,16}=[\x21-\x2b\x2d-\x3c\x3e-\x7e]+\z`)
	stripeTime     = regexp.MustCompile(`(?:\A|,)t=`)
)

// badMAC reports whether an entry that begins with kind is not as it has to be.
func badMAC(list, separator, kind string, good *regexp.Regexp) bool {
	for entry := range strings.SplitSeq(list, separator) {
		if strings.HasPrefix(entry, kind) && !good.MatchString(entry) {
			return true
		}
	}
	return false
}

// badOther reports whether an entry of no known kind is not as it has to be.
func badOther(list, separator string, good *regexp.Regexp, kinds ...string) bool {
	for entry := range strings.SplitSeq(list, separator) {
		known := slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(entry, kind) })
		if !known && !good.MatchString(entry) {
			return true
		}
	}
	return false
}

func manyLines(s *sample) bool {
	for _, name := range []string{s.rival.scheme.IDHeader, s.rival.scheme.TimestampHeader, s.rival.scheme.SignatureHeader} {
		if len(s.header.Values(name)) > 1 {
			return true
		}
	}
	return false
}

// ahead reports whether a timestamp is more than five minutes ahead. No sample is
// within a minute of that.
func ahead(timestamp string) bool {
	var seconds int64
	_, err := fmt.Sscan(timestamp, &seconds)
	return err == nil && time.Until(time.Unix(seconds, 0)) > 5*time.Minute
}

func standardCheck(secret string, header http.Header, body []byte) error {
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(body, header)
}

func standardMake(secret, id string, at time.Time, body []byte) (string, error) {
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return "", err
	}
	return wh.Sign(id, at, body)
}

func svixCheck(secret string, header http.Header, body []byte) error {
	wh, err := svix.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(body, header)
}

func svixMake(secret, id string, at time.Time, body []byte) (string, error) {
	wh, err := svix.NewWebhook(secret)
	if err != nil {
		return "", err
	}
	return wh.Sign(id, at, body)
}

func stripeCheck(secret string, header http.Header, body []byte) error {
	return stripe.ValidatePayload(body, header.Get("Stripe-Signature"), secret)
}

func stripeMake(secret, _ string, at time.Time, body []byte) (string, error) {
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(stripe.ComputeSignature(at, body, secret))), nil
}

// keysFor is our set of the secrets that a library reads.
func (r *rival) keysFor(tb testing.TB, secrets ...string) webhook.Keys {
	tb.Helper()
	var list []webhook.Key
	for _, text := range secrets {
		secret, err := r.secret(text)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, webhook.Key{Secret: secret, Scheme: r.scheme})
	}
	keys, err := webhook.NewKeys(list...)
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

func (r *rival) verifier(tb testing.TB, secrets ...string) *webhook.Verifier {
	tb.Helper()
	v, err := webhook.NewVerifier(r.keysFor(tb, secrets...), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func (r *rival) signer(tb testing.TB, secrets ...string) *webhook.Signer {
	tb.Helper()
	s, err := webhook.NewSigner(r.keysFor(tb, secrets...))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
