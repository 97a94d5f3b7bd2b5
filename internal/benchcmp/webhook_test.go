package benchcmp_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v85/webhook"

	"github.com/keytoll/keytoll/webhook"
)

// The bodies: a notification, a usual one, and a large one.
var sizes = [...]int{100, 1 << 10, 64 << 10}

// messages is how many different messages a run goes round.
const messages = 64

var secretBytes = [32]byte{1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31}

func secretText() string { return "whsec_" + base64.StdEncoding.EncodeToString(secretBytes[:]) }

// A message is one thing to sign, and what comes of it under each scheme.
type message struct {
	id        string
	at        time.Time
	body      []byte
	signed    []byte      // what Standard Webhooks hashes: "id.timestamp.body"
	mac       []byte      // its HMAC-SHA-256
	signature string      // "v1," and the MAC in base64
	headers   http.Header // of Standard Webhooks
	stripeMAC []byte      // HMAC-SHA-256 of "timestamp.body"
	stripe    string      // the value of Stripe's header
}

func makeMessages(tb testing.TB, size int) []message {
	tb.Helper()
	return makeMessagesAt(tb, size, time.Now())
}

// makeMessagesAt signs with plain HMAC and no library, so that all are held to
// the same.
func makeMessagesAt(tb testing.TB, size int, at time.Time) []message {
	tb.Helper()
	list := make([]message, messages)
	seen := make(map[string]bool)
	unix := strconv.FormatInt(at.Unix(), 10)
	for i := range list {
		m := &list[i]
		m.id = fmt.Sprintf("msg_%026d", i)
		m.at = time.Unix(at.Unix(), 0)
		m.body = make([]byte, size)
		for j := range m.body {
			m.body[j] = byte('a' + (i+j*7)%26)
		}
		m.signed = append([]byte(m.id+"."+unix+"."), m.body...)
		m.mac = sum(m.signed)
		m.headers = http.Header{}
		m.headers.Set("webhook-id", m.id)
		m.headers.Set("webhook-timestamp", unix)
		m.signature = "v1," + base64.StdEncoding.EncodeToString(m.mac)
		m.headers.Set("webhook-signature", m.signature)
		m.stripeMAC = sum(append([]byte(unix+"."), m.body...))
		m.stripe = "t=" + unix + ",v1=" + hex.EncodeToString(m.stripeMAC)
		if seen[string(m.mac)] {
			tb.Fatal("the messages do not vary")
		}
		seen[string(m.mac)] = true
	}
	return list
}

func sum(data []byte) []byte {
	mac := hmac.New(sha256.New, secretBytes[:])
	mac.Write(data)
	return mac.Sum(nil)
}

// A step signs or verifies one message and reports whether the signature is the
// right one, or accepted.
type step func(m *message) bool

type webhookPeer struct {
	name  string
	build func(tb testing.TB) step
}

var (
	signers = [...]webhookPeer{
		{"floor", floorMAC}, {"keytoll", ourSign}, {"keytoll-headers", ourSignHeaders},
		{"standard-webhooks", standardSign}, {"stripe-go", stripeSign},
	}
	verifiers = [...]webhookPeer{
		{"floor", floorMAC}, {"keytoll", ourVerify},
		{"standard-webhooks", standardVerify}, {"stripe-go", stripeVerify},
	}
)

func ourSign(tb testing.TB) step {
	tb.Helper()
	s := ourSigner(tb)
	buffers := sync.Pool{New: func() any { return new([256]byte) }}
	return func(m *message) bool {
		buf := buffers.Get().(*[256]byte)
		defer buffers.Put(buf)
		value, err := s.AppendSignature(buf[:0], m.id, m.at, m.body)
		return err == nil && string(value) == m.signature
	}
}

func ourSignHeaders(tb testing.TB) step {
	tb.Helper()
	s := ourSigner(tb)
	return func(m *message) bool {
		h := make(http.Header, 3)
		return s.Sign(h, m.id, m.at, m.body) == nil && h.Get("webhook-signature") == m.signature
	}
}

func standardSign(tb testing.TB) step {
	tb.Helper()
	wh := standard(tb)
	return func(m *message) bool {
		value, err := wh.Sign(m.id, m.at, m.body)
		return err == nil && value == m.signature
	}
}

func stripeSign(testing.TB) step {
	secret := string(secretBytes[:])
	return func(m *message) bool {
		return bytes.Equal(stripe.ComputeSignature(m.at, m.body, secret), m.stripeMAC)
	}
}

func ourVerify(tb testing.TB) step {
	tb.Helper()
	v, err := webhook.NewVerifier(ourKeys(tb), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return func(m *message) bool {
		verified, err := v.Verify(m.headers, m.body)
		return err == nil && verified.ID == m.id
	}
}

func standardVerify(tb testing.TB) step {
	tb.Helper()
	wh := standard(tb)
	return func(m *message) bool { return wh.Verify(m.body, m.headers) == nil }
}

func stripeVerify(testing.TB) step {
	secret := string(secretBytes[:])
	return func(m *message) bool { return stripe.ValidatePayload(m.body, m.stripe, secret) == nil }
}

// floorMAC hashes with states in reuse and compares, and does nothing else:
// what nothing that signs or verifies can be faster than.
func floorMAC(testing.TB) step {
	type state struct {
		mac hash.Hash
		out [sha256.Size]byte
	}
	states := sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, secretBytes[:])} }}
	return func(m *message) bool {
		s := states.Get().(*state)
		defer states.Put(s)
		s.mac.Reset()
		s.mac.Write(m.signed)
		return hmac.Equal(s.mac.Sum(s.out[:0]), m.mac)
	}
}

func ourKeys(tb testing.TB) webhook.Keys {
	tb.Helper()
	secret, err := webhook.SecretFromString(secretText())
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := webhook.NewKeys(webhook.Key{Secret: secret})
	if err != nil {
		tb.Fatal(err)
	}
	return keys
}

func ourSigner(tb testing.TB) *webhook.Signer {
	tb.Helper()
	s, err := webhook.NewSigner(ourKeys(tb), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func standard(tb testing.TB) *standardwebhooks.Webhook {
	tb.Helper()
	wh, err := standardwebhooks.NewWebhook(secretText())
	if err != nil {
		tb.Fatal(err)
	}
	return wh
}

// Every signer makes the signature that plain HMAC makes, and another one for
// another body.
func TestEverySignerSigns(t *testing.T) {
	for _, s := range signers {
		t.Run(s.name, func(t *testing.T) {
			sign, list := s.build(t), makeMessages(t, 100)
			for i := range list {
				if !sign(&list[i]) {
					t.Errorf("message %d: the signature is not that of plain HMAC", i)
				}
				changed := altered(list[i])
				if sign(&changed) {
					t.Errorf("message %d: a changed body has the same signature", i)
				}
			}
		})
	}
}

// Every verifier accepts what is right and refuses a changed body and, the floor
// excepted, which has no clock, an old message.
func TestEveryVerifierDecides(t *testing.T) {
	for _, v := range verifiers {
		t.Run(v.name, func(t *testing.T) {
			verify, list := v.build(t), makeMessages(t, 100)
			for i := range list {
				if !verify(&list[i]) {
					t.Errorf("message %d is refused", i)
				}
				changed := altered(list[i])
				if verify(&changed) {
					t.Errorf("message %d: a changed body is accepted", i)
				}
			}
			old := makeMessagesAt(t, 100, time.Now().Add(-time.Hour))
			if v.name != "floor" && verify(&old[0]) {
				t.Error("a message of an hour ago is accepted")
			}
		})
	}
}

// altered returns m with one byte of its body changed, signatures left alone.
func altered(m message) message {
	m.body, m.signed = bytes.Clone(m.body), bytes.Clone(m.signed)
	m.body[len(m.body)/2] ^= 1
	m.signed[len(m.signed)-1] ^= 1
	return m
}

func BenchmarkSign(b *testing.B) {
	for _, size := range sizes {
		for _, s := range signers {
			b.Run("size="+strconv.Itoa(size)+"/peer="+s.name, func(b *testing.B) {
				list, sign := makeMessages(b, size), s.build(b)
				modes(b, len(list), func(i int) bool { return sign(&list[i]) })
			})
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, size := range sizes {
		for _, v := range verifiers {
			b.Run("size="+strconv.Itoa(size)+"/peer="+v.name, func(b *testing.B) {
				list, verify := makeMessages(b, size), v.build(b)
				modes(b, len(list), func(i int) bool { return verify(&list[i]) })
			})
		}
	}
}
