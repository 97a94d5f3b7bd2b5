package webhook_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// vectors come from the Standard Webhooks libraries and from Svix's server.
var vectors = []struct {
	name, secret, id string
	at               int64
	body, signature  string
}{
	{"rust library", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553,
		`{"email":"test@example.com","username":"test_user"}`, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
	{"svix server", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
		`{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	{"empty body", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
		"", "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A="},
	{"empty object", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
		"{}", "v1,aZgkZHxTDvZJsDWtN4dfyyZWkpgTgg60bdob9DOG8Mc="},
	{"beyond ASCII", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330,
		`{"type":"order.paid","name":"Zoë 🚀 <&>"}`, "v1,zuuftZMJ4a7Hj/7xlu998t0YzTEM2wWnp4ZeTftbv9A="},
}

func TestVectorsAreSignedByteForByte(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			signer := must(webhook.NewSigner(keysOf(t, v.secret), nil))(t)
			got, err := signer.AppendSignature([]byte("x"), v.id, time.Unix(v.at, 0), []byte(v.body))
			if err != nil || string(got) != "x"+v.signature {
				t.Errorf("AppendSignature = %q, %v; want %q", got, err, "x"+v.signature)
			}
			header := http.Header{}
			if err := signer.Sign(header, v.id, time.Unix(v.at, 0), []byte(v.body)); err != nil {
				t.Fatal(err)
			}
			if got := header.Get("webhook-signature"); got != v.signature {
				t.Errorf("signature header = %q, want %q", got, v.signature)
			}
		})
	}
}

func TestVectorsAreVerified(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			verifier := must(webhook.NewVerifier(keysOf(t, v.secret), &webhook.VerifierOptions{Now: clockAt(v.at)}))(t)
			got, err := verifier.Verify(headers(v.id, v.at, v.signature), []byte(v.body))
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != v.id || got.Timestamp != time.Unix(v.at, 0).UTC() || got.KeyID == "" {
				t.Errorf("Verify = %+v", got)
			}
			_, err = verifier.Verify(headers(v.id, v.at, v.signature), []byte(v.body+" "))
			wantIs(t, err, webhook.ErrSignature)
		})
	}
}
