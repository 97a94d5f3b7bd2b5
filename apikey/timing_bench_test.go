package apikey_test

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/apikey"
)

// BenchmarkTiming asks whether a client can tell by time a handle that is known
// from one that is not, both with a wrong secret. It takes samples of two of each
// kind, in turn and in a random order, so that no kind is foreseen. It reports
// how far the medians of unknown and known are apart, how often a sample of the
// known handle is slower (a half is chance), and Welch's t of what is not an
// outlier, the slowest twentieth of all; and the same of the two known handles,
// which is what the machine itself adds: where they lie in memory, and who else
// is at work. Run it alone on a quiet machine, and more than once: each run lays
// its tables out anew. What is left is some nanoseconds of the processor's, which
// guesses better what it saw more of lately, known handles or unknown ones:
//
//	go test ./apikey -run '^$' -bench Timing -benchtime 100000x
func BenchmarkTiming(b *testing.B) {
	for name, o := range map[string]apikey.Options{
		"memory":        {},
		"memory+pepper": {Peppers: []apikey.Pepper{pepper}},
		"cache":         {Cache: &apikey.CacheOptions{Bound: time.Hour}},
		"cache+pepper":  {Cache: &apikey.CacheOptions{Bound: time.Hour}, Peppers: []apikey.Pepper{pepper}},
	} {
		b.Run(name, func(b *testing.B) {
			s := newService(b, apikey.NewMemoryStore(), newFormat(b, "gx", &apikey.FormatOptions{NoChecksum: true}), &o)
			var tokens [4]string
			for i := range 2 {
				tokens[i] = guess(generate(b, s.Format(), ""))
				tokens[2+i] = guess(create(b, s, apikey.Spec{}).Secret.Reveal())
			}
			ctx, random := context.Background(), rand.New(rand.NewPCG(1, 2))
			var samples [4][]float64
			sample := func(class int) {
				began := time.Now()
				_, err := s.Verify(ctx, tokens[class], nil)
				took := time.Since(began)
				if err == nil {
					b.Fatal("accepted")
				}
				samples[class] = append(samples[class], float64(took.Nanoseconds()))
			}
			for class := range samples {
				sample(class) // is kept now, where there is a cache
				samples[class] = make([]float64, 0, b.N)
			}
			order := []int{0, 1, 2, 3}
			for b.Loop() {
				random.Shuffle(4, func(i, j int) { order[i], order[j] = order[j], order[i] })
				for _, class := range order {
					sample(class)
				}
			}
			report(b, "", samples[0], samples[2])
			report(b, "-same", samples[3], samples[2])
		})
	}
}

// report reports what tells two samples apart.
func report(b *testing.B, suffix string, unknown, known []float64) {
	b.Helper()
	all := slices.Sorted(slices.Values(slices.Concat(unknown, known)))
	cut := all[len(all)*95/100]
	x, y := below(unknown, cut), below(known, cut)
	mx, vx := moments(x)
	my, vy := moments(y)
	b.ReportMetric((my-mx)/math.Sqrt(vx/float64(len(x))+vy/float64(len(y))), "welch-t"+suffix)
	b.ReportMetric(median(known)-median(unknown), "ns-apart"+suffix)
	b.ReportMetric(slower(unknown, known), "slower"+suffix)
}

func below(s []float64, cut float64) []float64 {
	return slices.DeleteFunc(slices.Clone(s), func(v float64) bool { return v > cut })
}

func moments(s []float64) (mean, variance float64) {
	for _, v := range s {
		mean += v / float64(len(s))
	}
	for _, v := range s {
		variance += (v - mean) * (v - mean) / float64(max(1, len(s)-1))
	}
	return mean, variance
}

func median(s []float64) float64 { return slices.Sorted(slices.Values(s))[len(s)/2] }

// slower returns how often a value of y is greater than one of x, ties counting
// half: what the rank sum of Mann and Whitney comes to.
func slower(x, y []float64) float64 {
	type ranked struct {
		v     float64
		fromY bool
	}
	var all []ranked
	for _, v := range x {
		all = append(all, ranked{v, false})
	}
	for _, v := range y {
		all = append(all, ranked{v, true})
	}
	slices.SortFunc(all, func(a, b ranked) int { return cmp.Compare(a.v, b.v) })
	sum := 0.0 // of the ranks of y, ties sharing theirs
	for i := 0; i < len(all); {
		j := i
		ys := 0
		for ; j < len(all) && all[j].v == all[i].v; j++ {
			if all[j].fromY {
				ys++
			}
		}
		sum += float64(ys) * float64(i+1+j) / 2
		i = j
	}
	n := float64(len(y))
	return (sum - n*(n+1)/2) / (n * float64(len(x)))
}
