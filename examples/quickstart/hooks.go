package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	kterrors "github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/webhook"
)

// receiver is the id of the one endpoint: it lives where the keys live, with its
// secret, and what waits for it waits for the next start.
const receiver = "ep_quickstart"

// retries are the waits before each further attempt at an event that the
// receiver did not take: sooner than the default, for people who watch.
var retries = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 15 * time.Second, time.Minute,
	5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 8 * time.Hour, 24 * time.Hour,
}

// An event tells the receiver what happened.
type event struct {
	Type string    `json:"type"`
	At   time.Time `json:"timestamp"`
	Data any       `json:"data"`
}

// openHooks makes the sender of webhooks and its endpoint, or finds the endpoint
// that an earlier start has made.
func openHooks(ctx context.Context, c config, a *app) (*webhook.Sender, webhook.Secret, error) {
	var none webhook.Secret
	target, err := url.Parse(c.webhook)
	if err != nil {
		return nil, none, err
	}
	path, err := sealingPath(c)
	if err != nil {
		return nil, none, err
	}
	sealing, err := sealingKey(path)
	if err != nil {
		return nil, none, err
	}
	// Whoever starts the service may name a receiver on this machine or in this
	// network; a receiver that a customer names must not be one.
	reach := webhook.SafeTransportOptions{AllowHTTP: true, AnyPort: true, AllowHosts: []string{target.Hostname()}}
	if ip, err := netip.ParseAddr(target.Hostname()); err == nil {
		reach.AllowHosts, reach.AllowPrefixes = nil, []netip.Prefix{netip.PrefixFrom(ip, ip.BitLen())}
	}
	transport, err := webhook.NewSafeTransport(&reach)
	if err != nil {
		return nil, none, err
	}
	sender, err := webhook.NewSender(a.shelf.webhooks, []webhook.SealingKey{sealing}, &webhook.SenderOptions{
		Transport: transport, Retry: webhook.Schedule(retries), MaxTimeout: 5 * time.Second, Lease: 20 * time.Second,
		Poll: 250 * time.Millisecond, Observer: webhook.NewSlogSenderObserver(a.log), Now: a.now,
	})
	if err != nil {
		return nil, none, err
	}
	settings := webhook.Settings{URL: c.webhook, Timeout: 5 * time.Second}
	_, err = sender.CreateEndpoint(ctx, webhook.EndpointSpec{ID: receiver, Account: owner, Settings: settings})
	if errors.Is(err, webhook.ErrExists) {
		_, err = sender.UpdateEndpoint(ctx, receiver, func(s *webhook.Settings) error { *s = settings; return nil })
	}
	if kterrors.CodeOf(err) == kterrors.Corrupt {
		err = fmt.Errorf("%w; the key in %s is not the one of earlier starts, and -sealing FILE names another", err, path)
	}
	if err == nil {
		_, err = sender.EnableEndpoint(ctx, receiver) // naming it says that it is there
	}
	if err != nil {
		return nil, none, err
	}
	keys, err := sender.EndpointKeys(ctx, receiver)
	if err != nil {
		return nil, none, err
	}
	for key := range keys.All() {
		return sender, key.Secret, nil // the newest
	}
	return nil, none, errors.New("the endpoint of webhooks has no key")
}

// settleHooks waits until nothing waits for the receiver any more, or ctx is over:
// what is kept in memory is lost with the process. It returns how many are left.
func settleHooks(ctx context.Context, sender *webhook.Sender) (left int, err error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting, err := sender.Deliveries(context.WithoutCancel(ctx), webhook.DeliveryQuery{
			Endpoint: receiver, States: []webhook.DeliveryState{webhook.DeliveryPending, webhook.DeliverySending},
		})
		if err != nil || len(waiting.Deliveries) == 0 {
			return 0, err
		}
		select {
		case <-ctx.Done():
			return len(waiting.Deliveries), nil
		case <-tick.C:
		}
	}
}
