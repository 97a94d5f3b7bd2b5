package secretscan

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
)

// The headers of a signed request.
const (
	HeaderKey       = "Github-Public-Key-Identifier"
	HeaderSignature = "Github-Public-Key-Signature"
)

// maxSignature is longer than the base64 of any signature on P-256.
const maxSignature = 256

// retryAfter is what a partner is told whose report could not be decided.
const retryAfter = 10 * time.Second

// A refusal is an answer other than 200.
type refusal struct {
	status int
	detail string
	err    error // for Handled
}

// ServeHTTP takes in one report; see the package's documentation for its
// answers.
func (in *Intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if !in.enter(false) {
		in.refuse(w, r, &refusal{http.StatusServiceUnavailable, "this server is stopping; send again", errors.New("secretscan: the intake is closed")})
		return
	}
	defer in.leave()
	body, no := in.proven(w, r)
	var b *batch
	if no == nil {
		b, no = in.parse(body)
	}
	if no != nil {
		in.handled(ctx, Report{Status: no.status, Err: no.err})
		in.refuse(w, r, no)
		return
	}
	// A partner that gave up must not leave keys working.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), in.o.Timeout)
	b.work(apikey.WithActor(ctx, apikey.Actor{ID: in.o.Partner}))
	cancel()
	in.tell(r.Context(), b)
	if b.report.Status != http.StatusOK {
		in.refuse(w, r, &refusal{status: b.report.Status, detail: "not every item could be decided; send all again"})
		return
	}
	answer(w, http.StatusOK, "application/json", b.answers)
}

// proven returns the body of a request that the partner has signed.
func (in *Intake) proven(w http.ResponseWriter, r *http.Request) ([]byte, *refusal) {
	if r.Method != http.MethodPost {
		return nil, &refusal{http.StatusMethodNotAllowed, "send a POST", errors.New("secretscan: the method is not POST")}
	}
	unproven := func(why string) *refusal {
		return &refusal{http.StatusUnauthorized, "the request is not signed by a key that is known", errors.New("secretscan: " + why)}
	}
	name, signature := r.Header[HeaderKey], r.Header[HeaderSignature]
	if len(name) != 1 || len(signature) != 1 || name[0] == "" || len(name[0]) > maxKeyName || len(signature[0]) > maxSignature {
		return nil, unproven("the headers of the signature are missing, there twice, or too long")
	}
	der, err := base64.StdEncoding.DecodeString(signature[0])
	if err != nil || len(der) == 0 {
		return nil, unproven("the signature is not base64")
	}
	key, err := in.source.Key(r.Context(), name[0])
	switch {
	case errors.Is(err, ErrNoKey):
		return nil, unproven("the key's name is not known")
	case err == nil && !usable(key):
		err = errors.New("secretscan: the source's key is not on the curve P-256")
	}
	if err != nil {
		return nil, &refusal{http.StatusServiceUnavailable, "the signature cannot be checked now; send again", err}
	}
	large := &refusal{http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", in.o.MaxBody), errors.New("secretscan: the body is too large")}
	if r.ContentLength > in.o.MaxBody {
		return nil, large
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, in.o.MaxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, large
	}
	if err != nil {
		return nil, &refusal{http.StatusBadRequest, "the body broke off", err}
	}
	sum := sha256.Sum256(body)
	if !ecdsa.VerifyASN1(key, sum[:], der) {
		return nil, unproven("the signature is not the key's")
	}
	return body, nil
}

// tell has Notify told of what is new, and Handled of it all. It returns when
// that is done, or has taken as long as an answer may wait for it.
func (in *Intake) tell(ctx context.Context, b *batch) {
	if in.o.Notify == nil || len(b.first) == 0 {
		in.handled(ctx, b.report)
		return
	}
	in.enter(true)
	report, done := b.report, make(chan struct{})
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer in.leave()
		defer close(done)
		for _, n := range b.first {
			if err := in.notify(ctx, n); err != nil {
				report.Err = errors.Join(report.Err, err)
			}
		}
		in.handled(ctx, report)
	}()
	wait := time.NewTimer(in.o.NotifyWithin) //nolint:forbidigo // owned by this request
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	}
}

// notify returns what Notify panicked with: nobody else would catch it.
func (in *Intake) notify(ctx context.Context, n Notice) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("secretscan: Notify panicked: %v", p)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, notifyFor)
	defer cancel()
	in.o.Notify(ctx, n)
	return nil
}

// handled tells Handled. A panic there is nobody's to hear of, and must end no
// program: the goroutine may be one that nobody else guards.
func (in *Intake) handled(ctx context.Context, report Report) {
	defer func() { _ = recover() }()
	if in.o.Handled != nil {
		in.o.Handled(ctx, report)
	}
}

// refuse answers with problem+json.
func (in *Intake) refuse(w http.ResponseWriter, _ *http.Request, no *refusal) {
	h := w.Header()
	switch no.status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", http.MethodPost)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	answer(w, no.status, "application/problem+json", struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(no.status), no.status, no.detail})
}

func answer(w http.ResponseWriter, status int, kind string, value any) {
	text, err := json.Marshal(value)
	if err != nil { // strings and numbers always marshal
		text = []byte("null")
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the partner may be gone; nothing to do about it
}
