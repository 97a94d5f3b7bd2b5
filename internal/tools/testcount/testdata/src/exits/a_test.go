package exits

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	m.Run()
	println("no database")
	os.Exit(3)
}

func TestFine(t *testing.T) {}
