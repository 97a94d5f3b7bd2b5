package pgstore

import (
	"cmp"
	"context"
	"encoding"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// Apply implements [apikey.Store], in one round trip and one transaction: what a
// Change holds goes to the function apply of the schema.
func (k keys) Apply(ctx context.Context, c apikey.Change) error {
	args := newArguments(&c)
	update := slices.SortedStableFunc(slices.Values(c.Update), byID)
	if err := args.addRecords(append(update, c.Insert...)); err != nil {
		return err
	}
	if err := args.addEvents(c.Events); err != nil {
		return err
	}
	notices, err := payloads(c.Notices)
	if err != nil {
		return err
	}
	return k.db.write(ctx, k.db.sql.apply, append(args.list(&c), k.db.channel(), notices)...)
}

func byID(a, b apikey.Record) int { return cmp.Compare(a.Key.ID, b.Key.ID) }

// arguments are what the function apply takes, a list for each column.
type arguments struct {
	lock []string // owners

	ids, handles, schemes, encodeds, keyOwners, names, environments   []string
	scopes, metadata, settings, networks, states, reasons             []string
	starts, last4s, meters, predecessors, successors                  []string
	labels                                                            []*string
	digestVersions, epochs, remindedExpiries, remindedAges, versions  []int64
	digests, intents, sealeds                                         [][]byte
	createdAts, secretAts, expiresAts, lastUsedAts                    []pgtype.Timestamptz
	eventOwners, kinds, eventKeys, actors, ips, fieldChanges, remarks []string
	eventAts                                                          []pgtype.Timestamptz
	counts                                                            []int64
	bodies                                                            [][]byte
}

// newArguments returns the arguments for c without its records and events. An
// owner is locked whose keys, events or decisions grow.
func newArguments(c *apikey.Change) *arguments {
	a := new(arguments)
	for i := range c.Insert {
		a.lock = append(a.lock, c.Insert[i].Key.Owner)
	}
	for i := range c.Events {
		a.lock = append(a.lock, c.Events[i].Owner)
	}
	if c.Owner != nil {
		a.lock = append(a.lock, c.Owner.ID)
	}
	if c.Cap != nil {
		a.lock = append(a.lock, c.Cap.Owner)
	}
	slices.Sort(a.lock)
	a.lock = slices.Compact(a.lock)
	return a
}

func (a *arguments) addRecords(records []apikey.Record) error {
	for i := range records {
		if err := a.addRecord(&records[i]); err != nil {
			return err
		}
	}
	return nil
}

func (a *arguments) addRecord(rec *apikey.Record) error {
	key := &rec.Key
	var text [5]string
	for i, v := range [...]encoding.TextMarshaler{key.Scopes, key.Metadata, key.Settings, key.Networks, key.State} {
		t, err := v.MarshalText()
		if err != nil {
			return err
		}
		text[i] = string(t)
	}
	a.ids, a.handles = append(a.ids, key.ID), append(a.handles, rec.Handle)
	a.digestVersions, a.digests = append(a.digestVersions, int64(rec.Digest.Version)), append(a.digests, rec.Digest.Sum[:])
	a.schemes, a.encodeds = append(a.schemes, rec.Imported.Scheme), append(a.encodeds, rec.Imported.Encoded)
	a.labels, a.epochs = append(a.labels, optional(&rec.Label)), append(a.epochs, rec.Epoch)
	var intent []byte
	if rec.Intent != ([32]byte{}) {
		intent = rec.Intent[:]
	}
	a.intents, a.sealeds = append(a.intents, intent), append(a.sealeds, rec.Sealed)
	a.remindedExpiries = append(a.remindedExpiries, rec.Reminded.Expiry.Microseconds())
	a.remindedAges = append(a.remindedAges, rec.Reminded.Age.Microseconds())
	a.keyOwners, a.names, a.environments = append(a.keyOwners, key.Owner), append(a.names, key.Name), append(a.environments, key.Environment)
	a.scopes, a.metadata, a.settings = append(a.scopes, text[0]), append(a.metadata, text[1]), append(a.settings, text[2])
	a.networks, a.states = append(a.networks, text[3]), append(a.states, text[4])
	a.createdAts, a.secretAts = append(a.createdAts, stored(key.CreatedAt)), append(a.secretAts, stored(key.SecretAt))
	a.expiresAts, a.lastUsedAts = append(a.expiresAts, nullable(key.ExpiresAt)), append(a.lastUsedAts, nullable(key.LastUsedAt))
	a.reasons, a.starts, a.last4s = append(a.reasons, key.RevokedReason), append(a.starts, key.Start), append(a.last4s, key.Last4)
	a.meters, a.predecessors = append(a.meters, key.Meter), append(a.predecessors, key.Predecessor)
	a.successors, a.versions = append(a.successors, key.Successor), append(a.versions, key.Version)
	return nil
}

// addEvents adds events sorted by owner, those of one in their order.
func (a *arguments) addEvents(events []apikey.Event) error {
	if len(events) > 1 {
		events = slices.SortedStableFunc(slices.Values(events), func(a, b apikey.Event) int { return cmp.Compare(a.Owner, b.Owner) })
	}
	for i := range events {
		e := &events[i]
		changes, err := changesText(e.Changes)
		if err != nil {
			return err
		}
		ip := ""
		if e.Actor.IP.IsValid() {
			ip = e.Actor.IP.String()
		}
		body := e.Body()
		a.eventOwners, a.eventAts, a.kinds = append(a.eventOwners, e.Owner), append(a.eventAts, stored(e.At)), append(a.kinds, string(e.Kind))
		a.eventKeys, a.actors, a.ips = append(a.eventKeys, e.Key), append(a.actors, e.Actor.ID), append(a.ips, ip)
		a.fieldChanges, a.remarks = append(a.fieldChanges, changes), append(a.remarks, e.Note)
		a.counts, a.bodies = append(a.counts, e.Count), append(a.bodies, body[:])
	}
	return nil
}

// changesText returns changes as a JSON array. JSON would quietly replace what
// is not UTF-8.
func changesText(changes []apikey.FieldChange) (string, error) {
	if len(changes) == 0 {
		return "[]", nil
	}
	for _, c := range changes {
		if !storable(c.Field) || !storable(c.Before) || !storable(c.After) {
			return "", errUnstorable
		}
	}
	text, err := json.Marshal(changes)
	return string(text), err
}

// list returns the arguments in their order, up to the notices.
func (a *arguments) list(c *apikey.Change) []any {
	args := make([]any, 0, 64)
	args = append(args, some(a.lock))
	if o := c.Owner; o != nil {
		args = append(args, o.ID, o.Epoch, o.RevokedReason, o.Suspended, o.SuspendedReason, nullable(o.ChangedAt), o.Version)
	} else {
		args = append(args, nil, nil, nil, nil, nil, nil, nil)
	}
	args = append(args, len(c.Update),
		some(a.ids), some(a.handles), some(a.digestVersions), some(a.digests), some(a.schemes), some(a.encodeds),
		some(a.labels), some(a.epochs), some(a.intents), some(a.sealeds), some(a.remindedExpiries), some(a.remindedAges),
		some(a.keyOwners), some(a.names), some(a.environments), some(a.scopes), some(a.metadata), some(a.settings), some(a.networks),
		some(a.createdAts), some(a.secretAts), some(a.expiresAts), some(a.lastUsedAts),
		some(a.states), some(a.reasons), some(a.starts), some(a.last4s), some(a.meters), some(a.predecessors), some(a.successors),
		some(a.versions))
	if limit := c.Cap; limit != nil {
		args = append(args, limit.Owner, min(int64(limit.Most), math.MaxInt64), stateNames(limit.States), nullable(limit.LiveAt))
	} else {
		args = append(args, nil, nil, nil, nil)
	}
	return append(args,
		some(a.eventOwners), some(a.eventAts), some(a.kinds), some(a.eventKeys), some(a.actors), some(a.ips), some(a.fieldChanges),
		some(a.remarks), some(a.counts), some(a.bodies))
}

// some returns list, or an empty one where it is nil, which would be null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// optional returns nil, which is null, for an empty text.
func optional(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}

// stateNames returns the names of states that a record can have.
func stateNames(states []apikey.State) []string {
	names := make([]string, 0, len(states))
	for _, s := range states {
		names = append(names, s.String())
	}
	return names
}

// storable reports whether PostgreSQL can keep text.
func storable(text string) bool { return utf8.ValidString(text) && !strings.ContainsRune(text, 0) }

var errUnstorable error = &errors.Error{Code: errors.Invalid, Msg: "a text cannot be stored; give UTF-8 without NUL"}
