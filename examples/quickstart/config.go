package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
)

// config is what the command line says.
type config struct {
	addr     string // host:port to listen on
	db       string // path of the SQLite file; "" is memory
	postgres string // URL of the PostgreSQL server that keeps keys, credits and limits; "" is none
	redis    string // URL of the Redis server that keeps the limits and carries what changes; "" is none
	webhook  string // where finished images are posted; "" is nowhere
	sealing  string // path of the file with the key that secrets of webhooks are sealed under; "" is beside what is kept
	json     bool   // one JSON line instead of the banner
}

// parseFlags reads args. Everything that is wrong is written to stderr at
// once, followed by the usage; flag.ErrHelp says that the usage was asked for.
func parseFlags(args []string, stderr io.Writer) (config, error) {
	var c config
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`HOST:PORT` to listen on; port 0 picks a free one")
	flags.StringVar(&c.db, "db", "", "keep keys, credits, limits and webhooks that wait in this SQLite `FILE`")
	flags.StringVar(&c.webhook, "webhook", "", "post each finished image to this `URL`, signed")
	flags.StringVar(&c.sealing, "sealing", "", "the `FILE` with the key that webhook secrets are sealed under, made if missing (default beside the -db FILE, else in the user's configuration folder)")
	flags.BoolVar(&c.json, "json", false, "print one JSON line when ready, instead of the banner")
	flags.StringVar(&c.postgres, "postgres", "", "keep keys, credits, limits and webhooks that wait on PostgreSQL at this `URL`, shared by all who do")
	flags.StringVar(&c.redis, "redis", "", "keep limits on Redis at this `URL`, shared by all who do, and tell of changes to shared keys through it")
	if err := flags.Parse(args); err != nil {
		return config{}, err
	}
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if flags.NArg() > 0 {
		fault("unexpected argument %q; every setting is a flag", flags.Arg(0))
	}
	if _, _, err := net.SplitHostPort(c.addr); err != nil {
		fault("-addr %q is not HOST:PORT; 127.0.0.1:8080 would be", c.addr)
	}
	if c.db != "" && c.postgres != "" {
		fault("-db and -postgres both say where keys and credits are kept; give one of them")
	}
	for _, f := range []struct {
		name, is, example string
		schemes           []string
	}{
		{"webhook", c.webhook, "http://127.0.0.1:9000/hook", []string{"http", "https"}},
		{"postgres", c.postgres, "postgres://keytoll:secret@127.0.0.1:5432/keytoll", []string{"postgres", "postgresql"}},
		{"redis", c.redis, "redis://127.0.0.1:6379/0", []string{"redis", "rediss", "unix"}},
	} {
		// The URL itself may hold a password, and is not repeated.
		u, err := url.Parse(f.is)
		if f.is != "" && (err != nil || !slices.Contains(f.schemes, u.Scheme) || u.Host+u.Path == "" || f.name == "webhook" && u.Host == "") {
			fault("-%s is not a URL of its kind; %s would be", f.name, f.example)
		}
	}
	if err := errors.Join(faults...); err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return config{}, err
	}
	return c, nil
}
