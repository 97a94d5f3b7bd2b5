package secretscan

import (
	"context"
	"crypto/ecdsa"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/keytoll/keytoll/errors"
)

// GitHubKeysURL is where GitHub publishes the keys of its secret scanning.
const GitHubKeysURL = "https://api.github.com/meta/public_keys/secret_scanning"

// maxDocument bounds the document of keys; GitHub's has about 1 KB.
const maxDocument = 64 << 10

// GitHubKeysOptions are the choices of [NewGitHubKeys]. The zero value, and nil,
// are the defaults.
type GitHubKeysOptions struct {
	// URL is [GitHubKeysURL] when empty. It must be https.
	URL string
	// MaxAge is how long keys are believed after they were fetched, 24 hours when
	// zero. They are fetched anew, while a request waits, from half of it on; where
	// that fails they are believed until MaxAge, and nothing is after it.
	MaxAge time.Duration
	// Every is the least time between two fetches, 1 minute when zero: so often a
	// request with an unknown key's name can cause one.
	Every time.Duration
	// Timeout bounds one fetch, 5 seconds when zero.
	Timeout time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// GitHubKeys is a [KeySource] that fetches the keys that GitHub publishes, when
// they are asked for.
type GitHubKeys struct {
	client *http.Client
	o      GitHubKeysOptions

	mu      sync.Mutex
	keys    StaticKeys
	fetched time.Time // when keys were
	tried   time.Time // when the last fetch began
	failed  error     // of the last fetch
	running chan struct{}
}

// NewGitHubKeys returns a source that fetches through client, which is required.
// Redirects are not followed. GitHub limits how often an address may ask without
// a token: a client whose transport adds one is limited less. Nil options are
// the defaults. The error names every fault at once.
func NewGitHubKeys(client *http.Client, options *GitHubKeysOptions) (*GitHubKeys, error) {
	var o GitHubKeysOptions
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: "secretscan.NewGitHubKeys"}
	if client == nil {
		faults.Add("client is nil; give one, such as &http.Client{}")
		client = new(http.Client)
	}
	if o.URL == "" {
		o.URL = GitHubKeysURL
	}
	if u, err := url.Parse(o.URL); err != nil || u.Scheme != "https" || u.Host == "" {
		faults.Add("URL is not an absolute https URL; give one, or none for GitHub's")
	}
	for _, d := range []struct {
		name  string
		is    *time.Duration
		usual time.Duration
	}{{"MaxAge", &o.MaxAge, 24 * time.Hour}, {"Every", &o.Every, time.Minute}, {"Timeout", &o.Timeout, 5 * time.Second}} {
		if *d.is < 0 {
			faults.Add("%s is %v; give more than 0, or 0 for %v", d.name, *d.is, d.usual)
		}
		if *d.is == 0 {
			*d.is = d.usual
		}
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the one default clock
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	own := *client
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &GitHubKeys{client: &own, o: o}, nil
}

// Key implements [KeySource]. A name is [ErrNoKey] when a fetch that ended after
// the call began did not bring it. One that is not known and may not be asked for
// yet, and every name while there are no keys that can be believed, is
// [errors.Unavailable]: the partner may have begun to use a new key. Calls at the
// same time share one fetch.
func (g *GitHubKeys) Key(ctx context.Context, name string) (*ecdsa.PublicKey, error) {
	for fetched := false; ; fetched = true {
		now := g.o.Now()
		g.mu.Lock()
		key, running := g.keys[name], g.running
		old := now.Sub(g.fetched)
		believed := g.keys != nil && old >= 0 && old < g.o.MaxAge
		since := now.Sub(g.tried)
		switch may := g.tried.IsZero() || since < 0 || since >= g.o.Every; {
		case believed && key != nil && (old < g.o.MaxAge/2 || !may || fetched):
			g.mu.Unlock()
			return key, nil
		case running != nil: // of another request
		case !may || fetched:
			failed := g.failed
			g.mu.Unlock()
			if fetched && failed == nil {
				return nil, ErrNoKey
			}
			return nil, &errors.Error{Code: errors.Unavailable, Op: "secretscan.GitHubKeys", Msg: "the partner's public keys cannot be had now", Err: failed}
		default:
			running = make(chan struct{})
			g.tried, g.running = now, running
			g.mu.Unlock()
			g.refresh(ctx, now, running)
			continue
		}
		g.mu.Unlock()
		select {
		case <-running:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// refresh fetches for everybody who waits on running.
func (g *GitHubKeys) refresh(ctx context.Context, now time.Time, running chan struct{}) {
	var keys StaticKeys
	err := errors.New("the fetch did not come to its end")
	defer func() { // also when a transport panics
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.failed = err; err == nil {
			g.keys, g.fetched = keys, now
		}
		g.running = nil
		close(running)
	}()
	// It is not this request's alone, so that its end does not end it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.o.Timeout)
	defer cancel()
	keys, err = g.fetch(ctx)
}

func (g *GitHubKeys) fetch(ctx context.Context) (StaticKeys, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.o.URL, http.NoBody) //nolint:gosec // the URL is the host's
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	answer, err := g.client.Do(req) //nolint:gosec // the same
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d", answer.StatusCode)
	}
	document, err := io.ReadAll(io.LimitReader(answer.Body, maxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(document) > maxDocument {
		return nil, fmt.Errorf("the answer has more than %d bytes", maxDocument)
	}
	return ParseKeys(document)
}
