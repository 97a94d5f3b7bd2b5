package webhook_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

const rawSecret, otherRawSecret = "8f742231b10e8888abcd99yyyzzz85a5", "It's a Secret to Everybody"

// described are schemes of somebody's own: what a legacy receiver may want.
func described() []webhook.Scheme {
	return []webhook.Scheme{
		{Name: "convoy", Signed: "{timestamp},{body}", SignatureHeader: "X-Convoy-Signature", TimestampEntry: "t=", Entry: "v1=", Separator: ",", Encoding: "hex"},
		{Name: "tail", Signed: "{body}.{timestamp}:{id}", IDHeader: "X-Id", TimestampHeader: "X-Time", SignatureHeader: "X-Sig", Encoding: "base64", Hash: "sha512"},
		{Name: "pairs", Signed: "{timestamp}|{body}|end", TimestampHeader: "X-Time", SignatureHeader: "X-Sig", PublicEntry: "ed25519=", Encoding: "hex"},
		{Name: "mixed", Signed: "{id}/{timestamp}/{body}", IDHeader: "X-Id", SignatureHeader: "X-Sig", TimestampEntry: "t:", Entry: "h:", PublicEntry: "p:", Separator: ";", Encoding: "base64", Hash: "sha512"},
	}
}

func known() []webhook.Scheme {
	return []webhook.Scheme{webhook.Standard(""), webhook.Standard("svix-"), webhook.Stripe(), webhook.GitHub(), webhook.Slack(), webhook.Shopify(), webhook.Paddle()}
}

// A schemeBench is a scheme with a signer, a verifier whose clock is at testTime, and
// one message.
type schemeBench struct {
	webhook.Scheme

	keys     webhook.Keys
	signer   *webhook.Signer
	verifier *webhook.Verifier
	header   http.Header
}

func (b *schemeBench) signsTime() bool { return strings.Contains(b.Signed, "{timestamp}") }

// deciding are the headers that decide.
func (b *schemeBench) deciding() []string {
	list := []string{b.SignatureHeader}
	if b.TimestampHeader != "" {
		list = append(list, b.TimestampHeader)
	}
	if strings.Contains(b.Signed, "{id}") {
		list = append(list, b.IDHeader)
	}
	return list
}

// eachScheme runs fn for every scheme that a Scheme alone describes, with a
// shared secret and, where it takes some, with a key pair.
func eachScheme(t *testing.T, fn func(t *testing.T, b *schemeBench)) {
	t.Helper()
	for _, s := range slices.Concat(known(), described()) {
		var secrets []webhook.Secret
		if s.Entry != "" || s.PublicEntry == "" {
			secrets = append(secrets, must(webhook.SecretFromRaw(rawSecret))(t))
		}
		if s.PublicEntry != "" {
			private, _ := webhook.GenerateKeyPair()
			secrets = append(secrets, private)
		}
		for _, secret := range secrets {
			t.Run(s.Name+" "+secret.Kind().String(), func(t *testing.T) {
				b := &schemeBench{Scheme: s, keys: oneKey(t, s, secret), header: http.Header{}}
				for k := range b.keys.All() {
					b.Scheme = k.Scheme // with canonical names
				}
				b.signer = must(webhook.NewSigner(b.keys))(t)
				b.verifier = must(webhook.NewVerifier(b.keys, &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
				if err := b.signer.Sign(b.header, testID, t0, []byte(testBody)); err != nil {
					t.Fatal(err)
				}
				fn(t, b)
			})
		}
	}
}

func TestEverySchemeVerifiesWhatItSigns(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		got, err := b.verifier.Verify(b.header, []byte(testBody))
		want := webhook.Verified{KeyID: "k", Scheme: b.Name}
		if b.signsTime() {
			want.Timestamp = t0.UTC()
		}
		if strings.Contains(b.Signed, "{id}") {
			want.ID = testID
		}
		if err != nil || got != want {
			t.Fatalf("Verify = %+v, %v; want %+v", got, err, want)
		}
		for _, body := range []string{"", testBody[1:], testBody + "x", "x" + testBody} {
			_, err := b.verifier.Verify(b.header, []byte(body))
			wantIs(t, err, webhook.ErrSignature)
		}
	})
}

func TestASchemeSurvivesJSON(t *testing.T) {
	for _, s := range slices.Concat(known(), described(), []webhook.Scheme{{}, webhook.Twilio(), webhook.HTTPSignatures()}) {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again webhook.Scheme
		if err := json.Unmarshal(text, &again); err != nil || again != s {
			t.Errorf("%s became %+v, %v", text, again, err)
		}
	}
}

func TestTheZeroSchemeIsStandardWebhooks(t *testing.T) {
	a := oneKey(t, webhook.Scheme{}, must(webhook.SecretFromString(testSecret))(t))
	b := oneKey(t, webhook.Standard(""), must(webhook.SecretFromString(testSecret))(t))
	if slices.Collect(a.All())[0].Scheme != slices.Collect(b.All())[0].Scheme {
		t.Error("the two differ")
	}
}

// Every fault of a scheme is named, all at once.
func TestFaultsOfASchemeAreNamed(t *testing.T) {
	good := webhook.Scheme{Name: "own", Signed: "{id}.{timestamp}.{body}", IDHeader: "X-Id", TimestampHeader: "X-Time", SignatureHeader: "X-Sig", Entry: "v1=", Separator: ",", Encoding: "hex"}
	secret := must(webhook.SecretFromRaw(rawSecret))(t)
	faults := func(change func(s *webhook.Scheme)) error {
		s := good
		change(&s)
		_, err := webhook.NewKeys(webhook.Key{ID: "k", Secret: secret, Scheme: s})
		return err
	}
	if err := faults(func(*webhook.Scheme) {}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		change func(s *webhook.Scheme)
		wants  []string
	}{
		{func(s *webhook.Scheme) { s.Name = "a b" }, []string{`key 1 "k": scheme "a b": name: not 1 to 32`}},
		{func(s *webhook.Scheme) { s.Name = strings.Repeat("n", 33) }, []string{"name: not 1 to 32"}},
		{func(s *webhook.Scheme) { s.SignatureHeader = "" }, []string{"signature header: not 1 to 80"}},
		{func(s *webhook.Scheme) { s.SignatureHeader = "authorization" }, []string{"or one that HTTP uses itself"}},
		{func(s *webhook.Scheme) { s.IDHeader, s.TimestampHeader = "X_Id", "-x" }, []string{"id header:", "timestamp header:"}},
		{func(s *webhook.Scheme) { s.IDHeader = "x-sig" }, []string{"two have one name"}},
		{func(s *webhook.Scheme) { s.TimestampHeader = "x-id" }, []string{"two have one name"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}{timestamp}{body}" }, []string{"between {id} and {timestamp}", "between {timestamp} and {body}"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}-{timestamp}.{body}" }, []string{"between {id} and {timestamp}"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.7{timestamp}.{body}" }, []string{"between {id} and {timestamp}"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}7.{timestamp}.{body}" }, []string{"between {id} and {timestamp}"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.{timestamp}.{body}.{body}" }, []string{"give {body} once"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.{timestamp}" }, []string{"give {body} once"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.{id}.{timestamp}.{timestamp}.{body}" }, []string{"{id} is there twice", "{timestamp} is there twice"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.{time}.{body}" }, []string{"a brace that belongs to none"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.{timestamp}.{body" }, []string{"a brace that belongs to none"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.\n{timestamp}.{body}" }, []string{"256 visible ASCII"}},
		{func(s *webhook.Scheme) { s.Signed = strings.Repeat("x", 251) + "{body}" }, []string{"256 visible ASCII", "{timestamp} is not signed"}},
		{func(s *webhook.Scheme) { s.Signed = "{timestamp}.{body}"; s.TimestampHeader = "" }, []string{"name its header or its entry"}},
		{func(s *webhook.Scheme) { s.TimestampEntry = "t=" }, []string{"name its header or its entry"}},
		{func(s *webhook.Scheme) { s.Signed = "{id}.{body}" }, []string{"{timestamp} is not signed"}},
		{func(s *webhook.Scheme) { s.IDHeader = "" }, []string{"{id} is signed; name the id header"}},
		{func(s *webhook.Scheme) { s.Separator = "" }, nil},
		{func(s *webhook.Scheme) { s.Separator, s.Entry = "", strings.Repeat("v", 33) }, []string{"entry: not up to 32"}},
		{func(s *webhook.Scheme) { s.Separator, s.Entry = "", "v 1" }, []string{"entry: not up to 32"}},
		{func(s *webhook.Scheme) { s.Separator, s.TimestampHeader, s.TimestampEntry = "", "", "t=" }, []string{"timestamp entry: there is no separator"}},
		{func(s *webhook.Scheme) { s.Separator, s.PublicEntry = "", "p=" }, []string{"there is no separator, and a public entry"}},
		{func(s *webhook.Scheme) { s.Separator = "|" }, []string{"separator: give"}},
		{func(s *webhook.Scheme) { s.Entry = "" }, []string{"entry: empty"}},
		{func(s *webhook.Scheme) { s.Entry = "v1" }, []string{"entry: not 1 to 16"}},
		{func(s *webhook.Scheme) { s.Entry = "V1=" }, []string{"entry: not 1 to 16"}},
		{func(s *webhook.Scheme) { s.Entry = "v1," }, []string{"entry: not 1 to 16"}},
		{func(s *webhook.Scheme) { s.PublicEntry = "v1:" }, []string{"ends with another character"}},
		{func(s *webhook.Scheme) { s.PublicEntry = "v1=" }, []string{"public entry: that of another entry"}},
		{func(s *webhook.Scheme) { s.Encoding = "base64url" }, []string{`encoding: give "base64" or "hex"`}},
		{func(s *webhook.Scheme) { s.Hash = "sha1" }, []string{`hash: give "sha256" or "sha512"; older ones are not safe`}},
		{func(s *webhook.Scheme) { s.Hash, s.Encoding, s.Name = "md5", "", "" }, []string{"hash:", "encoding:", "name:"}},
	} {
		err := faults(tt.change)
		if len(tt.wants) == 0 && err == nil {
			continue
		}
		wantFaults(t, err, tt.wants...)
	}
}

func TestASchemeTakesOnlyItsKindOfSecret(t *testing.T) {
	private, public := webhook.GenerateKeyPair()
	for _, tt := range []struct {
		scheme webhook.Scheme
		secret webhook.Secret
		want   string
	}{
		{webhook.Stripe(), private, "is of an Ed25519 key pair; this scheme wants a shared one"},
		{webhook.GitHub(), public, "is of an Ed25519 key pair; this scheme wants a shared one"},
		{described()[2], webhook.GenerateSecret(), "is shared; this scheme wants an Ed25519 key pair"},
	} {
		_, err := webhook.NewKeys(webhook.Key{ID: "k", Secret: tt.secret, Scheme: tt.scheme})
		wantFaults(t, err, tt.want)
	}
}

func TestSchemesOfOneSetDoNotClash(t *testing.T) {
	key := func(id string, change func(s *webhook.Scheme)) webhook.Key {
		s := webhook.Scheme{Name: id, Signed: "{id}." + id + ".{timestamp}.{body}", IDHeader: id + "-Id", TimestampHeader: id + "-Time", SignatureHeader: id + "-Sig", Encoding: "hex"}
		change(&s)
		return webhook.Key{ID: id, Secret: webhook.GenerateSecret(), Scheme: s}
	}
	for _, tt := range []struct {
		want   string
		change func(s *webhook.Scheme)
	}{
		{"", func(*webhook.Scheme) {}},
		{"", func(s *webhook.Scheme) { s.IDHeader, s.TimestampHeader = "a-id", "a-time" }},
		{"another scheme has this name", func(s *webhook.Scheme) { s.Name = "a" }},
		{`scheme "a" uses one of its headers`, func(s *webhook.Scheme) { s.SignatureHeader = "a-sig" }},
		{`scheme "a" uses one of its headers`, func(s *webhook.Scheme) { s.SignatureHeader = "a-id" }},
		{`scheme "a" uses one of its headers`, func(s *webhook.Scheme) { s.IDHeader = "a-sig" }},
		{`scheme "a" uses one of its headers`, func(s *webhook.Scheme) { s.IDHeader = "a-time" }},
		{`scheme "a" uses one of its headers`, func(s *webhook.Scheme) { s.TimestampHeader = "a-id" }},
	} {
		_, err := webhook.NewKeys(key("a", func(*webhook.Scheme) {}), key("b", tt.change))
		if tt.want == "" && err != nil {
			t.Error(err)
		}
		if tt.want != "" {
			wantFaults(t, err, tt.want)
		}
	}
}

// A message signed for one scheme must not pass for one of another: GitHub's
// text is the body alone, which could be made to begin like Standard Webhooks'.
func TestOneSecretIsNotForTwoSchemesThatHashDifferentTexts(t *testing.T) {
	secret := webhook.GenerateSecret()
	_, err := webhook.NewKeys(webhook.Key{ID: "a", Secret: secret}, webhook.Key{ID: "b", Secret: secret, Scheme: webhook.GitHub()})
	wantFaults(t, err, `key 2 "b": the secret is that of key "a", whose scheme hashes another text`)
	if _, err := webhook.NewKeys(webhook.Key{ID: "a", Secret: secret}, webhook.Key{ID: "b", Secret: secret, Scheme: webhook.Standard("svix-")}); err != nil {
		t.Error(err)
	}
}

// A move from one scheme to another: one request carries both, and a receiver
// of either kind, or of both, accepts it.
func TestTwoSchemesOnOneRequest(t *testing.T) {
	standard := webhook.Key{ID: "new", Secret: webhook.GenerateSecret()}
	legacy := webhook.Key{ID: "old", Secret: must(webhook.SecretFromRaw(rawSecret))(t), Scheme: webhook.Stripe(), NotAfter: t0.Add(time.Hour)}
	both := must(webhook.NewKeys(standard, legacy))(t)
	signer := must(webhook.NewSigner(both))(t)
	sign := func(at time.Time) http.Header {
		h := http.Header{"X-Other": {"stays"}}
		if err := signer.Sign(h, testID, at, []byte(testBody)); err != nil {
			t.Fatal(err)
		}
		return h
	}
	verifier := func(at time.Time, keys ...webhook.Key) *webhook.Verifier {
		return must(webhook.NewVerifier(must(webhook.NewKeys(keys...))(t), &webhook.VerifierOptions{Now: func() time.Time { return at }}))(t)
	}
	h := sign(t0)
	if len(h) != 5 || h.Get("Stripe-Signature") == "" || h.Get("Webhook-Signature") == "" {
		t.Errorf("headers = %v", h)
	}
	for _, tt := range []struct {
		keys        []webhook.Key
		key, scheme string
	}{
		{[]webhook.Key{standard}, "new", "standard"},
		{[]webhook.Key{legacy}, "old", "stripe"},
		{[]webhook.Key{standard, legacy}, "new", "standard"},
		{[]webhook.Key{legacy, standard}, "old", "stripe"},
	} {
		if got, err := verifier(t0, tt.keys...).Verify(h, []byte(testBody)); err != nil || got.KeyID != tt.key || got.Scheme != tt.scheme {
			t.Errorf("%+v, %v; want key %q of scheme %q", got, err, tt.key, tt.scheme)
		}
	}
	if h := sign(t0.Add(time.Hour)); h.Get("Stripe-Signature") != "" || h.Get("Webhook-Signature") == "" {
		t.Errorf("after the end of the old key, headers = %v", h)
	}
	_, err := signer.AppendSignature(nil, testID, t0, nil)
	wantIs(t, err, webhook.ErrMessage)
	if !strings.Contains(err.Error(), "schemes standard, stripe") {
		t.Errorf("%v does not name the schemes", err)
	}

	// Nothing that is added to one scheme weakens the other, nor hides why.
	receiver := verifier(t0, standard, legacy)
	only := h.Clone()
	only.Del("Stripe-Signature")
	only.Set("Stripe-Signature", "junk")
	if got, err := receiver.Verify(only, []byte(testBody)); err != nil || got.Scheme != "standard" {
		t.Errorf("%+v, %v", got, err)
	}
	for name, spoil := range map[string]func(h http.Header){
		"Stripe-Signature":  func(h http.Header) { h.Del("Webhook-Signature"); h.Set("Stripe-Signature", "junk") },
		"Webhook-Signature": func(h http.Header) { h.Del("Stripe-Signature"); h.Set("Webhook-Signature", "junk") },
	} {
		bad := h.Clone()
		spoil(bad)
		_, err := receiver.Verify(bad, []byte(testBody))
		wantIs(t, err, webhook.ErrMalformed)
		if !strings.Contains(kterrors.MessageOf(err), name) {
			t.Errorf("%v is not about %s", err, name)
		}
	}
}

func TestOfSeveralKeysOneSignsWhereThereIsRoomForOne(t *testing.T) {
	keys := must(webhook.NewKeys(
		webhook.Key{ID: "new", Secret: must(webhook.SecretFromRaw(otherRawSecret))(t), Scheme: webhook.GitHub()},
		webhook.Key{ID: "old", Secret: must(webhook.SecretFromRaw(rawSecret))(t), Scheme: webhook.GitHub()},
	))(t)
	h := http.Header{}
	if err := must(webhook.NewSigner(keys))(t).Sign(h, testID, t0, []byte("Hello, World!")); err != nil {
		t.Fatal(err)
	}
	if h.Get("X-Hub-Signature-256") != "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" || h.Get("X-GitHub-Delivery") != testID {
		t.Errorf("headers = %v", h)
	}
	old := http.Header{}
	if err := must(webhook.NewSigner(oneKey(t, webhook.GitHub(), must(webhook.SecretFromRaw(rawSecret))(t))))(t).Sign(old, testID, t0, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := must(webhook.NewVerifier(keys, nil))(t).Verify(old, nil); err != nil || got.KeyID != "old" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestSchemesThatSignMoreAreForWholeRequests(t *testing.T) {
	keys := must(webhook.NewKeys(
		webhook.Key{ID: "new", Secret: webhook.GenerateSecret()},
		webhook.Key{ID: "old", Secret: must(webhook.SecretFromRaw(rawSecret))(t), Scheme: webhook.Twilio()},
	))(t)
	signer := must(webhook.NewSigner(keys))(t)
	h := http.Header{}
	err := signer.Sign(h, testID, t0, []byte(testBody))
	wantIs(t, err, webhook.ErrMessage)
	if len(h) != 0 || !strings.Contains(err.Error(), "scheme twilio signs more than headers and body; call SignRequest") {
		t.Errorf("%v, headers %v", err, h)
	}
	_, err = signer.AppendSignature(nil, testID, t0, []byte(testBody))
	wantIs(t, err, webhook.ErrMessage)
	for _, r := range []*http.Request{nil, {}, {Header: http.Header{}}} {
		wantIs(t, signer.SignRequest(r, testID, t0, nil), webhook.ErrMessage)
	}

	_, err = webhook.NewVerifier(keys, nil)
	wantFaults(t, err, "base URL: empty, and scheme twilio signs the address")
	one := must(webhook.NewKeys(slices.Collect(keys.All())[0]))(t)
	verifier := must(webhook.NewVerifier(one, &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
	wantFaults(t, verifier.SetKeys(keys), "base URL: empty, and scheme twilio signs the address")

	r := must(http.NewRequestWithContext(t.Context(), http.MethodPost, "https://example.com/in/hook?a=1", nil))(t)
	r.Header.Set("Content-Type", formType)
	body := []byte(twilioForm)
	if err := signer.SignRequest(r, testID, t0, body); err != nil {
		t.Fatal(err)
	}
	if r.Header.Get("X-Twilio-Signature") == "" || r.Header.Get("Webhook-Signature") == "" {
		t.Errorf("headers = %v", r.Header)
	}
	both := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(testTime), BaseURL: "https://example.com"}))(t)
	if got, err := both.Verify(r.Header, body); err != nil || got.Scheme != "standard" {
		t.Errorf("%+v, %v", got, err)
	}
	r.Header.Del("Webhook-Signature")
	_, err = both.Verify(r.Header, body)
	wantIs(t, err, webhook.ErrSignature)
	if !strings.Contains(err.Error(), "call VerifyRequest") {
		t.Errorf("%v does not say what to do", err)
	}
}

func TestABaseURLIsAnAddressAndNothingMore(t *testing.T) {
	for _, base := range []string{"https://example.com", "http://127.0.0.1:8080", "https://example.com/behind/a/proxy"} {
		if _, err := webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{BaseURL: base}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, base := range []string{"example.com", "//example.com", "ftp://example.com", "https://", "https://example.com/", "https://u@example.com", "https://example.com?a", "https://example.com#a", "https://exa mple.com", "https:example.com"} {
		_, err := webhook.NewVerifier(keysOf(t, testSecret), &webhook.VerifierOptions{BaseURL: base})
		wantFaults(t, err, "base URL: not")
	}
}
