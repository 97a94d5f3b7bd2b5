package host

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/middleware"
)

// Bounds of a request and of the end.
const (
	drain     = 20 * time.Second // for requests in flight; more than readTime and writeTime together
	readTime  = 4 * time.Second
	writeTime = 15 * time.Second
)

// Main is the program of a system. It serves until SIGINT or SIGTERM and then ends
// with 0; wrong flags end it with 2, everything else with 1.
func Main(sys System) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := Run(ctx, sys, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Run is Main without the process: it serves until ctx is done and returns the
// exit code.
func Run(ctx context.Context, sys System, args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet(sys.Name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`HOST:PORT` to listen on; port 0 picks a free one")
	asJSON := flags.Bool("json", false, "print one JSON line when ready, instead of the banner")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "unexpected argument %q; every setting is a flag\n", flags.Arg(0))
		flags.Usage()
		return 2
	}
	if _, _, err := net.SplitHostPort(*addr); err != nil {
		fmt.Fprintf(stderr, "-addr %q is not HOST:PORT; 127.0.0.1:8080 would be\n", *addr)
		flags.Usage()
		return 2
	}
	log := slog.New(slog.NewTextHandler(stderr, nil))
	if err := serve(ctx, sys, *addr, *asJSON, stdout, log); err != nil {
		log.Error(sys.Name, "err", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, sys System, addr string, asJSON bool, stdout io.Writer, log *slog.Logger) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("%w; -addr HOST:PORT listens elsewhere, port 0 on a free one", err)
	}
	s, err := Open(ctx, sys, Options{})
	if err == nil {
		err = s.announce(stdout, l.Addr().String(), asJSON)
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	return s.serve(ctx, l, log)
}

// announce tells where the service is and what opens it: the only place that shows
// the sample keys.
func (s *Service) announce(w io.Writer, addr string, asJSON bool) error {
	shown := make(map[string]string)
	for state, secret := range s.Samples {
		shown[state] = secret.Reveal()
	}
	if asJSON {
		return json.NewEncoder(w).Encode(struct {
			Addr      string            `json:"addr"`
			Keys      map[string]string `json:"keys"`
			Dashboard string            `json:"dashboard"`
		}{addr, shown, s.Dashboard.Reveal()})
	}
	fmt.Fprintf(w, "\n  %s, as configuration of Keytoll\n\n  listening  http://%s\n", s.system.Name, addr)
	for _, sample := range s.system.Keys {
		fmt.Fprintf(w, "  %-10s %s\n", sample.State, shown[sample.State])
	}
	fmt.Fprintf(w, "  dashboard  %s\n\n  Call it, with each of the keys, and look at the dashboard:\n\n", s.system.Dashboard)
	for _, r := range s.system.Routes {
		fmt.Fprintf(w, "    %s\n", curl(addr, r.Pattern, s.Gate.Credentials()[0], s.Samples["active"]))
	}
	fmt.Fprintf(w, "    %s\n", curl(addr, "GET "+strings.ReplaceAll(s.system.Dashboard, "{account}", Demo), middleware.Bearer(), s.Dashboard))
	_, err := fmt.Fprintf(w, "\n  Ctrl-C stops it.\n\n")
	return err
}

// curl returns the command that calls a pattern of a mux.
func curl(addr, pattern string, at middleware.Location, secret apikey.Secret) string {
	method, path, _ := strings.Cut(pattern, " ")
	r := &http.Request{Header: make(http.Header), URL: new(url.URL)}
	at.Put(r, secret.Reveal())
	var line strings.Builder
	fmt.Fprintf(&line, "curl -sS -i 'http://%s%s'", addr, path)
	for name := range r.Header {
		fmt.Fprintf(&line, " -H '%s: %s'", name, r.Header.Get(name))
	}
	if method == http.MethodPost {
		line.WriteString(" -d '{}'")
	}
	return line.String()
}
