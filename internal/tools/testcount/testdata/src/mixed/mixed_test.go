package mixed

import "testing"

func TestPlain(t *testing.T) {}

func TestTable(t *testing.T) {
	for _, name := range []string{"good", "bad", "left out"} {
		t.Run(name, func(t *testing.T) {
			switch name {
			case "bad":
				t.Error("one and one is three")
			case "left out":
				t.Skip("needs a server:", "none is named")
			}
			t.Run("deep", func(t *testing.T) {})
		})
	}
}

func TestParentAlone(t *testing.T) {
	t.Run("fine", func(t *testing.T) {})
	t.Error("the parent failed by itself")
}

func TestSkipped(t *testing.T) { t.Skip() }

func FuzzGood(f *testing.F) {
	for i := range 5 {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, i int) {})
}

func FuzzBad(f *testing.F) {
	for i := range 5 {
		f.Add(i)
	}
	f.Fuzz(func(t *testing.T, i int) {
		if i == 3 {
			t.Error("three")
		}
	})
}
