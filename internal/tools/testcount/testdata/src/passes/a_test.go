package passes

import "testing"

func TestOne(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Run("b", func(t *testing.T) { t.Run("c", func(t *testing.T) {}) })
}

func Example() {
	// Output:
}
