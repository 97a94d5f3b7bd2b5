package secretscan

import (
	"context"
	"sync"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// A Policy decides what is done with a key that leaked. It is given the key as
// it is, may be called more than once for a leak, and must be safe for
// concurrent use. A decision that is not one of package apikey's, or a panic,
// leaves the key as it is, and has the partner send again.
type Policy func(apikey.Key) apikey.LeakDecision

// Options are the choices of [NewIntake]. The zero value, and nil, are the
// defaults.
type Options struct {
	// Partner names who reports, in events: 1 to 32 of a-z, 0-9, _ and -. "github" when
	// empty.
	Partner string
	// MaxBody is the greatest number of bytes of a request, 1 MiB when zero.
	MaxBody int64
	// MaxItems is the greatest number of items in a request, 1000 when zero.
	MaxItems int
	// Timeout bounds the work for one request, 20 seconds when zero. What is not done
	// by then is answered with 503, and done when the partner sends again. GitHub
	// waits for 30 seconds.
	Timeout time.Duration
	// Notify, unless nil, is told of each leak, once, after what was decided about
	// the key has come true. It is called in the order of the items, on a goroutine
	// of the request's. Its context ends after a minute, and not with the request.
	Notify func(context.Context, Notice)
	// NotifyWithin is how long the answer waits for Notify, 2 seconds when zero.
	// What goes on after that is ended by nobody; Close waits for it.
	NotifyWithin time.Duration
	// RawTokens answers with the tokens themselves instead of their SHA-256 in
	// lower-case hex, for partners that want it so.
	RawTokens bool
	// Handled, unless nil, is told of each request when all is done, Notify
	// included. It is called on the request's goroutines; a panic of it is caught.
	Handled func(context.Context, Report)
}

// A Notice is a leak to tell somebody of. It holds no token.
type Notice struct {
	Key      apikey.Key // as it is afterwards
	Decision apikey.LeakDecision
	Type     string // the partner's name for keys of this kind, or ""
	Source   string // "github/gist_content"
	URL      string // where the key can be seen, or ""
}

// A Report says what became of a request.
type Report struct {
	Status int // of the answer
	Items  int
	// True and False are the items with these labels; Bad are those that are not
	// objects with a token; Undecided those of which nothing can be said. The rest
	// failed.
	True, False, Bad, Undecided int
	// First are the leaks that were not known before.
	First int
	// Err is why the answer is not 200, and what the policy or Notify panicked with.
	Err error
}

// notifyFor bounds the context of one call of Notify.
const notifyFor = time.Minute

// An Intake is an http.Handler for one partner. It is safe for concurrent use.
type Intake struct {
	service *apikey.Service
	source  KeySource
	policy  Policy
	o       Options

	mu      sync.Mutex
	closed  bool
	running int           // requests and goroutines
	idle    chan struct{} // closed when closed is set and nothing is running
}

// NewIntake returns an intake for the keys of service, which source says are the
// partner's to report, and about which policy decides. All three are required.
// Nil options are the defaults. The error names every fault at once.
func NewIntake(service *apikey.Service, source KeySource, policy Policy, options *Options) (*Intake, error) {
	var o Options
	if options != nil {
		o = *options
	}
	faults := errors.Faults{Op: "secretscan.NewIntake"}
	if service == nil {
		faults.Add("service is nil; give the service whose keys are reported")
	}
	if source == nil {
		faults.Add("source is nil; give the partner's public keys, such as NewGitHubKeys")
	}
	if policy == nil {
		faults.Add("policy is nil; give a function that says what is done with a key that leaked: there is no default")
	}
	if o.Partner == "" {
		o.Partner = "github"
	}
	if len(o.Partner) > maxPartner || word(o.Partner) != o.Partner {
		faults.Add("Partner is %.40q; give 1 to %d of a-z, 0-9, _ and -", o.Partner, maxPartner)
	}
	if o.MaxBody < 0 || o.MaxItems < 0 {
		faults.Add("MaxBody is %d and MaxItems %d; give more than 0, or 0 for 1 MiB and 1000", o.MaxBody, o.MaxItems)
	}
	if o.Timeout < 0 || o.NotifyWithin < 0 {
		faults.Add("Timeout is %v and NotifyWithin %v; give more than 0, or 0 for 20s and 2s", o.Timeout, o.NotifyWithin)
	}
	if err := faults.Err(); err != nil {
		return nil, err
	}
	o.complete()
	return &Intake{service: service, source: source, policy: policy, o: o, idle: make(chan struct{})}, nil
}

func (o *Options) complete() {
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	if o.MaxItems == 0 {
		o.MaxItems = 1000
	}
	if o.Timeout == 0 {
		o.Timeout = 20 * time.Second
	}
	if o.NotifyWithin == 0 {
		o.NotifyWithin = 2 * time.Second
	}
}

// Close turns new requests away with 503, and waits until the others, and what
// they have to tell, are done, or ctx is over, with its error. It can be called
// again.
func (in *Intake) Close(ctx context.Context) error {
	in.mu.Lock()
	if !in.closed {
		in.closed = true
		if in.running == 0 {
			close(in.idle)
		}
	}
	in.mu.Unlock()
	select {
	case <-in.idle:
		return nil
	case <-ctx.Done():
		return errors.Wrap("secretscan.Close", ctx.Err())
	}
}

// enter reports whether something may begin, which leave ends. What is begun may
// begin more.
func (in *Intake) enter(begun bool) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.closed && !begun {
		return false
	}
	in.running++
	return true
}

func (in *Intake) leave() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.running--; in.running == 0 && in.closed {
		close(in.idle)
	}
}
