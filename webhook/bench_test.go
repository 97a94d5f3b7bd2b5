package webhook_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// benchSizes are the body sizes that every benchmark here runs at, so that each
// line can be divided by the floor of its size.
var benchSizes = []struct {
	name  string
	bytes int
}{{"100B", 100}, {"1KB", 1 << 10}, {"64KB", 64 << 10}}

// Messages vary, so that no benchmark measures one cached branch pattern.
const benchMessages = 64

type benchMessage struct {
	id        string
	body      []byte
	header    http.Header
	preimage  []byte // what is hashed, for the floor
	signature string
}

func benchSet(b *testing.B, signer *webhook.Signer, scheme webhook.Scheme, size int) []benchMessage {
	b.Helper()
	seen := map[string]bool{}
	set := make([]benchMessage, benchMessages)
	for i := range set {
		m := &set[i]
		m.id = fmt.Sprintf("msg_%.26X", sha256.Sum256([]byte{byte(i)}))[:30] // as random as NewID makes them
		m.body = make([]byte, size)
		for j := range m.body {
			m.body[j] = byte(i*131 + j*7)
		}
		m.header = http.Header{}
		if err := signer.Sign(m.header, m.id, time.Unix(testTime, 0), m.body); err != nil {
			b.Fatal(err)
		}
		m.signature = m.header.Get(scheme.SignatureHeader)
		m.preimage = []byte(strings.NewReplacer("{id}", m.id, "{timestamp}", strconv.Itoa(testTime), "{body}", string(m.body)).Replace(scheme.Signed))
		if seen[m.signature] {
			b.Fatal("two messages have one signature: the set does not vary")
		}
		seen[m.signature] = true
	}
	return set
}

// BenchmarkFloor is HMAC-SHA-256 with reused state over the same bytes: what
// nothing can be faster than.
func BenchmarkFloor(b *testing.B) {
	signer := newSigner(b, testSecret)
	for _, size := range benchSizes {
		set := benchSet(b, signer, webhook.Standard(""), size.bytes)
		b.Run(size.name, func(b *testing.B) {
			mac := hmac.New(sha256.New, make([]byte, 24))
			out := make([]byte, 0, sha256.Size)
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				mac.Reset()
				mac.Write(set[i%benchMessages].preimage)
				out = mac.Sum(out[:0])
			}
		})
	}
}

// BenchmarkOverFloor takes the three in turn, a few messages each, so that
// whatever else the machine does falls on all of them alike. It reports the
// median time of each, and of signing and verifying as multiples of the floor.
func BenchmarkOverFloor(b *testing.B) {
	for _, size := range benchSizes {
		b.Run(size.name, func(b *testing.B) { overFloor(b, webhook.Standard(""), size.bytes) })
	}
	for _, s := range known()[2:] {
		b.Run("1KB/"+s.Name, func(b *testing.B) { overFloor(b, s, 1<<10) })
	}
}

func overFloor(b *testing.B, scheme webhook.Scheme, size int) {
	b.Helper()
	keys := oneKey(b, scheme, must(webhook.SecretFromRaw(rawSecret))(b))
	signer, at := must(webhook.NewSigner(keys))(b), time.Unix(testTime, 0)
	verifier := must(webhook.NewVerifier(keys, &webhook.VerifierOptions{Now: clockAt(testTime)}))(b)
	set := benchSet(b, signer, scheme, size)
	mac := hmac.New(sha256.New, []byte(rawSecret))
	var out, buf []byte
	contenders := [3]func(m *benchMessage){
		func(m *benchMessage) {
			mac.Reset()
			mac.Write(m.preimage)
			out = mac.Sum(out[:0])
		},
		func(m *benchMessage) { buf, _ = signer.AppendSignature(buf[:0], m.id, at, m.body) },
		func(m *benchMessage) {
			if _, err := verifier.Verify(m.header, m.body); err != nil {
				b.Error(err)
			}
		},
	}
	const turn = 16 // messages
	var times [3][]float64
	b.ResetTimer()
	for i := 0; b.Loop(); i += turn {
		for j, run := range contenders {
			start := time.Now()
			for k := range turn {
				run(&set[(i+k)%benchMessages])
			}
			times[j] = append(times[j], float64(time.Since(start))/turn)
		}
	}
	for j := range times {
		slices.Sort(times[j])
	}
	median := func(j int) float64 { return times[j][len(times[j])/2] }
	b.ReportMetric(0, "ns/op") // of a turn of all three, which means nothing
	b.ReportMetric(median(0), "floor-ns")
	b.ReportMetric(median(1), "sign-ns")
	b.ReportMetric(median(2), "verify-ns")
	b.ReportMetric(median(1)/median(0), "sign/floor")
	b.ReportMetric(median(2)/median(0), "verify/floor")
}

func BenchmarkSign(b *testing.B) {
	signer, at := newSigner(b, testSecret), time.Unix(testTime, 0)
	for _, size := range benchSizes {
		set := benchSet(b, signer, webhook.Standard(""), size.bytes)
		b.Run(size.name, func(b *testing.B) {
			var buf []byte
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := &set[i%benchMessages]
				buf, _ = signer.AppendSignature(buf[:0], m.id, at, m.body)
			}
		})
		b.Run(size.name+"/parallel", func(b *testing.B) {
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				var buf []byte
				for i := 0; pb.Next(); i++ {
					m := &set[i%benchMessages]
					buf, _ = signer.AppendSignature(buf[:0], m.id, at, m.body)
				}
			})
		})
	}
	set := benchSet(b, signer, webhook.Standard(""), 1<<10)
	b.Run("1KB/headers", func(b *testing.B) {
		header := http.Header{}
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m := &set[i%benchMessages]
			if err := signer.Sign(header, m.id, at, m.body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	signer, verifier := newSigner(b, testSecret), newVerifier(b, testSecret)
	for _, size := range benchSizes {
		set := benchSet(b, signer, webhook.Standard(""), size.bytes)
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := &set[i%benchMessages]
				if got, err := verifier.Verify(m.header, m.body); err != nil || got.ID != m.id {
					b.Fatal(got, err)
				}
			}
		})
		b.Run(size.name+"/parallel", func(b *testing.B) {
			b.SetBytes(int64(size.bytes))
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					m := &set[i%benchMessages]
					if _, err := verifier.Verify(m.header, m.body); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
	set := benchSet(b, signer, webhook.Standard(""), 1<<10)
	for _, n := range []int{2, 4, webhook.MaxKeys} {
		keys := generated(n)
		keys[n-1].Secret = must(webhook.SecretFromString(testSecret))(b)
		rotating := must(webhook.NewVerifier(must(webhook.NewKeys(keys...))(b), &webhook.VerifierOptions{Now: clockAt(testTime)}))(b)
		b.Run(fmt.Sprintf("1KB/%d keys", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				m := &set[i%benchMessages]
				if _, err := rotating.Verify(m.header, m.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	large := benchSet(b, signer, webhook.Standard(""), 64<<10)
	b.Run("64KB/reader", func(b *testing.B) {
		b.SetBytes(64 << 10)
		b.ReportAllocs()
		buf := make([]byte, 16<<10)
		for i := 0; b.Loop(); i++ {
			m := &large[i%benchMessages]
			r, err := verifier.NewReader(m.header, bytes.NewReader(m.body))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPairs is Ed25519, beside which hashing costs little.
func BenchmarkPairs(b *testing.B) {
	private := must(webhook.PrivateKeyFromString(vectorPrivate))(b)
	signer := must(webhook.NewSigner(oneKey(b, webhook.Scheme{}, private)))(b)
	verifier := must(webhook.NewVerifier(oneKey(b, webhook.Scheme{}, private.Public()), &webhook.VerifierOptions{Now: clockAt(testTime)}))(b)
	set := benchSet(b, signer, webhook.Standard(""), 1<<10)
	b.Run("sign", func(b *testing.B) {
		var buf []byte
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m := &set[i%benchMessages]
			buf, _ = signer.AppendSignature(buf[:0], m.id, time.Unix(testTime, 0), m.body)
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			m := &set[i%benchMessages]
			if _, err := verifier.Verify(m.header, m.body); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkRefuse is what a stranger can make a verifier spend before anything
// is hashed, with headers of about 1 MiB.
func BenchmarkRefuse(b *testing.B) {
	for _, s := range known()[1:] {
		verifier := must(webhook.NewVerifier(oneKey(b, s, must(webhook.SecretFromRaw(rawSecret))(b)), &webhook.VerifierOptions{Now: clockAt(testTime)}))(b)
		for _, name := range slices.Sorted(maps.Keys(hostile)) {
			h := http.Header{}
			for header, value := range map[string]string{s.SignatureHeader: hostile[name], s.IDHeader: testID, s.TimestampHeader: strconv.Itoa(testTime)} {
				if header != "" {
					h.Set(header, value)
				}
			}
			b.Run(s.Name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := verifier.Verify(h, nil); err == nil {
						b.Fatal("accepted")
					}
				}
			})
		}
	}
}

// BenchmarkHandler is a whole request with a body of 1 KB, without the HTTP
// server: read, verified, claimed, handled, noted as done.
func BenchmarkHandler(b *testing.B) {
	signer, verifier := newSigner(b, testSecret), newVerifier(b, testSecret)
	body := make([]byte, 1<<10)
	for _, guarded := range []bool{false, true} {
		var opts webhook.HandlerOptions
		name := "verify"
		if guarded {
			name = "verify and replay guard"
			opts.Replay = must(webhook.NewMemoryReplayStore(&webhook.MemoryReplayOptions{EvictAfter: 10 * time.Minute, MaxKeys: 1 << 30}))(b)
		}
		handler := must(verifier.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), &opts))(b)
		sent := 0 // across runs: a repeated id would be a duplicate
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sent++
				r := &http.Request{Method: http.MethodPost, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
				if err := signer.Sign(r.Header, fmt.Sprintf("msg_%d", sent), time.Unix(testTime, 0), body); err != nil {
					b.Fatal(err)
				}
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusNoContent {
					b.Fatal(w.Code)
				}
			}
		})
	}
}
