package webhook_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// The tests of this file are the defects of other libraries, each for every
// scheme that could have it.

// with returns the headers of b with the timestamp replaced, wherever it is.
func (b *schemeBench) with(timestamp string) http.Header {
	h := b.header.Clone()
	if b.TimestampHeader != "" {
		h[b.TimestampHeader] = []string{timestamp}
		return h
	}
	now := b.TimestampEntry + strconv.Itoa(testTime)
	h[b.SignatureHeader] = []string{strings.Replace(h.Get(b.SignatureHeader), now, b.TimestampEntry+timestamp, 1)}
	return h
}

// What is signed as the end of the id, or of the timestamp, must not pass as
// the beginning of what follows it.
func TestDefectBoundaryShiftInEveryScheme(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		for _, sep := range []string{".", ":", ",", "/", "|"} {
			id := b.header.Clone()
			if strings.Contains(b.Signed, "{id}") {
				id[b.IDHeader] = []string{testID + sep + strconv.Itoa(testTime)}
				_, err := b.verifier.Verify(id, []byte(testBody))
				wantIs(t, err, webhook.ErrMalformed)
				wantIs(t, b.signer.Sign(http.Header{}, testID+sep+"1", t0, nil), webhook.ErrMessage)
			}
			if b.signsTime() {
				if _, err := b.verifier.Verify(b.with(strconv.Itoa(testTime)+sep+testBody[:1]), []byte(testBody[1:])); err == nil {
					t.Errorf("a timestamp that ends with %q is accepted", sep)
				}
			}
		}
	})
}

func TestDefectEmptyKeyInEveryForm(t *testing.T) {
	for _, text := range []string{"", "\n", "\n\n", "whsec_", "whsk_", "whpk_", "whsec_YQ==", "whsk_YQ==", "whpk_YQ=="} {
		for kind := range webhook.SecretSigner + 2 {
			secret, err := webhook.ParseSecret(kind, text)
			wantIs(t, err, webhook.ErrSecret)
			for _, s := range known() {
				if _, err := webhook.NewKeys(webhook.Key{Secret: secret, Scheme: s}); err == nil {
					t.Errorf("%s takes the %s secret of %q", s.Name, kind, text)
				}
			}
		}
	}
}

func TestDefectTimestampMalleabilityInEveryScheme(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		if !b.signsTime() {
			return
		}
		for _, timestamp := range []string{"+1614265330", "01614265330", "1614265330abc", ".9", "1614265330\x00", " 1614265330", "1614265330 ", "1614265330.0", "", "1.6e9", "161426533000"} {
			_, err := b.verifier.Verify(b.with(timestamp), []byte(testBody))
			if !kterrors.Is(err, webhook.ErrMalformed) {
				t.Errorf("timestamp %q: %v, want malformed", timestamp, err)
			}
		}
		_, err := b.verifier.Verify(b.with("1614265331"), []byte(testBody)) // another one in time
		wantIs(t, err, webhook.ErrSignature)
	})
}

// Stripe's libraries accept any time to come, and take the year 1 for a time
// that is missing.
func TestDefectFutureOrMissingTimestampInEveryScheme(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		if !b.signsTime() {
			return
		}
		for offset, want := range map[time.Duration]error{-5*time.Minute - time.Second: webhook.ErrTooOld, 5*time.Minute + time.Second: webhook.ErrTooNew, 365 * 24 * time.Hour: webhook.ErrTooNew} {
			h := http.Header{}
			if err := b.signer.Sign(h, testID, t0.Add(offset), []byte(testBody)); err != nil {
				t.Fatal(err)
			}
			_, err := b.verifier.Verify(h, []byte(testBody))
			wantIs(t, err, want)
		}
		h := b.header.Clone()
		if b.TimestampHeader != "" {
			h.Del(b.TimestampHeader)
		} else {
			entries := strings.Split(h.Get(b.SignatureHeader), b.Separator)
			h.Set(b.SignatureHeader, strings.Join(entries[1:], b.Separator))
		}
		_, err := b.verifier.Verify(h, []byte(testBody))
		wantIs(t, err, webhook.ErrMissing)
	})
}

// Of two timestamps in one header, Stripe's libraries take the last.
func TestDefectDuplicateTimestampEntries(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		if b.TimestampEntry == "" {
			return
		}
		same := b.TimestampEntry + strconv.Itoa(testTime)
		good := b.header.Get(b.SignatureHeader)
		for _, list := range []string{same + b.Separator + good, good + b.Separator + same, good + b.Separator + b.TimestampEntry + "1", good + b.Separator + b.TimestampEntry} {
			h := b.header.Clone()
			h.Set(b.SignatureHeader, list)
			_, err := b.verifier.Verify(h, []byte(testBody))
			wantIs(t, err, webhook.ErrMalformed)
		}
	})
}

func TestDefectLossyBodyInEveryScheme(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		h := http.Header{}
		if err := b.signer.Sign(h, testID, t0, []byte{0xff}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.verifier.Verify(h, []byte{0xff}); err != nil {
			t.Error(err)
		}
		for _, other := range [][]byte{{0xfe}, []byte("\uFFFD"), nil} {
			_, err := b.verifier.Verify(h, other)
			wantIs(t, err, webhook.ErrSignature)
		}
	})
}

func TestDefectDuplicateHeaderLinesInEveryScheme(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		for _, name := range b.deciding() {
			for _, second := range []string{b.header.Get(name), "evil", ""} {
				for _, lines := range [][]string{{b.header.Get(name), second}, {second, b.header.Get(name)}} {
					h := b.header.Clone()
					h[name] = lines
					_, err := b.verifier.Verify(h, []byte(testBody))
					wantIs(t, err, webhook.ErrMalformed)
				}
			}
			h := b.header.Clone()
			h.Del(name)
			_, err := b.verifier.Verify(h, []byte(testBody))
			wantIs(t, err, webhook.ErrMissing)
			if !strings.Contains(kterrors.MessageOf(err), name) {
				t.Errorf("%v does not name %s", err, name)
			}
		}
	})
}

// One signature has one spelling.
func TestDefectJunkInEverySignatureHeader(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		good := b.header.Get(b.SignatureHeader)
		text := good[strings.LastIndexAny(good[:len(good)-2], "=,:")+1:]
		if b.Entry+b.PublicEntry == "" {
			text = good
		}
		start := good[:len(good)-len(text)]
		spoiled := map[string]string{
			"junk behind":           good + ",junk",
			"a comma behind":        good + ",",
			"a space before":        " " + good,
			"a space behind":        good + " ",
			"a tab behind":          good + "\t",
			"nothing":               "",
			"the beginning alone":   start,
			"cut short":             good[:len(good)-1],
			"one more":              good + "0",
			"not a digit":           start + "*" + text[1:],
			"a byte beyond ASCII":   start + "\xc3\xa9" + text[2:],
			"a zero byte":           start + "\x00" + text[1:],
			"white space within":    start + " " + text[1:],
			"a line break within":   start + text[:4] + "\n" + text[5:],
			"a separator too many":  good + b.Separator + b.Separator + good,
			"a separator at an end": good + ";",
		}
		if b.Encoding == "hex" {
			spoiled["upper case"] = start + strings.ToUpper(text)
		} else {
			spoiled["URL-safe"] = start + "-" + text[1:]
			if strings.HasSuffix(text, "==") {
				spoiled["a digit for padding"] = start + text[:len(text)-2] + "A="
			}
			spoiled["unpadded"] = start + strings.TrimRight(text, "=")
			spoiled["padding within"] = start + text[:8] + "=" + text[9:]
			end := strings.TrimRight(text, "=")
			last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", end[len(end)-1])
			stray := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last+1]
			spoiled["stray trailing bits"] = start + end[:len(end)-1] + string(stray) + text[len(end):]
		}
		for name, value := range spoiled {
			h := b.header.Clone()
			h[b.SignatureHeader] = []string{value}
			_, err := b.verifier.Verify(h, []byte(testBody))
			if !kterrors.Is(err, webhook.ErrMalformed) && !(value == "" && kterrors.Is(err, webhook.ErrMissing)) {
				t.Errorf("%s, %q: %v, want malformed", name, value, err)
			}
		}
		if b.Separator == "" {
			return
		}
		delimiter := (b.Entry + b.PublicEntry)[len(b.Entry+b.PublicEntry)-1:]
		for _, list := range []string{"v9" + delimiter + "what-ever" + b.Separator + good, good + b.Separator + "v0" + delimiter + "x!y"} {
			h := b.header.Clone()
			h[b.SignatureHeader] = []string{list}
			if _, err := b.verifier.Verify(h, []byte(testBody)); err != nil {
				t.Errorf("with an unknown entry, %q: %v", list, err)
			}
		}
		twice := b.header.Clone() // stripe-go refuses it too
		twice[b.SignatureHeader] = []string{good + b.Separator + "v0" + delimiter + "x" + delimiter + "y"}
		_, err := b.verifier.Verify(twice, []byte(testBody))
		wantIs(t, err, webhook.ErrMalformed)
		many := b.header.Clone()
		many[b.SignatureHeader] = []string{good + strings.Repeat(b.Separator+"v9"+delimiter+"x", 16)}
		_, err = b.verifier.Verify(many, []byte(testBody))
		wantIs(t, err, webhook.ErrMalformed)
	})
}

func TestDefectHostileHeaderIsCheapInEveryScheme(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		values := []string{strings.Repeat(b.header.Get(b.SignatureHeader)+b.Separator, 10_000)}
		for _, value := range hostile {
			values = append(values, value)
		}
		for _, value := range values {
			for _, name := range b.deciding() {
				h := b.header.Clone()
				h[name] = []string{value}
				_, err := b.verifier.Verify(h, []byte(testBody))
				wantIs(t, err, webhook.ErrMalformed)
				if allocs := testing.AllocsPerRun(5, func() { _, _ = b.verifier.Verify(h, nil) }); allocs > 8 {
					t.Errorf("%s: %v allocations to refuse it", name, allocs)
				}
			}
		}
	})
}

// go-github falls back to SHA-1 when the better header is missing.
func TestDefectSHA1Fallback(t *testing.T) {
	mac := hmac.New(sha1.New, []byte(rawSecret))
	mac.Write([]byte(testBody))
	verifier := must(webhook.NewVerifier(oneKey(t, webhook.GitHub(), must(webhook.SecretFromRaw(rawSecret))(t)), nil))(t)
	for header, want := range map[string]error{"X-Hub-Signature": webhook.ErrMissing, "X-Hub-Signature-256": webhook.ErrMalformed} {
		h := http.Header{}
		h.Set(header, "sha1="+hex.EncodeToString(mac.Sum(nil)))
		_, err := verifier.Verify(h, []byte(testBody))
		wantIs(t, err, want)
	}
}

// go-github accepts whatever comes when its secret is nil.
func TestDefectNilSecretAcceptsEverything(t *testing.T) {
	for _, s := range slices.Concat(known(), described()) {
		_, err := webhook.NewKeys(webhook.Key{ID: "k", Scheme: s})
		wantFaults(t, err, "the secret is empty")
	}
}

// Whoever captured a message of GitHub or Shopify can send it again under
// another id, which nobody signed.
func TestDefectUnsignedIDTellsReplaysApart(t *testing.T) {
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		first, err := b.verifier.Verify(b.header, []byte(testBody))
		if err != nil {
			t.Fatal(err)
		}
		if signed := strings.Contains(b.Signed, "{id}"); signed != (first.ReplayKey([]byte(testBody)) == testID) || signed != (first.ID == testID) {
			t.Errorf("id %q and replay key %q of a scheme that signs %s", first.ID, first.ReplayKey([]byte(testBody)), b.Signed)
		} else if signed {
			return
		}
		h := b.header.Clone()
		if b.IDHeader != "" {
			h.Set(b.IDHeader, "another")
		}
		again, err := b.verifier.Verify(h, []byte(testBody))
		if err != nil || again.ReplayKey([]byte(testBody)) != first.ReplayKey([]byte(testBody)) {
			t.Errorf("%v; replay keys %q and %q", err, first.ReplayKey([]byte(testBody)), again.ReplayKey([]byte(testBody)))
		}
		other := http.Header{}
		if err := b.signer.Sign(other, testID, t0.Add(time.Second), []byte(testBody+" ")); err != nil {
			t.Fatal(err)
		}
		got, err := b.verifier.Verify(other, []byte(testBody+" "))
		if err != nil || got.ReplayKey([]byte(testBody+" ")) == first.ReplayKey([]byte(testBody)) {
			t.Errorf("%v; two messages have one replay key", err)
		}
	})
}

// While a key is replaced a message carries two signatures; taking one away
// must not make another message of it.
func TestDefectReplayWithOneSignatureStripped(t *testing.T) {
	keys := must(webhook.NewKeys(
		webhook.Key{ID: "new", Secret: must(webhook.SecretFromRaw(rawSecret))(t), Scheme: webhook.Stripe()},
		webhook.Key{ID: "old", Secret: must(webhook.SecretFromRaw(otherRawSecret))(t), Scheme: webhook.Stripe()},
	))(t)
	h := http.Header{}
	if err := must(webhook.NewSigner(keys))(t).Sign(h, testID, t0, []byte(testBody)); err != nil {
		t.Fatal(err)
	}
	verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(testTime)}))(t)
	entries := strings.Split(h.Get("Stripe-Signature"), ",")
	seen := map[string]string{}
	for _, list := range []string{strings.Join(entries, ","), entries[0] + "," + entries[1], entries[2] + "," + entries[0]} {
		h.Set("Stripe-Signature", list)
		got, err := verifier.Verify(h, []byte(testBody))
		if err != nil {
			t.Fatal(err)
		}
		seen[got.ReplayKey([]byte(testBody))] = got.KeyID
	}
	if len(seen) != 1 {
		t.Errorf("one message has the replay keys %v", seen)
	}
}

func TestEverySharedSchemeAllocatesNothing(t *testing.T) {
	body := make([]byte, 1024)
	eachScheme(t, func(t *testing.T, b *schemeBench) {
		if raceEnabled {
			t.Skip("the race detector makes pools forget")
		}
		if !slices.Collect(b.keys.All())[0].Secret.Public().IsZero() {
			return // of a key pair
		}
		h, buf := http.Header{}, make([]byte, 0, 256)
		if err := b.signer.Sign(h, testID, t0, body); err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() { buf, _ = b.signer.AppendSignature(buf[:0], testID, t0, body) }); n != 0 {
			t.Errorf("AppendSignature: %v allocations", n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = b.verifier.Verify(h, body) }); n != 0 {
			t.Errorf("Verify: %v allocations", n)
		}
	})
}
