package webhook

import (
	"context"
	"mime"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

const maxContentType = 256

// Publish files a message for every endpoint of its account that takes it, and
// returns when that is stored: whatever happens to this process or to the
// receivers afterwards, it is delivered or given up visibly. Where no endpoint
// takes it, it is stored and goes nowhere.
//
// Publishing again under the same ID is safe, after an error above all, and does
// nothing when it was done. Every fault of the message is reported at once. The
// error matches [ErrIntent] for another message under an ID that is taken, and
// [ErrNotFound] when the one Endpoint that m names is not there.
func (s *Sender) Publish(ctx context.Context, m Message) (Publication, error) {
	return s.publish(ctx, "webhook.Publish", s.store, m)
}

// PublishIn is Publish into an outbox, as stores on SQL make one of a transaction
// of the caller's: the message is published if and when that commits. It is seen at
// the next poll, or when [Sender.Wake] is called after the commit.
func (s *Sender) PublishIn(ctx context.Context, out Outbox, m Message) (Publication, error) {
	return s.publish(ctx, "webhook.PublishIn", out, m)
}

func (s *Sender) publish(ctx context.Context, op string, out Outbox, m Message) (Publication, error) {
	faults := errors.Faults{Op: op}
	if out == nil {
		faults.Add("outbox: nil; give that of a transaction")
	}
	if m.ID == "" {
		m.ID = NewID()
	}
	if m.ContentType == "" {
		m.ContentType = "application/json"
	}
	m.check(&faults, s.maxPayload)
	if err := faults.Err(); err != nil {
		return Publication{}, err
	}
	p, err := out.Publish(ctx, m)
	if err != nil {
		return Publication{}, errors.Wrap(op, err)
	}
	s.Wake()
	return p, nil
}

// check adds to faults what is wrong with m.
func (m *Message) check(faults *errors.Faults, maxPayload int) {
	if !validID(m.ID) {
		faults.Add("ID %.300q: not 1 to %d characters of A-Z, a-z, 0-9, '_', '-'; leave it empty for one of NewID", m.ID, maxID)
	}
	if !validAccount(m.Account) {
		faults.Add("Account %.140q: not 1 to %d bytes of visible ASCII", m.Account, maxAccount)
	}
	if !validType(m.Type) {
		faults.Add("Type %.140q: not segments of A-Z, a-z, 0-9, '_', '-' between dots, such as \"image.created\", of up to %d bytes", m.Type, MaxType)
	}
	if m.Endpoint != "" && !validEndpointID(m.Endpoint) {
		faults.Add("Endpoint %.80q: not the ID of an endpoint; leave it empty for all that take the type", m.Endpoint)
	}
	if kind, _, err := mime.ParseMediaType(m.ContentType); err != nil || !strings.Contains(kind, "/") || !printable(m.ContentType, maxContentType) {
		faults.Add("ContentType %.300q: not a media type such as \"application/json\"", m.ContentType)
	}
	if len(m.Payload) > maxPayload {
		faults.Add("Payload: %d bytes; give up to %d, or raise SenderOptions.MaxPayload", len(m.Payload), maxPayload)
	}
}

// validType reports whether kind is one of a [Message].
func validType(kind string) bool {
	if len(kind) > MaxType {
		return false
	}
	for segment := range strings.SplitSeq(kind, ".") {
		if !validID(segment) {
			return false
		}
	}
	return true
}
