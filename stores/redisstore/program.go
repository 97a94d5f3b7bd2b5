package redisstore

import (
	"context"
	"crypto/sha1" //nolint:gosec // it is how servers name scripts
	"encoding/hex"
	"strings"

	"github.com/keytoll/keytoll/errors"
)

// A program is a script and the name by which a server that knows it runs it.
type program struct{ text, hash string }

// newProgram joins the parts of a script.
func newProgram(parts ...string) program {
	text := strings.Join(parts, "")
	sum := sha1.Sum([]byte(text)) //nolint:gosec // as above
	return program{text, hex.EncodeToString(sum[:])}
}

// run has the server run the program, and gives it to a server that forgot it.
func (p program) run(ctx context.Context, client Client, keys []string, arg string) (string, error) {
	text, err := client.EvalSHA(ctx, p.hash, keys, arg)
	if err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
		text, err = client.Eval(ctx, p.text, keys, arg)
	}
	return text, err
}

// tries is how often a program is run when it fails that changes nothing the second
// time.
const tries = 2

// ask runs a program that changes nothing the second time. The server may answer
// "corrupt". A server whose memory is full is the error full, and any other trouble
// has msg.
func (p program) ask(ctx context.Context, client Client, op string, full error, msg string, keys []string, arg string) (said string, err error) {
	for range tries {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if said, err = p.run(ctx, client, keys, arg); err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return "", failed(ctx, op, full, msg, err)
	case said == "corrupt":
		return "", &errors.Error{Code: errors.Corrupt, Op: op, Msg: strangeKey}
	}
	return said, nil
}

// checkClient adds what is wrong with a client, and reports whether nothing is.
func checkClient(faults *errors.Faults, client Client) bool {
	if client == nil {
		faults.Add("client is nil; give one made by GoRedis or Coalesced")
		return false
	}
	if c, ok := client.(interface{ fault() string }); ok && c.fault() != "" {
		faults.Add("%s", c.fault())
		return false
	}
	return true
}

// prefixOr returns the prefix that was chosen, or the usual one.
func prefixOr(faults *errors.Faults, chosen, usual string) string {
	if len(chosen) > 64 || strings.ContainsFunc(chosen, notInChannel) {
		faults.Add("Prefix is %.70q; give 1 to 64 letters, digits and - _ . : /, or none for %q", chosen, usual)
	}
	if chosen == "" {
		return usual
	}
	return chosen
}

const strangeKey = "a key holds something else than what this package wrote; delete it, or give the store a prefix of its own"

// failed gives an error of the driver its code; the end of ctx passes. A server
// whose memory is full is the error full, and any other trouble has msg.
func failed(ctx context.Context, op string, full error, msg string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	// Redis 6.2 says first in which script it was: "ERR Error running script ...".
	switch text := err.Error(); {
	case strings.Contains(text, "OOM command not allowed"):
		return errors.Wrap(op, errors.Join(full, err))
	case strings.Contains(text, "WRONGTYPE Operation"):
		return &errors.Error{Code: errors.Corrupt, Op: op, Msg: strangeKey, Err: err}
	}
	return unavailable(ctx, op, msg, err)
}

func unknownReply(op string) error {
	return &errors.Error{Code: errors.Corrupt, Op: op, Msg: "the server answered something else than the script returns"}
}
