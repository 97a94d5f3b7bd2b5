package pgstore

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/keytoll/keytoll/ratelimit"
)

// A question is what the functions limits_apply and limits_decide take.
type question struct {
	verb         string
	locks        []int64
	id           ratelimit.ID
	keys         [][]byte
	names        []string
	algorithms   []string
	rules        []int64
	takes        []int64
	latest, hold int64
}

// How many numbers there are of each op.
const (
	ruleNumbers    = 9
	takeNumbers    = 5
	verdictNumbers = 10
)

// newQuestion returns the question for req, without the windows of calendars.
func newQuestion(schema string, req *ratelimit.Request) *question {
	n := len(req.Ops)
	q := &question{
		verb: verb(req), locks: make([]int64, 0, n), keys: make([][]byte, 0, n),
		names: make([]string, 0, n), algorithms: make([]string, 0, n), rules: make([]int64, 0, ruleNumbers*n),
	}
	switch req.Mode {
	case ratelimit.ModeTake, ratelimit.ModeTakeUpTo, ratelimit.ModeCharge:
		_, _ = rand.Read(q.id[:]) // never fails
	default:
		q.id = req.ID
	}
	for i := range req.Ops {
		op := &req.Ops[i]
		limit := op.Rule.Limit()
		if i > 0 && op.Key == req.Ops[i-1].Key {
			q.keys = append(q.keys, q.keys[i-1])
		} else {
			q.keys = append(q.keys, subject(op.Key))
			q.locks = append(q.locks, lockOf(schema, q.keys[i]))
		}
		q.names, q.algorithms = append(q.names, limit.Name), append(q.algorithms, limit.Algorithm.String())
		cost, shadow := op.Cost, int64(0)
		if req.Mode == ratelimit.ModeSettle {
			cost = max(op.Actual-op.Cost, 0)
			if limit.Algorithm == ratelimit.Concurrency {
				cost = 0 // the lease grows, if it has not ended
			}
		}
		if op.Rule.Shadow() {
			shadow = 1
		}
		q.rules = append(q.rules, op.Rule.Quota(), limit.Count, limit.Period.Microseconds(), cost, shadow, 0, 0, 0, 0)
		switch req.Mode {
		case ratelimit.ModeSettle:
			since := int64(0)
			if limit.Algorithm == ratelimit.FixedWindow || limit.Algorithm == ratelimit.Calendar {
				since, _ = op.Rule.WindowAt(op.Until - 1)
			}
			q.takes = append(q.takes, op.Actual, op.Cost-op.Actual, op.Until, op.Rest, since)
			q.latest = max(q.latest, op.Until)
		case ratelimit.ModeRelease:
			q.takes = append(q.takes, 0, 0, 0, 0, 0)
		}
	}
	if req.Mode == ratelimit.ModeSettle {
		q.hold = req.Hold()
	}
	slices.Sort(q.locks)
	q.locks = slices.Compact(q.locks)
	return q
}

// frame gives the windows of a calendar around a time.
func (q *question) frame(i int, op *ratelimit.Op, at int64) {
	if op.Rule.Limit().Algorithm != ratelimit.Calendar {
		return
	}
	start, end := op.Rule.WindowAt(at)
	before, _ := op.Rule.WindowAt(start - 1)
	_, after := op.Rule.WindowAt(end)
	copy(q.rules[i*ruleNumbers+5:], []int64{before, start, end, after})
}

// verb returns what the function limits_apply calls what req does.
func verb(req *ratelimit.Request) string {
	switch req.Mode {
	case ratelimit.ModeTake:
		return "take"
	case ratelimit.ModeTakeUpTo:
		return "up_to"
	case ratelimit.ModeCharge:
		return "charge"
	case ratelimit.ModeRenew:
		return "renew"
	case ratelimit.ModeRelease:
		return "release"
	case ratelimit.ModeReset:
		return "reset"
	}
	for i := range req.Ops {
		if req.Ops[i].Actual > req.Ops[i].Cost {
			return "settle"
		}
	}
	return "refund"
}

// maxSubject is the longest key that is kept as it is: an index has room for
// little more.
const maxSubject = 1024

// subject returns the key under which a state is kept. That of a long key is
// longer than any that is kept as it is, and holds its digest.
func subject(key string) []byte {
	if len(key) <= maxSubject {
		return []byte(key)
	}
	sum := sha256.Sum256([]byte(key))
	return append([]byte(key[:maxSubject]), sum[:]...)
}

// lockOf returns the number of the advisory lock of a subject of a schema. Two
// of one number wait for each other, and no more.
func lockOf(schema string, subject []byte) int64 {
	named := append(make([]byte, 0, 128), schema...)
	named = append(named, '.') // which is in no schema's name
	sum := sha256.Sum256(append(named, subject...))
	return int64(binary.BigEndian.Uint64(sum[:]))
}
