// Package secretscan takes in the reports of partners that scan public places
// for API keys, in the way of GitHub's secret scanning partner program, and does
// at once what the host has decided about a key that leaked.
//
//	keys, err := secretscan.NewGitHubKeys(client, nil)
//	intake, err := secretscan.NewIntake(service, keys, func(k apikey.Key) apikey.LeakDecision {
//		if k.Environment == "test" {
//			return apikey.LeakDecision{Action: apikey.LeakNote}
//		}
//		return apikey.LeakDecision{Action: apikey.LeakRevoke}
//	}, &secretscan.Options{Notify: mail})
//	defer intake.Close(ctx)
//	mux.Handle("/github/secret-scanning", intake)
//
// A report is a POST of a JSON array of {token, type, url, source}, signed with
// ECDSA over P-256 and SHA-256: the base64 of the ASN.1 signature of the raw body
// in Github-Public-Key-Signature, the key's name in
// Github-Public-Key-Identifier. An [Intake] proves the signature before it
// parses anything, proves each token through [apikey.Service.ReportLeak], and
// answers with an array of {token_hash, token_type, label}. See
// https://docs.github.com/en/code-security/secret-scanning/secret-scanning-partnership-program/secret-scanning-partner-program.
//
// # What is done
//
// The [Policy] decides about each key: note the leak only, let the key end
// soon, disable it, or revoke it. There is no default, because each choice hurts
// somebody: a key that goes on working is in the hands of strangers, and one that
// stops takes its owner's production along. What is decided comes true, with its
// events, before the partner is answered.
//
// A partner that is not answered in time sends again. Each text of a key is
// therefore dealt with once for each URL, whatever the number of deliveries, also
// of those at the same time; and [Options.Notify] is called once for that, after
// the fact, without holding up the answer for longer than
// [Options.NotifyWithin]. Between the two a process may die: the leak is then
// among the events ([apikey.EventLeaked]), and was not told of. Whoever must not
// miss one reads the events.
//
// # Answers
//
//   - 200 with a label for each item: "true_positive" for a key of whatever state,
//     "false_positive" for a text that never was one. An item that is not an object
//     with a token, and one about which nothing can be said any more
//     ([apikey.ErrUnprovable]), has none;
//   - 401 for a request that is not signed by a key of the [KeySource];
//   - 400 for a body that is no JSON array, 405 for another method, 413 for a body
//     or an array that is too large;
//   - 503 when an item could not be decided, or the keys could not be had, so that
//     the partner sends it all again; what was done about other items stays done.
//
// # Security
//
// Tokens are in no event, error, answer, log or notice: the answer holds their
// SHA-256, and a URL that holds a key is noted without it. Everything is bounded:
// body, items, time. The request's context does not end the work, because a
// partner that gave up would leave keys working.
//
// # Concurrency
//
// All of it is safe for concurrent use. Where [Options.Notify] is set a request
// with something to tell has one goroutine, which [Intake.Close] waits for.
package secretscan
