package vetbad

import (
	"fmt"
	"testing"
)

func TestVet(t *testing.T) { _ = fmt.Sprintf("%d", "x") }
