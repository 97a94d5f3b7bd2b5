package scopes_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/scopes"
)

// The workloads: a key as services hand them out, one with wildcards, and the
// largest that is possible.
var workloads = []struct{ name, granted string }{
	{"nine", "account:read chat:completions credits:purchase credits:read image:generate logo:generate models:read tools:read usage:read"},
	{"wildcards", "account:read credits:* image:* *:models:read"},
	{"largest", strings.Join(long(scopes.MaxScopes), " ")},
}

// asked are scopes to ask for, some granted by some workload.
var asked = []string{"image:generate", "usage:read", "s:255", "image:edit", "credits:purchase", "x:models:read", "tools:read", "s:000"}

func TestChecksDoNotAllocate(t *testing.T) {
	r := registry(t)
	for _, w := range workloads {
		s, i := parse(t, w.granted), 0
		below := parse(t, strings.Join(slices.Collect(s.All())[:1], " "))
		needed := scopes.All(scopes.Any("image:generate", "s:000"), scopes.Any("credits:read", "s:255"))
		if !needed.Met(s) {
			t.Fatalf("%s: %v is not met, so that a refusal would be measured", w.name, needed)
		}
		for name, run := range map[string]func(){
			"Has":     func() { s.Has(asked[i%len(asked)]); i++ },
			"Met":     func() { needed.Met(s) },
			"Covers":  func() { s.Covers(below) },
			"Allowed": func() { r.Allowed("enterprise-and-pro", below) },
			"String":  func() { _ = s.String() },
		} {
			if name == "Allowed" && r.CheckPlan("enterprise-and-pro", below) != nil {
				t.Fatalf("%s: %q is not wholly allowed", w.name, below)
			}
			if n := testing.AllocsPerRun(100, run); n != 0 {
				t.Errorf("%s: %s allocates %v times", w.name, name, n)
			}
		}
	}
	text := workloads[0].granted
	if n := testing.AllocsPerRun(100, func() {
		if _, err := scopes.Parse(text); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Parse of the text of a set allocates %v times", n)
	}
}

func BenchmarkHas(b *testing.B) {
	if distinct := slices.Compact(slices.Sorted(slices.Values(asked))); len(distinct) != 8 {
		b.Fatalf("%d distinct scopes are asked for, want 8", len(distinct))
	}
	for _, w := range workloads {
		s := parse(b, w.granted)
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				s.Has(asked[i%len(asked)])
			}
		})
		b.Run(w.name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					s.Has(asked[i%len(asked)])
				}
			})
		})
	}
}

func BenchmarkMet(b *testing.B) {
	s := parse(b, workloads[0].granted)
	for _, r := range []scopes.Requirement{
		scopes.None(), scopes.All("image:generate"), scopes.All("image:generate", "usage:read"), scopes.Any("image:edit", "image:generate"),
	} {
		b.Run(r.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !r.Met(s) {
					b.Fatal("not met")
				}
			}
		})
	}
}

func BenchmarkCovers(b *testing.B) {
	for _, w := range workloads {
		s := parse(b, w.granted)
		b.Run(w.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !s.Covers(s) {
					b.Fatal("a set does not cover itself")
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	list := strings.Fields(workloads[0].granted)
	slices.Reverse(list)
	for name, text := range map[string]string{"sorted": workloads[0].granted, "unsorted": strings.Join(list, " ")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := scopes.Parse(text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
