package webhook_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner" +
	"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

const svixSecret, svixID, svixTime = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330

// vectors come from the Standard Webhooks libraries, from Svix's server, from
// the documentation of GitHub and Slack, and for Stripe, Shopify and Paddle from
// computing what they document with another implementation. Those of RFC 9421
// and of Twilio are with their code.
var vectors = []struct {
	name           string
	scheme         webhook.Scheme
	secret, public string // public: what verifies, if it is not secret
	id             string
	at             int64
	body           string
	signature      string // with {t} for the timestamp
}{
	{"rust library", webhook.Scheme{}, "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "", "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1649367553,
		`{"email":"test@example.com","username":"test_user"}`, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw="},
	{"svix server", webhook.Standard("svix-"), svixSecret, "", svixID, svixTime, `{"test": 2432232314}`, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
	{"empty body", webhook.Scheme{}, svixSecret, "", svixID, svixTime, "", "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A="},
	{"empty object", webhook.Scheme{}, svixSecret, "", svixID, svixTime, "{}", "v1,aZgkZHxTDvZJsDWtN4dfyyZWkpgTgg60bdob9DOG8Mc="},
	{"beyond ASCII", webhook.Scheme{}, svixSecret, "", svixID, svixTime, `{"type":"order.paid","name":"Zoë 🚀 <&>"}`, "v1,zuuftZMJ4a7Hj/7xlu998t0YzTEM2wWnp4ZeTftbv9A="},
	{"v1a of the svix server", webhook.Scheme{}, "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==",
		"whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", svixID, svixTime, `{"test": 2432232314}`,
		"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="},
	{"Stripe", webhook.Stripe(), "whsec_test_secret", "", "x", svixTime, `{"id":"evt_1"}`, "t={t},v1=e135cdbed3dda004bf8a2fb350f2541d299393c770e0b9e6e319dc595e9072aa"},
	{"GitHub", webhook.GitHub(), "It's a Secret to Everybody", "", "x", svixTime, "Hello, World!", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
	{"Slack", webhook.Slack(), "8f742231b10e8888abcd99yyyzzz85a5", "", "x", 1531420618, slackBody, "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"},
	{"Shopify", webhook.Shopify(), "hush", "", "x", svixTime, `{"id":123}`, "75DK9h3ZbLv2nIMppOFKPFxSYU9PgXvd4NXUhSs88Jk="},
	{"Paddle", webhook.Paddle(), "pdl_ntfset_01gkpjp8bkm3tm53kdgkx6sms7_6h3qd3uFSi9YCD3OLYAShQI90XTI5vEI", "", "x", 1671552777, `{"event_id":"evt_1"}`,
		"ts={t};h1=537dc34dea089c1218953e95c652a9f383699c04821672253f702a7e09342288"},
}

// vectorSecret makes the secret of a vector, as whoever has it would.
func vectorSecret(tb testing.TB, scheme webhook.Scheme, text string) webhook.Secret {
	tb.Helper()
	switch {
	case strings.HasPrefix(text, "whsk_"):
		return must(webhook.PrivateKeyFromString(text))(tb)
	case strings.HasPrefix(text, "whpk_"):
		return must(webhook.PublicKeyFromString(text))(tb)
	case scheme == webhook.Scheme{} || scheme == webhook.Standard("svix-"):
		return must(webhook.SecretFromString(text))(tb)
	case len(text) < webhook.MinSecret:
		return webhook.ShortSecret(text)
	}
	return must(webhook.SecretFromRaw(text))(tb)
}

func oneKey(tb testing.TB, scheme webhook.Scheme, secret webhook.Secret) webhook.Keys {
	tb.Helper()
	return must(webhook.NewKeys(webhook.Key{ID: "k", Secret: secret, Scheme: scheme}))(tb)
}

func TestVectorsAreSignedByteForByte(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			want := strings.ReplaceAll(v.signature, "{t}", strconv.FormatInt(v.at, 10))
			keys := oneKey(t, v.scheme, vectorSecret(t, v.scheme, v.secret))
			signer := must(webhook.NewSigner(keys))(t)
			got, err := signer.AppendSignature([]byte("x"), v.id, time.Unix(v.at, 0), []byte(v.body))
			if err != nil || string(got) != "x"+want {
				t.Errorf("AppendSignature = %q, %v; want %q", got, err, "x"+want)
			}
			header := http.Header{}
			if err := signer.Sign(header, v.id, time.Unix(v.at, 0), []byte(v.body)); err != nil {
				t.Fatal(err)
			}
			for k := range keys.All() {
				if got := header.Get(k.Scheme.SignatureHeader); got != want {
					t.Errorf("signature header = %q, want %q", got, want)
				}
			}
		})
	}
}

func TestVectorsAreVerified(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			secret := v.secret
			if v.public != "" {
				secret = v.public
			}
			keys := oneKey(t, v.scheme, vectorSecret(t, v.scheme, secret))
			verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(v.at)}))(t)
			var scheme webhook.Scheme
			for k := range keys.All() {
				scheme = k.Scheme
			}
			timestamp := strconv.FormatInt(v.at, 10)
			header := http.Header{}
			header.Set(scheme.SignatureHeader, strings.ReplaceAll(v.signature, "{t}", timestamp))
			want := webhook.Verified{KeyID: "k", Scheme: scheme.Name}
			if strings.Contains(scheme.Signed, "{timestamp}") {
				want.Timestamp = time.Unix(v.at, 0).UTC()
			}
			if scheme.TimestampHeader != "" {
				header.Set(scheme.TimestampHeader, timestamp)
			}
			if strings.Contains(scheme.Signed, "{id}") {
				header.Set(scheme.IDHeader, v.id)
				want.ID = v.id
			}
			got, err := verifier.Verify(header, []byte(v.body))
			if err != nil || got != want {
				t.Fatalf("Verify = %+v, %v; want %+v", got, err, want)
			}
			_, err = verifier.Verify(header, []byte(v.body+" "))
			wantIs(t, err, webhook.ErrSignature)
		})
	}
}
