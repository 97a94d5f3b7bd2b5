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
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	stripe "github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/keytoll/keytoll/webhook"
)

// The bodies: a notification, a usual one, and a large one.
var sizes = [...]int{100, 1 << 10, 64 << 10}

// keyCounts are the numbers of keys: one, and those of a sender that is changing
// keys a little too often.
var keyCounts = [...]int{1, 3}

// messages is how many different messages a run goes round.
const messages = 64

var secretBytes = [32]byte{1, 2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31}

// secretOf returns the key material of key i, and its text for libraries that
// decode it, and for those that do not.
func secretOf(i int) (key []byte, encoded, raw string) {
	sum := sha256.Sum256(append(secretBytes[:], byte(i)))
	return sum[:], "whsec_" + base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:])
}

// A message is one thing to sign, and what comes of it under each scheme. All
// keys sign what a signer is held to; what is verified was signed with the last
// key alone, by a sender that has not changed yet.
type message struct {
	id           string
	at           time.Time
	body         []byte
	signed       []byte      // what Standard Webhooks hashes: "id.timestamp.body"
	macs         [][]byte    // its HMAC-SHA-256 under each key
	signatures   string      // "v1," and each MAC in base64
	headers      http.Header // of Standard Webhooks
	svix         http.Header
	stripeMACs   [][]byte // HMAC-SHA-256 of "timestamp.body" under the text of each key
	stripeHeader string   // Stripe's header, with the last
	stripeList   string   // with all
	stripe       http.Header
}

func makeMessages(tb testing.TB, size, keys int) []message {
	tb.Helper()
	return makeMessagesAt(tb, size, keys, time.Now())
}

// makeMessagesAt signs with plain HMAC and no library, so that all are held to
// the same.
func makeMessagesAt(tb testing.TB, size, keys int, at time.Time) []message {
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
		m.stripeList = "t=" + unix
		var last string
		for k := range keys {
			key, _, raw := secretOf(k)
			m.macs = append(m.macs, sum(key, m.signed))
			last = "v1," + base64.StdEncoding.EncodeToString(m.macs[k])
			m.signatures = strings.TrimSpace(m.signatures + " " + last)
			m.stripeMACs = append(m.stripeMACs, sum([]byte(raw), append([]byte(unix+"."), m.body...)))
			m.stripeHeader = "t=" + unix + ",v1=" + hex.EncodeToString(m.stripeMACs[k])
			m.stripeList += ",v1=" + hex.EncodeToString(m.stripeMACs[k])
		}
		m.headers = http.Header{"Webhook-Id": {m.id}, "Webhook-Timestamp": {unix}, "Webhook-Signature": {last}}
		m.svix = http.Header{"Svix-Id": {m.id}, "Svix-Timestamp": {unix}, "Svix-Signature": {last}}
		m.stripe = http.Header{"Stripe-Signature": {m.stripeHeader}}
		if seen[last] {
			tb.Fatal("the messages do not vary")
		}
		seen[last] = true
	}
	return list
}

func sum(key, data []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(data)
	return mac.Sum(nil)
}

// A step signs or verifies one message and reports whether the signatures are
// the right ones, or accepted.
type step func(m *message) bool

type webhookPeer struct {
	name  string
	build func(tb testing.TB, keys int) step
}

var (
	signers = [...]webhookPeer{
		{"floor", floorMAC}, {"keytoll", ourSign}, {"keytoll-headers", ourSignHeaders}, {"keytoll-stripe", ourSignStripe},
		{"standard-webhooks", standardSign}, {"svix", svixSign}, {"stripe-go", stripeSign},
	}
	verifiers = [...]webhookPeer{
		{"floor", floorMAC}, {"keytoll", ourVerify}, {"keytoll-stripe", ourVerifyStripe},
		{"standard-webhooks", standardVerify}, {"svix", svixVerify}, {"stripe-go", stripeVerify},
	}
)

func ourSign(tb testing.TB, keys int) step {
	tb.Helper()
	return appendWith(ourSigner(tb, keys, webhook.Standard("")), func(m *message) string { return m.signatures })
}

func ourSignStripe(tb testing.TB, keys int) step {
	tb.Helper()
	return appendWith(ourSigner(tb, keys, webhook.Stripe()), func(m *message) string { return m.stripeList })
}

func appendWith(s *webhook.Signer, want func(m *message) string) step {
	buffers := sync.Pool{New: func() any { return new([512]byte) }}
	return func(m *message) bool {
		buf := buffers.Get().(*[512]byte)
		defer buffers.Put(buf)
		value, err := s.AppendSignature(buf[:0], m.id, m.at, m.body)
		return err == nil && string(value) == want(m)
	}
}

func ourSignHeaders(tb testing.TB, keys int) step {
	tb.Helper()
	s := ourSigner(tb, keys, webhook.Standard(""))
	return func(m *message) bool {
		h := make(http.Header, 3)
		return s.Sign(h, m.id, m.at, m.body) == nil && h.Get("webhook-signature") == m.signatures
	}
}

func standardSign(tb testing.TB, keys int) step {
	tb.Helper()
	return signEach(standards(tb, keys))
}

func svixSign(tb testing.TB, keys int) step {
	tb.Helper()
	return signEach(svixes(tb, keys))
}

// signEach signs with one object for each key, as somebody has to whose library
// has no sets of keys.
func signEach[T interface {
	Sign(id string, at time.Time, body []byte) (string, error)
}](list []T) step {
	return func(m *message) bool {
		all := ""
		for _, wh := range list {
			value, err := wh.Sign(m.id, m.at, m.body)
			if err != nil {
				return false
			}
			if all != "" {
				all += " "
			}
			all += value
		}
		return all == m.signatures
	}
}

func stripeSign(_ testing.TB, keys int) step {
	secrets := raws(keys)
	return func(m *message) bool {
		for i, secret := range secrets {
			if !bytes.Equal(stripe.ComputeSignature(m.at, m.body, secret), m.stripeMACs[i]) {
				return false
			}
		}
		return true
	}
}

func ourVerify(tb testing.TB, keys int) step {
	tb.Helper()
	v := ourVerifier(tb, keys, webhook.Standard(""))
	return func(m *message) bool {
		verified, err := v.Verify(m.headers, m.body)
		return err == nil && verified.ID == m.id
	}
}

func ourVerifyStripe(tb testing.TB, keys int) step {
	tb.Helper()
	v := ourVerifier(tb, keys, webhook.Stripe())
	return func(m *message) bool {
		_, err := v.Verify(m.stripe, m.body)
		return err == nil
	}
}

func standardVerify(tb testing.TB, keys int) step {
	tb.Helper()
	list := standards(tb, keys)
	return func(m *message) bool { return verifyAny(list, m.body, m.headers) }
}

func svixVerify(tb testing.TB, keys int) step {
	tb.Helper()
	list := svixes(tb, keys)
	return func(m *message) bool { return verifyAny(list, m.body, m.svix) }
}

// verifyAny asks one object for each key.
func verifyAny[T interface {
	Verify(body []byte, header http.Header) error
}](list []T, body []byte, header http.Header) bool {
	for _, wh := range list {
		if wh.Verify(body, header) == nil {
			return true
		}
	}
	return false
}

func stripeVerify(_ testing.TB, keys int) step {
	secrets := raws(keys)
	return func(m *message) bool {
		for _, secret := range secrets {
			if stripe.ValidatePayload(m.body, m.stripe.Get("Stripe-Signature"), secret) == nil {
				return true
			}
		}
		return false
	}
}

// floorMAC hashes with states in reuse, once for each key, and compares, and
// does nothing else: what nothing that signs or verifies can be faster than.
func floorMAC(_ testing.TB, keys int) step {
	type state struct {
		macs []hash.Hash
		out  [sha256.Size]byte
	}
	states := sync.Pool{New: func() any {
		s := &state{}
		for i := range keys {
			key, _, _ := secretOf(i)
			s.macs = append(s.macs, hmac.New(sha256.New, key))
		}
		return s
	}}
	return func(m *message) bool {
		s := states.Get().(*state)
		defer states.Put(s)
		right := true
		for i, mac := range s.macs {
			mac.Reset()
			mac.Write(m.signed)
			right = hmac.Equal(mac.Sum(s.out[:0]), m.macs[i]) && right
		}
		return right
	}
}

func raws(keys int) (list []string) {
	for i := range keys {
		_, _, raw := secretOf(i)
		list = append(list, raw)
	}
	return list
}

func ourKeys(tb testing.TB, keys int, scheme webhook.Scheme) webhook.Keys {
	tb.Helper()
	var list []webhook.Key
	for i := range keys {
		_, encoded, raw := secretOf(i)
		secret, err := webhook.SecretFromString(encoded)
		if scheme == webhook.Stripe() {
			secret, err = webhook.SecretFromRaw(raw)
		}
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, webhook.Key{Secret: secret, Scheme: scheme})
	}
	set, err := webhook.NewKeys(list...)
	if err != nil {
		tb.Fatal(err)
	}
	return set
}

func ourSigner(tb testing.TB, keys int, scheme webhook.Scheme) *webhook.Signer {
	tb.Helper()
	s, err := webhook.NewSigner(ourKeys(tb, keys, scheme))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func ourVerifier(tb testing.TB, keys int, scheme webhook.Scheme) *webhook.Verifier {
	tb.Helper()
	v, err := webhook.NewVerifier(ourKeys(tb, keys, scheme), nil)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func standards(tb testing.TB, keys int) (list []*standardwebhooks.Webhook) {
	tb.Helper()
	for i := range keys {
		_, encoded, _ := secretOf(i)
		wh, err := standardwebhooks.NewWebhook(encoded)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, wh)
	}
	return list
}

func svixes(tb testing.TB, keys int) (list []*svix.Webhook) {
	tb.Helper()
	for i := range keys {
		_, encoded, _ := secretOf(i)
		wh, err := svix.NewWebhook(encoded)
		if err != nil {
			tb.Fatal(err)
		}
		list = append(list, wh)
	}
	return list
}

// Every signer makes the signatures that plain HMAC makes, and others for
// another body.
func TestEverySignerSigns(t *testing.T) {
	for _, s := range signers {
		for _, keys := range keyCounts {
			t.Run(s.name+"/"+strconv.Itoa(keys), func(t *testing.T) {
				sign, list := s.build(t, keys), makeMessages(t, 100, keys)
				for i := range list {
					if !sign(&list[i]) {
						t.Errorf("message %d: the signatures are not those of plain HMAC", i)
					}
					changed := altered(list[i])
					if sign(&changed) {
						t.Errorf("message %d: a changed body has the same signatures", i)
					}
				}
			})
		}
	}
}

// Every verifier accepts what is right and refuses a changed body and, the floor
// excepted, which has no clock, an old message.
func TestEveryVerifierDecides(t *testing.T) {
	for _, v := range verifiers {
		for _, keys := range keyCounts {
			t.Run(v.name+"/"+strconv.Itoa(keys), func(t *testing.T) {
				verify, list := v.build(t, keys), makeMessages(t, 100, keys)
				for i := range list {
					if !verify(&list[i]) {
						t.Errorf("message %d is refused", i)
					}
					changed := altered(list[i])
					if verify(&changed) {
						t.Errorf("message %d: a changed body is accepted", i)
					}
				}
				old := makeMessagesAt(t, 100, keys, time.Now().Add(-time.Hour))
				if v.name != "floor" && verify(&old[0]) {
					t.Error("a message of an hour ago is accepted")
				}
			})
		}
	}
}

// altered returns m with one byte of its body changed, signatures left alone.
func altered(m message) message {
	m.body, m.signed = bytes.Clone(m.body), bytes.Clone(m.signed)
	m.body[len(m.body)/2] ^= 1
	m.signed[len(m.signed)-1] ^= 1
	return m
}

// hostile are headers of 1 MiB, the most that net/http lets through, which a
// stranger can send at no cost.
var hostile = [...]struct{ name, piece string }{
	{"entries", "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= "},
	{"commas", ","},
}

// hostileMessage has such a header in every scheme.
func hostileMessage(tb testing.TB, piece string) *message {
	tb.Helper()
	m := &makeMessages(tb, 1<<10, 1)[0]
	text := strings.Repeat(piece, (1<<20)/len(piece))
	m.headers["Webhook-Signature"], m.svix["Svix-Signature"] = []string{text}, []string{text}
	if piece != "," {
		text = strings.Repeat(",v1="+strings.Repeat("0", 64), (1<<20)/68)
	}
	m.stripe["Stripe-Signature"] = []string{"t=" + strconv.FormatInt(m.at.Unix(), 10) + text}
	return m
}

func TestEveryVerifierRefusesHostileHeaders(t *testing.T) {
	for _, h := range hostile {
		m := hostileMessage(t, h.piece)
		for _, v := range verifiers[1:] {
			if v.build(t, 1)(m) {
				t.Errorf("%s accepts %s", v.name, h.name)
			}
		}
	}
}

func BenchmarkSign(b *testing.B) { benchWebhooks(b, signers[:]) }

func BenchmarkVerify(b *testing.B) { benchWebhooks(b, verifiers[:]) }

func benchWebhooks(b *testing.B, peers []webhookPeer) {
	b.Helper()
	for _, size := range sizes {
		for _, keys := range keyCounts {
			for _, p := range peers {
				b.Run(fmt.Sprintf("size=%d/keys=%d/peer=%s", size, keys, p.name), func(b *testing.B) {
					list, do := makeMessages(b, size, keys), p.build(b, keys)
					modes(b, len(list), func(i int) bool { return do(&list[i]) })
				})
			}
		}
	}
}

// BenchmarkHostile refuses headers of 1 MiB.
func BenchmarkHostile(b *testing.B) {
	for _, h := range hostile {
		for _, v := range verifiers[1:] {
			b.Run("header="+h.name+"/peer="+v.name, func(b *testing.B) {
				m, verify := hostileMessage(b, h.piece), v.build(b, 1)
				b.ReportAllocs()
				for b.Loop() {
					if verify(m) {
						b.Fatal("accepted")
					}
				}
			})
		}
	}
}
