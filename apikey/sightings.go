package apikey

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// sightingsPerKey is the greatest number of addresses noted of one key between
// two writes: who holds a key and many addresses must not take the room of all.
const sightingsPerKey = 256

// sightings holds from where keys were used since that was last told: bounded,
// and sharded by key.
type sightings struct {
	detector Detector
	most     int64
	noted    atomic.Int64
	shards   [useShards]sightingShard
}

type sightingShard struct {
	mu   sync.Mutex
	seen map[pair]*tally
	keys map[string]int // the number of addresses of a key in seen
	_    [40]byte       // keeps neighbours off one cache line
}

type pair struct {
	key string
	ip  netip.Addr
}

// A tally is what is noted of a pair; times in microseconds since 1970.
type tally struct {
	owner              string
	count, first, last int64
}

// newSightings returns nil without a detector.
func newSightings(faults *errors.Faults, o *Options) *sightings {
	if o.MaxSightings < 0 {
		faults.Add("MaxSightings is %d; give 1 or more, or 0 for 65536", o.MaxSightings)
	}
	if o.Detector == nil {
		return nil
	}
	s := &sightings{detector: o.Detector, most: int64(cmp.Or(o.MaxSightings, 1<<16))}
	for i := range s.shards {
		s.shards[i].seen, s.shards[i].keys = make(map[pair]*tally), make(map[string]int)
	}
	return s
}

// sight notes from where a key was used.
func (s *Service) sight(k *Key, o *VerifyOptions, now time.Time) {
	if s.sightings != nil && o != nil && o.IP.IsValid() {
		s.sightings.note(k, o.IP.Unmap().WithZone(""), now.UnixMicro())
	}
}

func (s *sightings) shard(key string) *sightingShard {
	if key == "" {
		return &s.shards[0]
	}
	return &s.shards[key[len(key)-1]%useShards]
}

func (s *sightings) note(k *Key, ip netip.Addr, at int64) {
	h := s.shard(k.ID)
	h.mu.Lock()
	defer h.mu.Unlock()
	p := pair{k.ID, ip}
	if t := h.seen[p]; t != nil {
		t.count++
		t.first, t.last = min(t.first, at), max(t.last, at)
		return
	}
	if h.keys[k.ID] == sightingsPerKey {
		return
	}
	if s.noted.Add(1) > s.most {
		s.noted.Add(-1)
		return
	}
	h.seen[p] = &tally{owner: k.Owner, count: 1, first: at, last: at}
	h.keys[k.ID]++
}

// all returns what is noted, a key's sightings one behind the other, earliest
// first.
func (s *sightings) all() []Sighting {
	var seen []Sighting
	for i := range s.shards {
		seen = s.shards[i].appendTo(seen)
	}
	slices.SortFunc(seen, func(a, b Sighting) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), a.First.Compare(b.First), a.IP.Compare(b.IP))
	})
	return seen
}

func (h *sightingShard) appendTo(seen []Sighting) []Sighting {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, t := range h.seen {
		seen = append(seen, Sighting{
			Key: p.key, Owner: t.owner, IP: p.ip, Count: t.count,
			First: time.UnixMicro(t.first).UTC(), Last: time.UnixMicro(t.last).UTC(),
		})
	}
	return seen
}

// forget drops what was told, except for what was seen since.
func (s *sightings) forget(told []Sighting) {
	for i := range told {
		p := pair{told[i].Key, told[i].IP}
		h := s.shard(p.key)
		h.mu.Lock()
		t := h.seen[p]
		if t.count -= told[i].Count; t.count > 0 {
			t.first = told[i].Last.UnixMicro()
		} else {
			delete(h.seen, p)
			s.noted.Add(-1)
			if h.keys[p.key]--; h.keys[p.key] == 0 {
				delete(h.keys, p.key)
			}
		}
		h.mu.Unlock()
	}
}

// tell tells the detector what was seen, in batches, and writes what it found of
// each before it is told the next.
func (s *sightings) tell(ctx context.Context, now time.Time, past Past, apply func(context.Context, Change) error) error {
	for batch := range slices.Chunk(s.all(), touchSize) {
		found, err := detect(ctx, s.detector, slices.Clone(batch), past)
		if err != nil {
			return err
		}
		events, err := findings(found, batch, now)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(events, touchSize) {
			if err := apply(ctx, Change{Events: chunk}); err != nil {
				return err
			}
		}
		s.forget(batch)
	}
	return nil
}
