package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/url"
)

// config is what the command line says.
type config struct {
	addr    string // host:port to listen on
	db      string // path of the SQLite file; "" is memory
	webhook string // where finished images are posted; "" is nowhere
	json    bool   // one JSON line instead of the banner
}

// parseFlags reads args. Everything that is wrong is written to stderr at
// once, followed by the usage; flag.ErrHelp says that the usage was asked for.
func parseFlags(args []string, stderr io.Writer) (config, error) {
	var c config
	var postgres, redis string
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.addr, "addr", "127.0.0.1:8080", "`HOST:PORT` to listen on; port 0 picks a free one")
	flags.StringVar(&c.db, "db", "", "keep keys, credits and the ledger in this SQLite `FILE`")
	flags.StringVar(&c.webhook, "webhook", "", "post each finished image to this `URL`, signed")
	flags.BoolVar(&c.json, "json", false, "print one JSON line when ready, instead of the banner")
	flags.StringVar(&postgres, "postgres", "", "keys and credits on PostgreSQL at this `URL` (not built in yet)")
	flags.StringVar(&redis, "redis", "", "limits on Redis at this `URL` (not built in yet)")
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
	if c.webhook != "" {
		if u, err := url.Parse(c.webhook); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			fault("-webhook is not a URL; http://127.0.0.1:9000/hook would be")
		}
	}
	if postgres != "" {
		fault("-postgres is not built in yet; use -db FILE for one machine")
	}
	if redis != "" {
		fault("-redis is not built in yet; limits are kept in memory")
	}
	if err := errors.Join(faults...); err != nil {
		fmt.Fprintln(stderr, err)
		flags.Usage()
		return config{}, err
	}
	return c, nil
}
