package apikey

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"

	"github.com/keytoll/keytoll/errors"
)

// PlacesOptions adjust [NewPlaces]. The zero value is ready for use.
type PlacesOptions struct {
	// MostPlaces is the greatest number of places of one key that are told, 1 to
	// 500; 32 when zero. A key that is used from so many has no new place any more.
	MostPlaces int
	// MostKeys is the greatest number of keys whose places are kept in memory; 65536
	// when zero. Those of others are asked of the store.
	MostKeys int
}

// Places is a [Detector] of the first use of a key from a place. [NewPlaces] makes
// one; it is safe for concurrent use.
type Places struct {
	resolve    func(netip.Addr) (string, bool)
	mostPlaces int
	mostKeys   int

	mu    sync.Mutex
	known map[string][]string // by key ID, as the store had it: latest first
}

var _ Detector = (*Places)(nil)

// NewPlaces returns a detector that tells [EventNewPlace] when a key is used from
// a place for the first time. Resolve, which is required, says which place an
// address is in: a country, a network, a data centre, whatever its text, of up to
// [MaxName] bytes of UTF-8 without control characters; false, or another text, is
// no place, and tells nothing. It is called off the path of requests, once for
// each sighting, and decides how much of an IPv6 address counts.
//
// The event's Note is the place, its Actor.IP the first address in it, and its one
// FieldChange, "place", says where the key was new last. That is "" in the first
// event of a key, which is where it began and alarms nobody. What places a key
// has is read from these events, so a restart tells nothing again; a key that
// was rotated begins anew under its new ID. Two processes that see a new place
// at the same time may both tell of it.
//
// Nil options are the defaults. The error names every fault at once.
func NewPlaces(resolve func(netip.Addr) (place string, ok bool), o *PlacesOptions) (*Places, error) {
	if o == nil {
		o = &PlacesOptions{}
	}
	faults := errors.Faults{Op: "apikey.NewPlaces"}
	if resolve == nil {
		faults.Add("resolve is nil; give what says which place an address is in")
	}
	if o.MostPlaces < 0 || o.MostPlaces > 500 {
		faults.Add("MostPlaces is %d; give 1 to 500, or 0 for 32", o.MostPlaces)
	}
	if o.MostKeys < 0 {
		faults.Add("MostKeys is %d; give 1 or more, or 0 for 65536", o.MostKeys)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	return &Places{
		resolve: resolve, mostPlaces: cmp.Or(o.MostPlaces, 32), mostKeys: cmp.Or(o.MostKeys, 1<<16), known: make(map[string][]string),
	}, nil
}

// Detect implements [Detector].
func (p *Places) Detect(ctx context.Context, seen []Sighting, past Past) ([]Finding, error) {
	var found []Finding
	for len(seen) > 0 {
		n := 1
		for n < len(seen) && seen[n].Key == seen[0].Key {
			n++
		}
		more, err := p.ofKey(ctx, seen[:n], past)
		if err != nil {
			return nil, err
		}
		found, seen = append(found, more...), seen[n:]
	}
	return found, nil
}

// ofKey returns what is found in the sightings of one key.
func (p *Places) ofKey(ctx context.Context, seen []Sighting, past Past) ([]Finding, error) {
	var found []Finding
	id := seen[0].Key
	known, asked := p.recall(id), false
	for i := range seen {
		place, ok := p.resolve(seen[i].IP)
		if !ok || place == "" || !plain(place, MaxName) || slices.Contains(known, place) {
			continue
		}
		if at := slices.IndexFunc(found, func(f Finding) bool { return f.Note == place }); at >= 0 {
			found[at].Count += seen[i].Count
			continue
		}
		if !asked && len(known) < p.mostPlaces {
			var err error
			if known, err = p.ask(ctx, seen[0].Owner, id, past); err != nil {
				return nil, err
			}
			if asked = true; slices.Contains(known, place) {
				continue
			}
		}
		if len(known)+len(found) >= p.mostPlaces {
			continue
		}
		before := ""
		if len(found) > 0 {
			before = found[len(found)-1].Note
		} else if len(known) > 0 {
			before = known[0]
		}
		found = append(found, Finding{
			Kind: EventNewPlace, Key: id, IP: seen[i].IP, Note: place, Count: seen[i].Count,
			Changes: []FieldChange{{Field: "place", Before: before, After: place}},
		})
	}
	return found, nil
}

// recall returns the places of a key that are in memory.
func (p *Places) recall(id string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[id]
}

// ask returns the places of a key that the store has, and keeps them. Nothing else
// is kept, so that what could not be written is found again.
func (p *Places) ask(ctx context.Context, owner, id string, past Past) ([]string, error) {
	events, err := past(ctx, EventQuery{Owner: owner, Key: id, Kind: EventNewPlace, Limit: 1000})
	if err != nil {
		return nil, err
	}
	var known []string
	for i := range events {
		if place := events[i].Note; len(known) < p.mostPlaces && !slices.Contains(known, place) {
			known = append(known, place)
		}
	}
	if len(known) == 0 {
		return nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, kept := p.known[id]; !kept && len(p.known) >= p.mostKeys {
		for other := range p.known {
			delete(p.known, other)
			break
		}
	}
	p.known[id] = known
	return known, nil
}
