package webhook

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/keytoll/keytoll/errors"
)

const (
	maxAccount    = 128
	maxEndpointID = 64

	defaultPage = 100
	maxPage     = 500
)

// An EndpointSpec says what endpoint is to be made.
type EndpointSpec struct {
	// ID names the endpoint for ever: 1 to 64 characters of A-Z, a-z, 0-9, '_' and
	// '-'. Default: "ep_" and 26 random characters. With an ID of the caller's,
	// creating the same endpoint again does nothing.
	ID string
	// Account is whose messages go here: 1 to 128 bytes of visible ASCII.
	Account string
	// Settings are what the account chooses. URL is required.
	Settings Settings
	// Keys sign what goes there: at least one that is live. Default: one with a
	// generated secret.
	Keys Keys
	// ClientKey is the private key of Settings.TLS.Certificate. Default none.
	ClientKey ClientKey
}

// A ClientKey is the PEM text of the private key of a certificate. It prints as "[redacted]".
type ClientKey string

// Format writes "[redacted]" whatever the verb and the flags.
func (k ClientKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText returns "[redacted]".
func (k ClientKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (k ClientKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// A CreatedEndpoint is the outcome of [Sender.CreateEndpoint].
type CreatedEndpoint struct {
	Endpoint Endpoint
	// Secret is that of the newest key, for the receiver: [Secret.Reveal] reads it.
	Secret Secret
	// Replayed is set when the endpoint was there already.
	Replayed bool
}

// errUnchanged ends a change that has nothing to write.
var errUnchanged = errors.New("nothing to change")

// CreateEndpoint makes an active endpoint. Every fault of the spec is reported at
// once. When there is one of the same ID, Account and Settings, and with the same
// Keys and ClientKey where the spec has them, it changes nothing and returns that
// one, so that it can be called again after an error; otherwise the error matches
// [ErrExists].
func (s *Sender) CreateEndpoint(ctx context.Context, spec EndpointSpec) (CreatedEndpoint, error) {
	const op = "webhook.CreateEndpoint"
	faults := errors.Faults{Op: op}
	if spec.ID == "" {
		spec.ID = "ep_" + rand.Text()
	}
	if !validEndpointID(spec.ID) {
		faults.Add("ID %.80q: not 1 to %d characters of A-Z, a-z, 0-9, '_', '-'; leave it empty for a random one", spec.ID, maxEndpointID)
	}
	if !validAccount(spec.Account) {
		faults.Add("Account %.140q: not 1 to %d bytes of visible ASCII", spec.Account, maxAccount)
	}
	s.checkSettings(&faults, &spec.Settings, spec.ClientKey)
	secrets := endpointSecrets{Keys: spec.Keys, ClientKey: string(spec.ClientKey)}
	if spec.Keys.Len() == 0 {
		keys, err := NewKeys(Key{Secret: GenerateSecret()})
		faults.Join(err)
		secrets.Keys = keys
	}
	s.checkKeys(&faults, secrets.Keys)
	if err := faults.Err(); err != nil {
		return CreatedEndpoint{}, err
	}
	sealed, err := s.sealer.seal(spec.ID, secrets)
	if err != nil {
		return CreatedEndpoint{}, errors.Wrap(op, err)
	}
	var created CreatedEndpoint
	err = s.store.Change(ctx, spec.ID, func(now time.Time, e *Endpoint) error {
		created = CreatedEndpoint{Secret: secrets.Keys.newest().Secret}
		if e.State != 0 {
			return s.replay(&created, e, &spec)
		}
		*e = Endpoint{
			ID: spec.ID, Account: spec.Account, Settings: spec.Settings.clone(), Sealed: sealed,
			State: EndpointActive, CreatedAt: now, UpdatedAt: now,
		}
		created.Endpoint = e.clone()
		return nil
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		return CreatedEndpoint{}, errors.Wrap(op, err)
	}
	return created, nil
}

// replay decides on making an endpoint that is there.
func (s *Sender) replay(created *CreatedEndpoint, e *Endpoint, spec *EndpointSpec) error {
	if e.State == EndpointDeleted || e.Account != spec.Account || !e.Settings.same(&spec.Settings) {
		return ErrExists
	}
	held, err := s.sealer.open(e.ID, e.Sealed)
	if err != nil {
		return err
	}
	if spec.Keys.Len() > 0 && !sameKeys(held.Keys, spec.Keys) || spec.ClientKey != "" && held.ClientKey != string(spec.ClientKey) {
		return ErrExists
	}
	*created = CreatedEndpoint{Endpoint: e.clone(), Secret: held.Keys.newest().Secret, Replayed: true}
	return errUnchanged
}

// UpdateEndpoint lets fn change the settings of an endpoint. fn works on a copy,
// does no I/O, and may be called again with settings that somebody else has
// changed; an error of fn's ends the update. Every fault of what fn made is
// reported at once. Attempts that run finish as they began. A change of URL forgets
// what was found out about the receiver, and what they find out at the one before
// counts for their messages alone.
func (s *Sender) UpdateEndpoint(ctx context.Context, id string, fn func(*Settings) error) (Endpoint, error) {
	const op = "webhook.UpdateEndpoint"
	if fn == nil {
		return Endpoint{}, &errors.Error{Code: errors.Invalid, Op: op, Msg: "fn: nil; give a function that changes settings"}
	}
	return s.change(ctx, op, id, func(_ time.Time, e *Endpoint) error {
		next := e.Settings.clone()
		if err := fn(&next); err != nil {
			return err
		}
		if next.same(&e.Settings) {
			return errUnchanged
		}
		return s.configure(op, e, next, nil)
	})
}

// SetClientCertificate replaces what an endpoint is shown as a client: a PEM chain
// and its private key, or nothing when both are empty. To renew a certificate of the
// same key, UpdateEndpoint is enough.
func (s *Sender) SetClientCertificate(ctx context.Context, id, chain string, key ClientKey) (Endpoint, error) {
	const op = "webhook.SetClientCertificate"
	return s.change(ctx, op, id, func(_ time.Time, e *Endpoint) error {
		next := e.Settings.clone()
		next.TLS.Certificate = chain
		return s.configure(op, e, next, &key)
	})
}

// configure gives e other settings, and another private key unless key is nil.
func (s *Sender) configure(op string, e *Endpoint, next Settings, key *ClientKey) error {
	var held endpointSecrets
	if key != nil || e.Settings.TLS.Certificate != "" || next.TLS.Certificate != "" {
		var err error
		if held, err = s.sealer.open(e.ID, e.Sealed); err != nil {
			return err
		}
	}
	secrets := held
	if key != nil {
		secrets.ClientKey = string(*key)
	} else if next.TLS.Certificate == "" {
		secrets.ClientKey = "" // it goes with its certificate
	}
	faults := errors.Faults{Op: op}
	s.checkSettings(&faults, &next, ClientKey(secrets.ClientKey))
	if err := faults.Err(); err != nil {
		return err
	}
	if secrets.ClientKey != held.ClientKey {
		sealed, err := s.sealer.seal(e.ID, secrets)
		if err != nil {
			return err
		}
		e.Sealed = sealed
	}
	if next.URL != e.Settings.URL {
		e.Health = Health{PacedUntil: e.Health.PacedUntil}
	}
	e.Settings = next.clone() // whoever made next may have kept it
	return nil
}

// DisableEndpoint holds back what goes to an endpoint, until EnableEndpoint:
// messages are filed for it and none is sent. It costs the same however many wait.
// Attempts that run are finished.
func (s *Sender) DisableEndpoint(ctx context.Context, id string) (Endpoint, error) {
	var was EndpointState
	e, err := s.change(ctx, "webhook.DisableEndpoint", id, func(_ time.Time, e *Endpoint) error {
		was = e.State
		if e.State == EndpointDisabled && e.Reason == DisabledByHost {
			return errUnchanged
		}
		e.State, e.Reason = EndpointDisabled, DisabledByHost
		return nil
	})
	if err == nil && was == EndpointActive {
		s.tell(ctx, SenderEvent{Kind: EndpointWasDisabled, Account: e.Account, Endpoint: id, Reason: DisabledByHost})
	}
	return e, err
}

// EnableEndpoint lets everything go that waits for an endpoint, whatever held it
// back: that it was disabled, its breaker, or a pause that it asked for. What was
// found out about the receiver is forgotten. What was given up meanwhile is for
// [Sender.RecoverSince].
func (s *Sender) EnableEndpoint(ctx context.Context, id string) (Endpoint, error) {
	e, err := s.change(ctx, "webhook.EnableEndpoint", id, func(_ time.Time, e *Endpoint) error {
		if e.State == EndpointActive && e.Health == (Health{}) {
			return errUnchanged
		}
		e.State, e.Reason, e.Health = EndpointActive, 0, Health{}
		return nil
	})
	if err == nil {
		s.Wake()
	}
	return e, err
}

// DeleteEndpoint ends an endpoint for ever: nothing more is filed for it or sent to
// it, and its secrets and headers are erased. Its ID stays taken until
// [Sender.Prune] has removed all that names it. Deleting a deleted one does
// nothing.
func (s *Sender) DeleteEndpoint(ctx context.Context, id string) error {
	const op = "webhook.DeleteEndpoint"
	if !validEndpointID(id) {
		return noEndpoint(op)
	}
	err := s.store.Change(ctx, id, func(now time.Time, e *Endpoint) error {
		switch e.State {
		case 0:
			return ErrNotFound
		case EndpointDeleted:
			return errUnchanged
		}
		e.State, e.Reason, e.UpdatedAt = EndpointDeleted, 0, now
		e.Sealed, e.Settings.Headers, e.Health = []byte{}, nil, Health{}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	return errors.Wrap(op, err)
}

// Endpoint returns an endpoint; a deleted one is not found. Whether it is one of
// the account that asks is for the caller to see, here and in every other method
// that takes an ID.
func (s *Sender) Endpoint(ctx context.Context, id string) (Endpoint, error) {
	const op = "webhook.Endpoint"
	if !validEndpointID(id) {
		return Endpoint{}, noEndpoint(op)
	}
	list, err := s.store.Endpoints(ctx, EndpointQuery{ID: id, Limit: 1})
	if err != nil {
		return Endpoint{}, errors.Wrap(op, err)
	}
	if len(list) == 0 || list[0].State == EndpointDeleted {
		return Endpoint{}, noEndpoint(op)
	}
	return list[0], nil
}

// An EndpointPage is a stretch of endpoints in ascending order of ID.
type EndpointPage struct {
	Endpoints []Endpoint
	Next      string // After, for the next page; "": there is none now
}

// Endpoints returns a page of the endpoints that q selects, without deleted ones.
// Limit is 0 to 500; 0 means 100.
func (s *Sender) Endpoints(ctx context.Context, q EndpointQuery) (EndpointPage, error) {
	const op = "webhook.Endpoints"
	faults := errors.Faults{Op: op}
	if q.Account != "" && !validAccount(q.Account) {
		faults.Add("Account %.140q: not up to %d bytes of visible ASCII", q.Account, maxAccount)
	}
	if q.ID != "" && !validEndpointID(q.ID) || q.After != "" && !validEndpointID(q.After) {
		faults.Add("ID %.80q, After %.80q: not IDs of endpoints", q.ID, q.After)
	}
	limit := pageSize(&faults, q.Limit)
	if err := faults.Err(); err != nil {
		return EndpointPage{}, err
	}
	q.Limit = limit + 1
	list, err := s.store.Endpoints(ctx, q)
	if err != nil {
		return EndpointPage{}, errors.Wrap(op, err)
	}
	list = slices.DeleteFunc(list, func(e Endpoint) bool { return e.State == EndpointDeleted }) // of one that is named
	p := EndpointPage{Endpoints: list}
	if len(list) > limit {
		p.Endpoints, p.Next = list[:limit], list[limit-1].ID
	}
	return p, nil
}

// change lets fn change an endpoint that is there and not deleted, and returns it
// as it is then. fn returns errUnchanged when there is nothing to write.
func (s *Sender) change(ctx context.Context, op, id string, fn func(now time.Time, e *Endpoint) error) (Endpoint, error) {
	if !validEndpointID(id) {
		return Endpoint{}, noEndpoint(op)
	}
	var after Endpoint
	err := s.store.Change(ctx, id, func(now time.Time, e *Endpoint) error {
		if e.State == 0 || e.State == EndpointDeleted {
			return ErrNotFound
		}
		err := fn(now, e)
		if err == nil {
			e.UpdatedAt = now
		}
		after = e.clone()
		return err
	})
	if err != nil && !errors.Is(err, errUnchanged) {
		if own, ok := errors.AsType[*errors.Error](err); ok && own.Op == op {
			return Endpoint{}, err // a fault that fn named
		}
		return Endpoint{}, errors.Wrap(op, err)
	}
	return after, nil
}

// checkSettings adds to faults what is wrong with the settings of an endpoint that
// has this private key.
func (s *Sender) checkSettings(faults *errors.Faults, settings *Settings, key ClientKey) {
	settings.check(faults, s.maxTimeout)
	if err := s.courier.transport.CheckURL(settings.URL); err != nil {
		faults.Join(&errors.Error{Code: errors.Invalid, Op: faults.Op, Msg: "URL: " + errors.MessageOf(err), Err: ErrRefused})
	}
	if len(key) > MaxPEM {
		faults.Add("ClientKey: %d bytes; give up to %d", len(key), MaxPEM)
		return
	}
	settings.TLS.config(faults, string(key))
}

func noEndpoint(op string) error { return errors.Wrap(op, ErrNotFound) }

// pageSize returns what a limit of a listing means.
func pageSize(faults *errors.Faults, limit int) int {
	within(faults, "Limit", limit, 0, maxPage)
	if limit == 0 {
		return defaultPage
	}
	return limit
}

// validEndpointID reports whether id can name an endpoint.
func validEndpointID(id string) bool { return len(id) <= maxEndpointID && validID(id) }

// validAccount reports whether account can be one.
func validAccount(account string) bool {
	for i := range len(account) {
		if account[i] <= ' ' || account[i] > '~' {
			return false
		}
	}
	return account != "" && len(account) <= maxAccount
}
