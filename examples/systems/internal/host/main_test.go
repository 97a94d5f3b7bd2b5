package host_test

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/keytoll/keytoll/examples/systems/internal/host"
)

func TestWrongFlagsEndWithTwo(t *testing.T) {
	for _, args := range [][]string{{"-port", "1"}, {"-addr", "nowhere"}, {"serve"}, {"-json=perhaps"}} {
		var stderr strings.Builder
		if code := host.Run(t.Context(), host.System{Name: "test"}, args, io.Discard, &stderr); code != 2 || stderr.Len() == 0 {
			t.Errorf("%v: exit code %d, %q", args, code, stderr.String())
		}
	}
	if code := host.Run(t.Context(), host.System{Name: "test"}, []string{"-h"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("-h: exit code %d", code)
	}
}

func TestWhatCannotStartEndsWithOne(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, sys := range map[string]host.System{"no plan": {Name: "test", Prefix: "t", Demo: "none", Dashboard: "/keys"}, "no prefix": {Name: "test"}} {
		var stderr strings.Builder
		if code := host.Run(ended, sys, []string{"-addr", "127.0.0.1:0"}, io.Discard, &stderr); code != 1 || stderr.Len() == 0 {
			t.Errorf("%s: exit code %d, %q", name, code, stderr.String())
		}
	}
}
