package panics

import "testing"

func TestBefore(t *testing.T) {}

func TestParallel(t *testing.T) {
	t.Run("waits", func(t *testing.T) { t.Parallel() })
	t.Run("panics", func(t *testing.T) { panic("boom") })
}

func TestAfter(t *testing.T) {}
