package middleware

import (
	"sync"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/ratelimit"
)

const (
	// maxCounts is how many limits one subject of an operation has at most when
	// some of them take their count from the key.
	maxCounts = 8
	// maxVariants is how many sets of counts are kept compiled; more than that are
	// compiled anew now and then.
	maxVariants = 1024
)

// counts are the counts of a group's limits, in the order declared; -1 stands
// for the count that is declared.
type counts [maxCounts]int64

// variants keep the limits of a group compiled for the counts that keys have.
type variants struct {
	mu       sync.RWMutex
	compiled map[counts]ratelimit.Limits // guarded by mu
}

// limitsOf returns the limits of g for a key. It allocates only for counts that it
// has not seen lately.
func (g *group) limitsOf(key *apikey.Key) (ratelimit.Limits, error) {
	if g.variants == nil {
		return g.limits, nil
	}
	var wanted counts
	own := false
	for i := range g.declared {
		wanted[i] = -1
		l := &g.declared[i]
		if l.Setting == "" {
			continue
		}
		if n, ok := key.Settings.Lookup(l.Setting); ok && n != l.Count {
			wanted[i], own = max(n, 0), true
		}
	}
	if !own {
		return g.limits, nil
	}
	v := g.variants
	v.mu.RLock()
	limits, ok := v.compiled[wanted]
	v.mu.RUnlock()
	if ok {
		return limits, nil
	}
	limits, err := compile(g.declared, wanted[:])
	if err != nil {
		return limits, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.compiled == nil || len(v.compiled) >= maxVariants {
		v.compiled = make(map[counts]ratelimit.Limits)
	}
	v.compiled[wanted] = limits
	return limits, nil
}

// compile returns the limits with the counts wanted in the place of theirs.
func compile(declared []Limit, wanted []int64) (ratelimit.Limits, error) {
	list := make([]ratelimit.Limit, len(declared))
	for i, l := range declared {
		list[i] = l.Limit
		if wanted == nil || wanted[i] < 0 {
			continue
		}
		if wanted[i] == 0 {
			list[i] = ratelimit.Limit{Name: l.Name, Algorithm: ratelimit.DenyAll, Shadow: l.Shadow, Unit: l.Unit}
			continue
		}
		list[i].Count = min(wanted[i], mostOf(l.Algorithm))
	}
	return ratelimit.NewLimits(list...)
}

// mostOf returns the largest count of an algorithm.
func mostOf(a ratelimit.Algorithm) int64 {
	if a == ratelimit.SlidingLog || a == ratelimit.Concurrency {
		return ratelimit.MaxLog
	}
	return ratelimit.MaxCount
}
