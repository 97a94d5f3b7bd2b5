package middleware

import (
	"context"
	"testing"
	"time"
)

// Whoever waits for the end of a question sees it end for good: package context
// panics when what is done says afterwards that it is not.
func TestAQuestionThatIsOverStaysOver(t *testing.T) {
	first := &detached{parent: t.Context(), timeout: time.Hour}
	if first.next(true) != first {
		t.Error("a question that nobody waits for is not used again")
	}
	asked := []*detached{first}
	for range 3 {
		last := asked[len(asked)-1]
		child, cancel := context.WithCancel(last)
		t.Cleanup(cancel)
		asked = append(asked, first.next(true))
		<-child.Done()
		if now := asked[len(asked)-1]; now == last || now.Err() != nil {
			t.Fatalf("the next question is %p after %p, and its end %v", now, last, now.Err())
		}
		for i, d := range asked[:len(asked)-1] {
			if d.Err() == nil {
				t.Errorf("question %d lives again", i)
			}
		}
	}
	last := asked[len(asked)-1]
	child, cancel := context.WithCancel(last)
	t.Cleanup(cancel)
	first.stop()
	<-child.Done()
	if first.next(true).Err() == nil {
		t.Error("there is a question after the last")
	}
}
