package host

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/selfservice"
	"github.com/keytoll/keytoll/ratelimit"
	"github.com/keytoll/keytoll/scopes"
)

// Options are what tests take into their hands; the zero value is the real thing.
type Options struct {
	Now          func() time.Time
	NewRequestID func() string
	Rand         io.Reader
	Observer     middleware.Observer
	Limits       ratelimit.Store
}

// A Service is a system that runs.
type Service struct {
	Accounts *Accounts
	Keys     *apikey.Service
	Ledger   *credits.Ledger
	Gate     *middleware.Gate
	Handler  http.Handler
	// Samples are the keys to try, by state; Dashboard opens the dashboard.
	Samples   map[string]apikey.Secret
	Dashboard apikey.Secret

	system System
	now    func() time.Time
	rand   io.Reader

	sessions sessions
	tally    *tally
}

// Open makes the service, its demo account and its sample keys.
func Open(ctx context.Context, sys System, o Options) (*Service, error) {
	s := &Service{system: sys, now: o.Now, Accounts: &Accounts{plans: sys.Plans, of: map[string]string{}}}
	s.sessions.of = make(map[[sha256.Size]byte]string)
	if s.now == nil {
		s.now = time.Now
	}
	if s.rand = o.Rand; s.rand == nil {
		s.rand = rand.Reader
	}
	if err := s.openStores(o); err != nil {
		return nil, err
	}
	s.tally = &tally{minutes: make(map[time.Time]map[counted]int64)}
	told := middleware.Observers{s.tally}
	if o.Observer != nil {
		told = append(told, o.Observer)
	}
	var err error
	s.Gate, err = middleware.NewGate(s.Keys, &middleware.Options{
		Limits: o.Limits, Credits: s.Ledger, Profile: sys.Profile, IPLimits: sys.IPLimits, Upgrade: sys.Upgrade,
		MaxBody: 1 << 20, NewRequestID: o.NewRequestID, Observer: told, Now: o.Now,
	})
	if err != nil {
		return nil, err
	}
	mux := s.Gate.Mux()
	for _, r := range sys.Routes {
		op := r.Operation
		if len(r.Plans) > 0 {
			op.Allow = s.Accounts.on(r.Plans)
		}
		handler := r.Handler
		if r.Serve != nil {
			handler = r.Serve(s)
		}
		mux.Handle(r.Pattern, op, handler)
	}
	if err := s.openSelf(mux); err != nil {
		return nil, err
	}
	if err := s.openDashboard(mux); err != nil {
		return nil, err
	}
	s.Handler = mux
	if err := s.SetPlan(ctx, Demo, sys.Demo); err != nil {
		return nil, err
	}
	return s, s.seed(ctx)
}

// openSelf mounts what a key may ask about itself.
func (s *Service) openSelf(mux *middleware.Mux) error {
	if s.system.Self == "" {
		return nil
	}
	o := s.system.SelfService
	o.Now = s.now
	self, err := selfservice.New(s.Keys, s.Gate, &o)
	if err != nil {
		return err
	}
	for _, r := range self.Routes(s.system.Self) {
		mux.Handle(r.Pattern, r.Operation, r.Handler)
	}
	return nil
}

func (s *Service) openStores(o Options) error {
	format, err := apikey.NewFormat(s.system.Prefix, s.system.Format)
	if err != nil {
		return err
	}
	keyOptions := apikey.Options{
		Now: o.Now, Rand: o.Rand, Policy: s.Accounts.policy,
		SealingKeys: []apikey.SealingKey{{Version: 1, Secret: random(s.rand, 32)}},
	}
	if o.Now == nil {
		keyOptions.FlushEvery = 10 * time.Second // when keys were used, and from where
	}
	if s.system.Watch != nil {
		if keyOptions.Detector, err = apikey.NewPlaces(s.system.Watch, nil); err != nil {
			return err
		}
	}
	if len(s.system.Scopes) > 0 {
		if keyOptions.Registry, err = scopes.NewRegistry(s.system.Scopes...); err != nil {
			return err
		}
	}
	s.Keys, err = apikey.NewService(apikey.NewMemoryStore(), format, &keyOptions)
	if err != nil {
		return err
	}
	s.Ledger, err = credits.NewLedger(credits.NewMemoryStore(&credits.MemoryOptions{Now: o.Now}), nil)
	return err
}

// serve answers requests until ctx is done, and finishes those in flight.
func (s *Service) serve(ctx context.Context, l net.Listener, log *slog.Logger) error {
	server := &http.Server{
		Handler: s.Handler, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	drained := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		drained <- server.Shutdown(closing)
	})
	err := server.Serve(l)
	if !stop() && errors.Is(err, http.ErrServerClosed) {
		err = <-drained
	}
	if err != nil {
		err = fmt.Errorf("serving: %w", err)
	}
	return errors.Join(err, s.Keys.Close(context.WithoutCancel(ctx)))
}
