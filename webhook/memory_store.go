package webhook

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// DefaultMemoryBytes bounds a [MemoryStore].
const DefaultMemoryBytes = 1 << 30

// What rows take beside their variable parts, roughly.
const (
	messageBytes  = 400
	deliveryBytes = 500
	attemptBytes  = 300
)

// MemoryStoreOptions adjusts a [MemoryStore].
type MemoryStoreOptions struct {
	// MaxBytes bounds what messages, deliveries and attempts take, by a count that
	// errs by some tens of percent. In a store that holds more, Publish returns an
	// error with the code Unavailable until something was pruned; all else goes on.
	// Default, and for anything below 1, [DefaultMemoryBytes].
	MaxBytes int64
	// Now is the clock; it never runs backwards here, whatever it returns. Default
	// time.Now.
	Now func() time.Time
}

// A MemoryStore is a [Store] in this process's memory: for tests, and for events
// that need not outlive the process. It runs no goroutine.
//
// A claim looks at the endpoints that have something waiting, and takes logarithmic
// time for each delivery that it hands out: what else waits for the same endpoint
// does not matter. [MemoryStore.Move] and listings by state read the deliveries of
// the endpoint one by one.
type MemoryStore struct {
	clock    func() time.Time
	maxBytes int64

	mu        sync.Mutex
	last      time.Time // the latest instant seen
	seq       int64     // the latest given
	bytes     int64     // of messages, deliveries and attempts
	endpoints map[string]*memoryEndpoint
	ordered   []*memoryEndpoint            // all, by ID
	accounts  map[string][]*memoryEndpoint // not deleted, by ID
	deleted   map[*memoryEndpoint]struct{}
	messages  map[string]*memoryMessage
	history   []*memoryMessage // by At; pruned ones are nil
	pruned    int              // nils in history
	queue     memoryQueue
}

// A memoryEndpoint is an endpoint with its deliveries.
type memoryEndpoint struct {
	row      *Endpoint // never written to, only replaced: claims hand it out
	rows     []*memoryDelivery
	removed  int // rows that are gone
	ended    int // all rows before this one have ended or are gone
	waiting  memoryHeap
	inFlight memoryHeap // those that are Sending, until a claim sees that the lease is over
	queued   bool       // in the queue
}

// A memoryMessage is a message with its deliveries, by endpoint ID.
type memoryMessage struct {
	row        *Message // never written to: claims hand it out
	deliveries []*memoryDelivery
}

// A memoryDelivery is a delivery with its attempts, by number.
type memoryDelivery struct {
	Delivery
	endpoint *memoryEndpoint
	message  *memoryMessage
	attempts []Attempt
	pos      [2]int // in the heaps of the endpoint; -1 for not in it
	gone     bool
}

var _ Store = (*MemoryStore)(nil)

// NewMemoryStore makes an empty store. o may be nil.
func NewMemoryStore(o *MemoryStoreOptions) *MemoryStore {
	s := &MemoryStore{
		clock: time.Now, maxBytes: DefaultMemoryBytes, //nolint:forbidigo // the one default clock
		endpoints: map[string]*memoryEndpoint{}, accounts: map[string][]*memoryEndpoint{},
		deleted: map[*memoryEndpoint]struct{}{}, messages: map[string]*memoryMessage{},
	}
	if o != nil && o.Now != nil {
		s.clock = o.Now
	}
	if o != nil && o.MaxBytes > 0 {
		s.maxBytes = o.MaxBytes
	}
	return s
}

// now returns the present instant. It requires s.mu.
func (s *MemoryStore) now() time.Time {
	s.last = later(s.clock().UTC().Truncate(time.Microsecond), s.last)
	return s.last
}

// enter locks the store for one call, unless ctx is over.
func (s *MemoryStore) enter(ctx context.Context, method string) error {
	if err := ctx.Err(); err != nil {
		return errors.Wrap("webhook.MemoryStore."+method, err)
	}
	s.mu.Lock()
	return nil
}

// Publish implements [Outbox].
func (s *MemoryStore) Publish(ctx context.Context, m Message) (Publication, error) {
	if err := s.enter(ctx, "Publish"); err != nil {
		return Publication{}, err
	}
	defer s.mu.Unlock()
	if old := s.messages[m.ID]; old != nil {
		o := old.row
		if o.Account != m.Account || o.Type != m.Type || o.Endpoint != m.Endpoint || o.ContentType != m.ContentType || !bytes.Equal(o.Payload, m.Payload) {
			return Publication{}, errors.Wrap("webhook.MemoryStore.Publish", ErrIntent)
		}
		return Publication{ID: o.ID, At: o.At, Deliveries: len(old.deliveries), Replayed: true}, nil
	}
	to := s.accounts[m.Account]
	if m.Endpoint != "" {
		e := s.endpoints[m.Endpoint]
		if e == nil || e.row.State == EndpointDeleted || e.row.Account != m.Account {
			return Publication{}, errors.Wrap("webhook.MemoryStore.Publish", ErrNotFound)
		}
		to = []*memoryEndpoint{e}
	}
	if s.bytes >= s.maxBytes {
		return Publication{}, &errors.Error{
			Code: errors.Unavailable, Op: "webhook.MemoryStore.Publish",
			Msg: "the webhook memory store is full; prune it, or give it more MaxBytes",
		}
	}
	m.Payload, m.At = bytes.Clone(m.Payload), s.now()
	message := &memoryMessage{row: &m}
	s.messages[m.ID] = message
	s.history = append(s.history, message)
	for _, e := range to {
		if m.Endpoint != "" || e.row.Takes(m.Type) {
			s.file(message, e)
		}
	}
	s.bytes += message.size()
	return Publication{ID: m.ID, At: m.At, Deliveries: len(message.deliveries)}, nil
}

// file adds a delivery of m to e. It requires s.mu.
func (s *MemoryStore) file(m *memoryMessage, e *memoryEndpoint) {
	s.seq++
	d := &memoryDelivery{
		Delivery: Delivery{
			Endpoint: e.row.ID, Message: m.row.ID, Account: m.row.Account, Type: m.row.Type, Seq: s.seq,
			State: DeliveryPending, Due: m.row.At, CreatedAt: m.row.At,
		},
		endpoint: e, message: m, pos: [2]int{-1, -1},
	}
	m.deliveries = append(m.deliveries, d)
	e.rows = append(e.rows, d)
	s.place(d)
}

// size is what m counts for, attempts aside.
func (m *memoryMessage) size() int64 {
	return messageBytes + int64(len(m.row.Payload)) + deliveryBytes*int64(len(m.deliveries))
}

func (a *Attempt) size() int64 {
	return attemptBytes + int64(len(a.Detail)+len(a.Body)+len(a.Location))
}

// Change implements [Store].
func (s *MemoryStore) Change(ctx context.Context, id string, fn func(now time.Time, e *Endpoint) error) error {
	if err := s.enter(ctx, "Change"); err != nil {
		return err
	}
	defer s.mu.Unlock()
	row := Endpoint{ID: id}
	e := s.endpoints[id]
	if e != nil {
		row = e.row.clone()
	}
	if err := fn(s.now(), &row); err != nil {
		return err
	}
	if row.State == 0 {
		return nil
	}
	if row.ID = id; e == nil {
		e = &memoryEndpoint{waiting: memoryHeap{slot: 0}, inFlight: memoryHeap{slot: 1}}
		e.row = &Endpoint{ID: id}
		s.endpoints[id] = e
		s.ordered = insert(s.ordered, e)
	}
	s.write(e, row)
	return nil
}

// write replaces the row of e. It requires s.mu.
func (s *MemoryStore) write(e *memoryEndpoint, row Endpoint) {
	old := e.row
	row = row.clone()
	e.row = &row
	if old.State != 0 && old.Account == row.Account && old.State == row.State {
		return
	}
	if old.State != 0 && old.State != EndpointDeleted {
		s.accounts[old.Account] = remove(s.accounts[old.Account], e)
		if len(s.accounts[old.Account]) == 0 {
			delete(s.accounts, old.Account)
		}
	}
	delete(s.deleted, e)
	if row.State == EndpointDeleted {
		s.deleted[e] = struct{}{}
	} else {
		s.accounts[row.Account] = insert(s.accounts[row.Account], e)
	}
}

// clone returns a copy that shares nothing with e.
func (e *Endpoint) clone() Endpoint {
	c := *e
	c.Sealed = bytes.Clone(e.Sealed)
	c.Settings = e.Settings.clone()
	return c
}

// find returns where the endpoint of this id is in list, or would be.
func find(list []*memoryEndpoint, id string) (int, bool) {
	return slices.BinarySearchFunc(list, id, func(e *memoryEndpoint, id string) int { return strings.Compare(e.row.ID, id) })
}

func insert(list []*memoryEndpoint, e *memoryEndpoint) []*memoryEndpoint {
	i, _ := find(list, e.row.ID)
	return slices.Insert(list, i, e)
}

func remove(list []*memoryEndpoint, e *memoryEndpoint) []*memoryEndpoint {
	if i, ok := find(list, e.row.ID); ok {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// delivery returns the delivery of a message to an endpoint, or nil. It requires
// s.mu.
func (s *MemoryStore) delivery(endpoint, message string) *memoryDelivery {
	m := s.messages[message]
	if m == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(m.deliveries, endpoint, func(d *memoryDelivery, id string) int { return strings.Compare(d.Endpoint, id) })
	if !ok {
		return nil
	}
	return m.deliveries[i]
}

// at returns the index of the first row whose Seq is seq or more.
func (e *memoryEndpoint) at(seq int64) int {
	i, _ := slices.BinarySearchFunc(e.rows, seq, func(d *memoryDelivery, seq int64) int { return cmp.Compare(d.Seq, seq) })
	return i
}
