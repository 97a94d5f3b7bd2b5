package apikey_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/keytoll/keytoll/apikey"
)

var pepper = apikey.Pepper{Version: 1, Secret: bytes.Repeat([]byte("pepper!!"), 4)}

// issue makes n keys and returns their texts in an order no cache foresees.
func issue(b *testing.B, s *apikey.Service, n int) []string {
	b.Helper()
	tokens := make([]string, n)
	for i := range tokens {
		issued, err := s.Create(context.Background(), apikey.Spec{Owner: fmt.Sprintf("acct_%d", i/10)})
		if err != nil {
			b.Fatal(err)
		}
		tokens[i] = issued.Secret.Reveal()
	}
	if n > 1 && tokens[0] == tokens[1] {
		b.Fatal("keys do not vary")
	}
	return tokens
}

// BenchmarkVerify is to be read within one run: verify against floor, which is
// one HMAC-SHA-256 of the key, its state reused, and one map look-up.
func BenchmarkVerify(b *testing.B) {
	for _, size := range []int{1, 1000, 1_000_000} {
		s := newService(b, apikey.NewMemoryStore(), newFormat(b, "gx", nil), &apikey.Options{Peppers: []apikey.Pepper{pepper}})
		tokens := issue(b, s, size)
		least := &floor{mac: hmac.New(sha256.New, pepper.Secret)}
		known := make(map[[32]byte]int, size)
		for i, token := range tokens {
			known[least.sum(token)] = i
		}
		b.Run(fmt.Sprintf("floor/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			var i int
			for b.Loop() {
				token := tokens[i*7919%size]
				if known[least.sum(token)] != i*7919%size {
					b.Fatal("wrong")
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("verify/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			o := &apikey.VerifyOptions{IP: netip.MustParseAddr("203.0.113.7")}
			var i int
			for b.Loop() {
				if _, err := s.Verify(b.Context(), tokens[i*7919%size], o); err != nil {
					b.Fatal(err)
				}
				i++
			}
		})
		b.Run(fmt.Sprintf("verify-parallel/%d", size), func(b *testing.B) {
			b.ReportAllocs()
			var worker atomic.Int64
			b.RunParallel(func(p *testing.PB) {
				for i := int(worker.Add(1)) * 1000; p.Next(); i++ {
					if _, err := s.Verify(context.Background(), tokens[i*7919%size], nil); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// A floor computes the digest any verification needs, without allocating.
type floor struct {
	mac hash.Hash
	buf [64]byte
	out [32]byte
}

func (f *floor) sum(token string) [32]byte {
	f.mac.Reset()
	f.mac.Write(f.buf[:copy(f.buf[:], token)])
	f.mac.Sum(f.out[:0])
	return f.out
}

// BenchmarkRefuse is the price of what is not a key.
func BenchmarkRefuse(b *testing.B) {
	s := newService(b, apikey.NewMemoryStore(), newFormat(b, "gx", nil), &apikey.Options{Peppers: []apikey.Pepper{pepper}})
	right := issue(b, s, 1)[0]
	wrong := []byte(right)
	wrong[30]++
	for _, tt := range []struct{ name, token string }{
		{"other-prefix", "sk" + right[2:]},
		{"wrong-checksum", string(wrong)},
		{"1MiB", strings.Repeat("x", 1<<20)},
		{"unknown", generate(b, s.Format(), "")},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Verify(b.Context(), tt.token, nil); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	f := newFormat(b, "sk", &apikey.FormatOptions{Environments: []string{"live", "test"}})
	var tokens [64]string
	for i := range tokens {
		tokens[i] = generate(b, f, "test")
	}
	b.ReportAllocs()
	var i int
	for b.Loop() {
		if _, err := f.Parse(tokens[i%len(tokens)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkCreate(b *testing.B) {
	s := newService(b, apikey.NewMemoryStore(), newFormat(b, "gx", nil), nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Create(b.Context(), apikey.Spec{Owner: "acct_1"}); err != nil {
			b.Fatal(err)
		}
	}
}
