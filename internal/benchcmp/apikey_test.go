package benchcmp_test

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// A proof checks the text of a key and returns the key's id, "" when it is none.
type proof func(token string) string

// provers are our service with and without a pepper, with a cache in front of its
// store, and the floor. Each build
// makes n keys and returns their texts, their ids and the proof.
var provers = [...]struct {
	name  string
	build func(tb testing.TB, n int, shape *apikey.FormatOptions) (tokens, ids []string, prove proof)
}{
	{"floor", floorProver},
	{"keytoll", pepperedProver},
	{"keytoll-plain", plainProver},
	{"keytoll-cached", cachedProver},
}

func newFormat(tb testing.TB, shape *apikey.FormatOptions) *apikey.Format {
	tb.Helper()
	format, err := apikey.NewFormat("kt", shape)
	if err != nil {
		tb.Fatal(err)
	}
	return format
}

// floorProver hashes the text with states in reuse and looks the digest up in a
// map that nobody writes.
func floorProver(tb testing.TB, n int, shape *apikey.FormatOptions) (tokens, ids []string, prove proof) {
	tb.Helper()
	type state struct {
		mac  hash.Hash
		text [256]byte
		sum  [sha256.Size]byte
	}
	states := sync.Pool{New: func() any { return &state{mac: hmac.New(sha256.New, secretBytes[:])} }}
	digest := func(token string) [sha256.Size]byte {
		s := states.Get().(*state)
		defer states.Put(s)
		s.mac.Reset()
		s.mac.Write(s.text[:copy(s.text[:], token)])
		s.mac.Sum(s.sum[:0])
		return s.sum
	}
	format, known := newFormat(tb, shape), make(map[[sha256.Size]byte]string, n)
	for i := range n {
		secret, err := format.Generate("", rand.Reader)
		if err != nil {
			tb.Fatal(err)
		}
		tokens, ids = append(tokens, secret.Reveal()), append(ids, "key_"+strconv.Itoa(i))
		known[digest(tokens[i])] = ids[i]
	}
	return tokens, ids, func(token string) string { return known[digest(token)] }
}

func pepperedProver(tb testing.TB, n int, shape *apikey.FormatOptions) (tokens, ids []string, prove proof) {
	tb.Helper()
	return ourProver(tb, n, shape, &apikey.Options{Peppers: []apikey.Pepper{{Version: 1, Secret: secretBytes[:]}}})
}

func plainProver(tb testing.TB, n int, shape *apikey.FormatOptions) (tokens, ids []string, prove proof) {
	tb.Helper()
	return ourProver(tb, n, shape, nil)
}

// cachedProver has room for every key, and asks its store for each of them once.
func cachedProver(tb testing.TB, n int, shape *apikey.FormatOptions) (tokens, ids []string, prove proof) {
	tb.Helper()
	tokens, ids, prove = ourProver(tb, n, shape, &apikey.Options{
		Peppers: []apikey.Pepper{{Version: 1, Secret: secretBytes[:]}},
		Cache:   &apikey.CacheOptions{Bound: time.Hour, MaxKeys: n},
	})
	for i, token := range tokens {
		if prove(token) != ids[i] {
			tb.Fatal("a key is not known")
		}
	}
	return tokens, ids, prove
}

func ourProver(tb testing.TB, n int, shape *apikey.FormatOptions, o *apikey.Options) (tokens, ids []string, prove proof) {
	tb.Helper()
	service, err := apikey.NewService(apikey.NewMemoryStore(), newFormat(tb, shape), o)
	if err != nil {
		tb.Fatal(err)
	}
	ctx := context.Background()
	tb.Cleanup(func() {
		if err := service.Close(ctx); err != nil {
			tb.Error(err)
		}
	})
	for range n {
		issued, err := service.Create(ctx, apikey.Spec{Owner: "owner"})
		if err != nil {
			tb.Fatal(err)
		}
		tokens, ids = append(tokens, issued.Secret.Reveal()), append(ids, issued.Key.ID)
	}
	return tokens, ids, func(token string) string {
		key, err := service.Verify(ctx, token, nil)
		if err != nil {
			return ""
		}
		return key.ID
	}
}

// Every prover knows each key by its own text and none by another, also where
// only the secret differs and no checksum tells.
func TestEveryProverDecides(t *testing.T) {
	for _, p := range provers {
		t.Run(p.name, func(t *testing.T) {
			tokens, ids, prove := p.build(t, 100, &apikey.FormatOptions{NoChecksum: true})
			mustVary(t, len(tokens), func(i int) string { return tokens[i] })
			for i, token := range tokens {
				if got := prove(token); got != ids[i] {
					t.Errorf("key %d is taken for %q, want %q", i, got, ids[i])
				}
				wrong := []byte(token)
				wrong[len(wrong)-1] ^= 1 // a letter or digit again, or no key by its shape
				if got := prove(string(wrong)); got != "" {
					t.Errorf("key %d with another last character is taken for %q", i, got)
				}
			}
		})
	}
}

func BenchmarkProve(b *testing.B) {
	for _, n := range counts {
		for _, p := range provers {
			b.Run(table(n)+"/peer="+p.name, func(b *testing.B) {
				skipLargest(b, n)
				tokens, ids, prove := p.build(b, n, nil)
				mustVary(b, n, func(i int) string { return tokens[i] })
				modes(b, n, func(i int) bool { return prove(tokens[i]) == ids[i] })
			})
		}
	}
}
