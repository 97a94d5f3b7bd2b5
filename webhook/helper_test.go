package webhook_test

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const (
	testSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
	testID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	testTime    = 1614265330
	testBody    = `{"test": 2432232314}`
)

func must[T any](v T, err error) func(testing.TB) T {
	return func(tb testing.TB) T {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}
}

func keysOf(tb testing.TB, secrets ...string) webhook.Keys {
	tb.Helper()
	var list []webhook.Key
	for _, s := range secrets {
		list = append(list, webhook.Key{Secret: must(webhook.SecretFromString(s))(tb)})
	}
	return must(webhook.NewKeys(list...))(tb)
}

func newSigner(tb testing.TB, secrets ...string) *webhook.Signer {
	tb.Helper()
	return must(webhook.NewSigner(keysOf(tb, secrets...)))(tb)
}

// newVerifier has its clock at testTime.
func newVerifier(tb testing.TB, secrets ...string) *webhook.Verifier {
	tb.Helper()
	return must(webhook.NewVerifier(keysOf(tb, secrets...), &webhook.VerifierOptions{Now: clockAt(testTime)}))(tb)
}

func clockAt(seconds int64) func() time.Time {
	return func() time.Time { return time.Unix(seconds, 0) }
}

func headers(id string, at int64, signatures string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", strconv.FormatInt(at, 10))
	h.Set("webhook-signature", signatures)
	return h
}

func wantIs(tb testing.TB, err, target error) {
	tb.Helper()
	if !errors.Is(err, target) {
		tb.Errorf("error = %v, want one that matches %q", err, target)
	}
}
