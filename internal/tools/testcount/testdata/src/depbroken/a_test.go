package depbroken

import (
	"testing"

	"example.com/fix/broken"
)

func TestDep(t *testing.T) { broken.F() }
