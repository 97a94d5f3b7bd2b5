package webhook_test

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

func TestAScheduleDoesNotOverflow(t *testing.T) {
	delays := []time.Duration{math.MaxInt64, math.MinInt64, webhook.MaxWait, 0, 1, 4}
	retry := webhook.Schedule(delays)
	for i, want := range []time.Duration{webhook.MaxWait, 0, webhook.MaxWait, 0, 1, 4} {
		for _, random := range []uint64{0, 1, math.MaxUint64 / 2, math.MaxUint64} {
			wait, again := retry(webhook.FailedAttempt{Attempt: i + 1, Random: random})
			if !again || wait < want-want/5 || wait > want+want/5 {
				t.Errorf("attempt %d, random %d: %v, %t, want %v and a fifth", i+1, random, wait, again, want)
			}
		}
	}
	for _, attempt := range []int{math.MinInt, -1, 0, 7, math.MaxInt} {
		if wait, again := retry(webhook.FailedAttempt{Attempt: attempt}); again {
			t.Errorf("attempt %d is followed by another after %v", attempt, wait)
		}
	}
}

// Jitter goes both ways, and reaches both ends: one that only adds puts every wave
// behind the one before.
func TestJitterGoesBothWays(t *testing.T) {
	retry := webhook.Schedule([]time.Duration{100 * time.Second})
	for _, tt := range []struct {
		random uint64
		want   time.Duration
	}{{0, 80 * time.Second}, {1 << 63, 100 * time.Second}, {math.MaxUint64, 120 * time.Second}} {
		if wait, _ := retry(webhook.FailedAttempt{Attempt: 1, Random: tt.random}); wait != tt.want {
			t.Errorf("random %d: %v, want %v", tt.random, wait, tt.want)
		}
	}
}

func TestAScheduleIsItsOwn(t *testing.T) {
	delays := []time.Duration{time.Second}
	retry := webhook.Schedule(delays)
	delays[0] = time.Hour
	if wait, _ := retry(webhook.FailedAttempt{Attempt: 1}); wait > 2*time.Second {
		t.Errorf("waits %v after its argument has changed", wait)
	}
	standard := webhook.StandardSchedule()
	standard[0] = time.Hour
	if slices.Equal(standard, webhook.StandardSchedule()) {
		t.Error("callers of StandardSchedule share one list")
	}
}

// What a busy receiver is owed lengthens a wait and shortens none.
func TestABusyReceiverIsLeftAloneForAMinuteAtLeast(t *testing.T) {
	retry := webhook.Schedule([]time.Duration{time.Second, time.Hour})
	for _, failure := range []webhook.Failure{webhook.FailedBusy, webhook.FailedTimeout} {
		for attempt, want := range []time.Duration{time.Minute, 48 * time.Minute} {
			if wait, _ := retry(webhook.FailedAttempt{Attempt: attempt + 1, Failure: failure}); wait != want {
				t.Errorf("%v, attempt %d: the least wait is %v, want %v", failure, attempt+1, wait, want)
			}
		}
	}
}
