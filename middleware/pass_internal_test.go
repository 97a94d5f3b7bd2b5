package middleware

import (
	"testing"
	"unsafe"
)

// A pass with pointers and its header of 8 bytes fill the allocator's class of 1536
// bytes; one byte more costs every request 256.
func TestAPassStaysWithinItsSizeClass(t *testing.T) {
	if size := unsafe.Sizeof(Pass{}); unsafe.Sizeof(uintptr(0)) == 8 && size > 1528 {
		t.Errorf("a pass has %d bytes, want 1528 or less", size)
	}
}
