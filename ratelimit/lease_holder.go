package ratelimit

import (
	"context"
	"slices"
)

// holders are the subjects of one shard.
type holders struct {
	of     map[[2]uint64]*holder
	stocks int // of all of them
}

// A holder is a subject of whose limits units are held.
type holder struct {
	key    string
	stocks []stock
	trip   *trip // under way
	used   bool  // since it was last looked at for room
}

// A trip is a request for units that is under way: one a subject.
type trip struct {
	void bool // what it brings is not wanted any more; guarded by the shard's lock

	done      chan struct{} // closed when it is over; the rest may be read then
	ask       *Request
	err       error
	abandoned bool // err is that of its caller's context
	less      bool // the store gave less than was asked for
	elsewhere bool // the inner store must decide the request itself
}

// find returns the stock of the rule's combination, nil when there is none: hint
// is where it may be.
func (h *holder) find(r *Rule, hint int) *stock {
	if hint < len(h.stocks) && h.stocks[hint].rule.tag == r.tag {
		return &h.stocks[hint]
	}
	for i := range h.stocks {
		if h.stocks[i].rule.tag == r.tag {
			return &h.stocks[i]
		}
	}
	return nil
}

// covers reports whether every op can be taken from what is held.
func (h *holder) covers(ops []Op, at int64) bool {
	for i := range ops {
		s := h.find(ops[i].Rule, i)
		if s == nil || s.rule != ops[i].Rule && !s.rule.same(ops[i].Rule, at) || s.lacks(ops[i].Cost, at) {
			return false
		}
	}
	return true
}

// lacks reports whether a cost calls for a trip.
func (s *stock) lacks(cost, at int64) bool {
	return s.units(at) < cost && !(s.rule.limit.Shadow && at < s.shut)
}

// wanted reports whether the group calls for a trip for the stock.
func (s *stock) wanted(g *group, at int64) bool { return names(g.ops, s) && s.lacks(g.cost, at) }

// give takes out everything that shares a lease with a stock that want picks,
// and returns the requests that return it.
func (h *holder) give(want func(*stock, *lot) bool) []*Request {
	var ids []ID
	for i := range h.stocks {
		s := &h.stocks[i]
		for j := range s.lots {
			if l := &s.lots[j]; l.n > 0 && want(s, l) {
				if l.id == (ID{}) {
					l.n = 0
				} else if !slices.Contains(ids, l.id) {
					ids = append(ids, l.id)
				}
			}
		}
	}
	reqs := make([]*Request, 0, len(ids))
	for _, id := range ids {
		req := &Request{Mode: ModeSettle, ID: id}
		for i := range h.stocks {
			s := &h.stocks[i]
			for j := range s.lots {
				if l := &s.lots[j]; l.id == id {
					if op, ok := s.give(h.key, l); ok {
						req.Ops = append(req.Ops, op)
					}
				}
			}
		}
		reqs = append(reqs, req)
	}
	return reqs
}

func all(*stock, *lot) bool { return true }

// of picks the stocks of the combinations of ops.
func of(ops []Op) func(*stock, *lot) bool {
	return func(s *stock, _ *lot) bool { return names(ops, s) }
}

func names(ops []Op, s *stock) bool {
	return slices.ContainsFunc(ops, func(o Op) bool { return o.Rule.tag == s.rule.tag })
}

// lock locks the shards of the groups in ascending order.
func (l *LeasingStore) lock(groups []group, held []int) []int {
	for i := range groups {
		held = append(held, groups[i].index)
	}
	slices.Sort(held)
	held = slices.Compact(held)
	for _, i := range held {
		l.book.shards[i].mu.Lock()
	}
	return held
}

// hold returns the holder of the group with a stock for each of its ops. When
// there is no room it returns nil, or what must be returned first.
func (l *LeasingStore) hold(g *group, at int64) (*holder, []*Request) {
	hs := &l.holders[g.index]
	w := g.name
	h := hs.of[w]
	missing := len(g.ops)
	if h != nil {
		if h.trip != nil {
			return h, nil
		}
		for i := range g.ops {
			if s := h.find(g.ops[i].Rule, i); s != nil {
				missing--
				switch {
				case s.rule.same(g.ops[i].Rule, at):
					s.rule = g.ops[i].Rule
				default: // the limit has changed
					reqs := h.give(of(g.ops[i : i+1]))
					*s = l.stock(g.ops[i].Rule)
					if len(reqs) > 0 {
						return h, reqs
					}
				}
			}
		}
	}
	var reqs []*Request
	if h != nil {
		for i := range h.stocks {
			h.stocks[i].fade(at)
		}
		reqs = h.give(func(s *stock, l *lot) bool { // a third lot would have no place
			return at >= l.dies || l == &s.lots[0] && s.lots[1].n > 0 && s.wanted(g, at)
		})
	}
	for hs.stocks+missing > l.room {
		victim := hs.victim(w)
		if victim == nil {
			return nil, reqs
		}
		reqs = append(reqs, victim.give(all)...)
	}
	if h == nil {
		if hs.of == nil {
			hs.of = make(map[[2]uint64]*holder)
		}
		h = &holder{key: g.ops[0].Key, stocks: make([]stock, 0, len(g.ops))}
		hs.of[w] = h
	}
	for i := range g.ops {
		if h.find(g.ops[i].Rule, i) == nil {
			h.stocks = append(h.stocks, l.stock(g.ops[i].Rule))
			hs.stocks++
		}
	}
	return h, reqs
}

// stock returns an empty stock of the rule.
func (l *LeasingStore) stock(r *Rule) stock {
	s := stock{rule: r, asked: l.asked(r), most: l.may(r), size: 1}
	if s.life = r.fill / l.share; s.bucket() {
		_, s.life = r.spare(l.share)
	}
	return s
}

// may returns how many units of a limit may be held.
func (l *LeasingStore) may(r *Rule) int64 { return min(l.most, r.quota/l.share) }

// asked returns what the store is asked to hold the subjects of a rule to.
func (l *LeasingStore) asked(r *Rule) *Rule {
	if r.limit.Algorithm != TokenBucket || l.may(r) < 2 {
		return r
	}
	limit := r.limit
	units, _ := r.spare(l.share)
	limit.Burst = r.quota - units
	smaller := compile(limit)
	return &smaller
}

// apply has the inner store carry out a request of the limiter's.
func (l *LeasingStore) apply(ctx context.Context, req *Request) error {
	plain := true
	for i := range req.Ops {
		r := req.Ops[i].Rule
		plain = plain && (r.limit.Algorithm != TokenBucket || l.may(r) < 2)
	}
	if plain {
		return l.inner.Apply(ctx, req)
	}
	ask := *req
	ask.Ops = slices.Clone(req.Ops)
	for i := range ask.Ops {
		ask.Ops[i].Rule = l.asked(ask.Ops[i].Rule)
	}
	err := l.inner.Apply(ctx, &ask)
	for i := range ask.Ops {
		ask.Ops[i].Rule = req.Ops[i].Rule
	}
	copy(req.Ops, ask.Ops)
	ask.Ops = req.Ops
	*req = ask
	return err
}

// victim takes out a holder to make room: of a few, one that was not used since
// the last look.
func (hs *holders) victim(but [2]uint64) *holder {
	const looks = 8
	var last [2]uint64
	n := 0
	for w, h := range hs.of { // in no order
		if w == but || h.trip != nil {
			continue
		}
		last = w
		if n++; !h.used || n == looks {
			break
		}
		h.used = false
	}
	h := hs.of[last]
	if n == 0 {
		return nil
	}
	hs.stocks -= len(h.stocks)
	delete(hs.of, last)
	return h
}
