package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// retryAfter is how long a courier waits before each further attempt at an
// event that the receiver did not take.
var retryAfter = []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second}

// An event tells the receiver what happened.
type event struct {
	ID   string    `json:"-"` // travels in the webhook-id header, the same on every attempt
	Type string    `json:"type"`
	At   time.Time `json:"timestamp"`
	Data any       `json:"data"`
}

// A courier delivers events to one receiver, in order, from a bounded queue in
// memory. Each attempt is signed at the time it is made. It is safe for
// concurrent use.
type courier struct {
	url    string
	signer *webhook.Signer
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	mu     sync.Mutex
	closed bool
	queue  chan event
	done   sync.WaitGroup
	cancel context.CancelFunc
}

// newCourier starts the one goroutine that delivers; close ends it.
func newCourier(url string, signer *webhook.Signer, now func() time.Time, log *slog.Logger) *courier {
	ctx, cancel := context.WithCancel(context.Background())
	c := &courier{
		url: url, signer: signer, now: now, log: log, cancel: cancel,
		queue: make(chan event, 1024),
		client: &http.Client{
			Timeout:       15 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	c.done.Go(func() {
		for e := range c.queue {
			if err := c.deliver(ctx, e); err != nil {
				c.log.Error("webhook lost", "id", e.ID, "type", e.Type, "err", err)
			}
		}
	})
	return c
}

// send queues e. An event that finds the queue full or closed is logged and
// dropped: the request that caused it has been served all the same.
func (c *courier) send(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.log.Error("webhook dropped: shutting down", "id", e.ID, "type", e.Type)
		return
	}
	select {
	case c.queue <- e:
	default:
		c.log.Error("webhook dropped: the queue is full", "id", e.ID, "type", e.Type, "waiting", len(c.queue))
	}
}

// close takes no more events and returns when those that wait are delivered or
// ctx is done, whichever comes first; what is lost then is logged. It may be
// called twice.
func (c *courier) close(ctx context.Context) {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.queue)
	}
	c.mu.Unlock()
	stop := context.AfterFunc(ctx, c.cancel)
	c.done.Wait()
	stop()
	c.cancel()
}

// deliver makes attempts until the receiver takes e or the schedule ends.
func (c *courier) deliver(ctx context.Context, e event) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	err = c.attempt(ctx, e.ID, body)
	for _, wait := range retryAfter {
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait):
		}
		err = c.attempt(ctx, e.ID, body)
	}
	return err
}

// attempt signs and posts body once. Only a 2xx answer is a delivery.
func (c *courier) attempt(ctx context.Context, id string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := c.signer.Sign(req.Header, id, c.now(), body); err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return err
	}
	// What the receiver says beside its status is not needed; reading a little of
	// it lets the connection be used again.
	_, _ = io.CopyN(io.Discard, resp.Body, 16<<10)
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("the receiver answered %s", resp.Status)
	}
	return nil
}
