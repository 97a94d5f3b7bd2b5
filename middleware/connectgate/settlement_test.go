package connectgate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

type output = connect.ServerStream[number]

// send sends n messages.
func send(t *testing.T, out *output, n int) {
	for range n {
		if err := out.Send(&number{Value: 1}); err != nil {
			t.Error(err)
		}
	}
}

func charge(ctx context.Context, n credits.Amount) {
	pass, _ := middleware.PassFrom(ctx)
	_ = pass.Charge(n * credits.Credit)
}

func fails(code connect.Code) error { return connect.NewError(code, errors.New("no")) }

// The settlement table for calls of one message, by every protocol: what counts is the
// call's error, whatever HTTP says. The price is 5.
func TestUnarySettlement(t *testing.T) {
	type row struct {
		name    string
		handler func(ctx context.Context) error
		code    connect.Code
		ending  middleware.Ending
		status  int
		charged credits.Amount
	}
	rows := []row{
		{"OK is charged", func(context.Context) error { return nil }, 0, middleware.EndSuccess, 200, 5},
		{"any error is none of a code", func(context.Context) error { return errors.New("boom") }, connect.CodeUnknown, middleware.EndServerError, 500, 0},
		{"a wrapped error has its code", func(context.Context) error { return fmt.Errorf("drawing: %w", fails(connect.CodeNotFound)) }, connect.CodeNotFound, middleware.EndClientError, 404, 0},
		{"a deadline of the handler's own is its own fault", func(context.Context) error { return fmt.Errorf("asking: %w", context.DeadlineExceeded) }, connect.CodeDeadlineExceeded, middleware.EndServerError, 504, 0},
		{"a cancel of the handler's own is no client's", func(context.Context) error { return context.Canceled }, connect.CodeCanceled, middleware.EndClientError, 499, 0},
		{"a panic is free", func(context.Context) error { panic("boom") }, connect.CodeInternal, middleware.EndPanic, 0, 0},
		{"an abort is free", func(context.Context) error { panic(http.ErrAbortHandler) }, connect.CodeInternal, middleware.EndPanic, 0, 0},
		{"an explicit charge wins over OK", func(ctx context.Context) error { charge(ctx, 2); return nil }, 0, middleware.EndSuccess, 200, 2},
		{"an explicit 0 charges 0", func(ctx context.Context) error { charge(ctx, 0); return nil }, 0, middleware.EndSuccess, 200, 0},
		{"an explicit charge wins over an error", func(ctx context.Context) error { charge(ctx, 3); return fails(connect.CodeInternal) }, connect.CodeInternal, middleware.EndServerError, 500, 3},
	}
	for code, want := range map[connect.Code]struct {
		ending middleware.Ending
		status int
	}{
		connect.CodeCanceled: {middleware.EndClientError, 499}, connect.CodeInvalidArgument: {middleware.EndClientError, 400},
		connect.CodeResourceExhausted: {middleware.EndClientError, 429}, connect.CodeFailedPrecondition: {middleware.EndClientError, 400},
		connect.CodeUnauthenticated: {middleware.EndClientError, 401}, connect.CodeUnavailable: {middleware.EndServerError, 503},
		connect.CodeUnimplemented: {middleware.EndServerError, 501}, connect.CodeDataLoss: {middleware.EndServerError, 500},
	} {
		rows = append(rows, row{code.String() + " is free", func(context.Context) error { return fails(code) }, code, want.ending, want.status, 0})
	}
	h := build(t, blueprint{})
	each(t, func(t *testing.T, tr transport) {
		client, _ := h.client(t, tr, generate)
		for _, tt := range rows {
			t.Run(tt.name, func(t *testing.T) {
				h.Reset()
				h.unary = func(ctx context.Context, _ *connect.Request[number]) error { return tt.handler(ctx) }
				a := callOf(t.Context(), client, h.request(middlewaretest.Active))
				if a.err == nil && tt.code != 0 || a.err != nil && connect.CodeOf(a.err) != tt.code {
					t.Errorf("error %v, want %v", a.err, tt.code)
				}
				if len(a.fields["X-Request-Id"]) != 1 {
					t.Errorf("fields %v", a.fields)
				}
				h.WantEndings(tt.ending)
				h.WantCharged(tt.charged * credits.Credit)
				if got := h.LastSettlement(); got.Status != tt.status {
					t.Errorf("status %d, want %d", got.Status, tt.status)
				}
			})
		}
	})
	if b, err := h.Ledger.Balance(t.Context(), "acme"); err != nil || b.Held != 0 {
		t.Errorf("%v is still held, %v", b.Held, err)
	}
}

// An error that calls share tells no call of another's fields.
func TestErrorsAreNotWrittenInto(t *testing.T) {
	h := build(t, blueprint{})
	shared := connect.NewError(connect.CodeNotFound, errors.New("no"))
	h.unary = func(context.Context, *connect.Request[number]) error { return shared }
	each(t, func(t *testing.T, tr transport) {
		if a := h.call(t.Context(), t, tr, h.request(middlewaretest.Active)); len(a.fields["X-Request-Id"]) != 1 {
			t.Errorf("fields %v", a.fields)
		}
	})
	if len(shared.Meta()) > 0 {
		t.Errorf("the shared error has %v", shared.Meta())
	}
}

// 304 is no success: nothing was done.
func TestNotModifiedIsFree(t *testing.T) {
	h := build(t, blueprint{})
	h.unary = func(context.Context, *connect.Request[number]) error { return connect.NewNotModifiedError(nil) }
	if a := h.call(t.Context(), t, transports[2], h.request(middlewaretest.Active)); !connect.IsNotModifiedError(a.err) {
		t.Errorf("error %v", a.err)
	}
	h.WantEndings(middleware.EndRedirect)
	h.WantCharged(0)
}

// A client that leaves before the answer is charged, and so is one whose own deadline
// was too short; what the handler has stated wins.
func TestClientGoneIsCharged(t *testing.T) {
	for _, tt := range []struct {
		name     string
		deadline bool
		answer   func(context.Context) error
		ending   middleware.Ending
		charged  credits.Amount
	}{
		{"canceled", false, context.Context.Err, middleware.EndClientGone, 5},
		{"canceled, and the handler wraps it", false, func(ctx context.Context) error { return fmt.Errorf("drawing: %w", ctx.Err()) }, middleware.EndClientGone, 5},
		{"canceled, and done all the same", false, func(context.Context) error { return nil }, middleware.EndClientGone, 5},
		{"canceled, and failed", false, func(context.Context) error { return fails(connect.CodeInternal) }, middleware.EndServerError, 0},
		{"canceled, and charged 1", false, func(ctx context.Context) error { charge(ctx, 1); return ctx.Err() }, middleware.EndClientGone, 1},
		{"past its deadline", true, context.Context.Err, middleware.EndClientGone, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, tr transport) {
				// A busy machine may need longer than the deadline to reach the handler.
				limit := 50 * time.Millisecond
				for !leaves(t, tr, tt.deadline, limit, tt.answer, tt.ending, tt.charged) {
					limit *= 4
				}
			})
		})
	}
}

// leaves makes a call whose client leaves when the handler runs, and reports whether
// it came to that.
func leaves(t *testing.T, tr transport, deadline bool, limit time.Duration, answer func(context.Context) error, ending middleware.Ending, charged credits.Amount) bool {
	h := build(t, blueprint{})
	entered := make(chan struct{})
	h.unary = func(ctx context.Context, _ *connect.Request[number]) error {
		close(entered)
		<-ctx.Done()
		return answer(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if deadline {
		ctx, cancel = context.WithTimeout(t.Context(), limit)
	}
	defer cancel()
	client, _ := h.client(t, tr, generate)
	gone := make(chan error, 1)
	go func() { gone <- callOf(ctx, client, h.request(middlewaretest.Active)).err }()
	select {
	case <-entered:
	case err := <-gone:
		if !deadline {
			t.Fatal(err)
		}
		return false
	}
	if !deadline {
		cancel()
	}
	<-h.over
	if err := <-gone; err == nil {
		t.Error("the client got an answer")
	}
	h.WantEndings(ending)
	h.WantCharged(charged * credits.Credit)
	return true
}

// The settlement table for streams of answers, by every protocol. The price is 5.
func TestStreamSettlement(t *testing.T) {
	for _, tt := range []struct {
		name     string
		handler  func(ctx context.Context, t *testing.T, out *output) error
		messages int
		code     connect.Code
		ending   middleware.Ending
		charged  credits.Amount
	}{
		{"OK is charged", func(_ context.Context, t *testing.T, out *output) error { send(t, out, 3); return nil }, 3, 0, middleware.EndSuccess, 5},
		{"an error is free", func(context.Context, *testing.T, *output) error { return fails(connect.CodeNotFound) }, 0, connect.CodeNotFound, middleware.EndClientError, 0},
		{"an error after messages is free, unless it is metered", func(_ context.Context, t *testing.T, out *output) error {
			send(t, out, 1)
			return fails(connect.CodeInternal)
		}, 1, connect.CodeInternal, middleware.EndServerError, 0},
		{"a panic before messages is free", func(context.Context, *testing.T, *output) error { panic("boom") }, 0, connect.CodeInternal, middleware.EndPanic, 0},
		{"a panic after messages is charged", func(_ context.Context, t *testing.T, out *output) error { send(t, out, 1); panic("boom") }, 1, connect.CodeInternal, middleware.EndPartialPanic, 5},
		{"what is metered is charged", func(ctx context.Context, t *testing.T, out *output) error { return metered(ctx, t, out, 8) }, 8, 0, middleware.EndSuccess, 8},
		{"what is metered is charged by an error", func(ctx context.Context, t *testing.T, out *output) error {
			_ = metered(ctx, t, out, 2)
			return fails(connect.CodeInternal)
		}, 2, connect.CodeInternal, middleware.EndServerError, 2},
		{"a meter that is refused stops the stream", func(ctx context.Context, t *testing.T, out *output) error { return metered(ctx, t, out, 100) }, 12, connect.CodeFailedPrecondition, middleware.EndClientError, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(t *testing.T, tr transport) {
				h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 12 * credits.Credit}})
				h.stream = func(ctx context.Context, out *output) error { return tt.handler(ctx, t, out) }
				client, _ := h.client(t, tr, stream)
				in, err := client.CallServerStream(t.Context(), h.request(middlewaretest.Active))
				must(t, err)
				n := 0
				for in.Receive() {
					n++
				}
				err = in.Err()
				if n != tt.messages || err == nil && tt.code != 0 || err != nil && connect.CodeOf(err) != tt.code {
					t.Errorf("%d messages and %v, want %d and %v", n, err, tt.messages, tt.code)
				}
				if tt.messages == 12 {
					if d := refused(t, answer{err: withID(err, in.ResponseHeader())}, tt.code, "insufficient_credits"); d.quota == nil {
						t.Errorf("details %v", d)
					}
				}
				_ = in.Close()
				<-h.over
				h.WantEndings(tt.ending)
				h.WantCharged(tt.charged * credits.Credit)
				h.WantBalance((12-tt.charged)*credits.Credit, 0)
			})
		})
	}
}

// withID returns the error with the request id that was told before it.
func withID(err error, header http.Header) error {
	if e := new(connect.Error); errors.As(err, &e) {
		e.Meta()["X-Request-Id"] = header["X-Request-Id"]
	}
	return err
}

// metered sends n messages, for a credit each.
func metered(ctx context.Context, t *testing.T, out *output, n int) error {
	pass, ok := middleware.PassFrom(ctx)
	if !ok {
		t.Error("no pass in the stream's context")
		return nil
	}
	meter := pass.Meter()
	for range n {
		if err := meter.Add(ctx, credits.Credit); err != nil {
			return fmt.Errorf("drawing: %w", err)
		}
		send(t, out, 1)
	}
	return nil
}

// A stream that its client leaves half way is charged: the price, what was metered, or
// what the operation says.
func TestStreamIsLeftHalfWay(t *testing.T) {
	same := func(err error) error { return err }
	for _, tt := range []struct {
		name    string
		settle  middleware.Settlement
		meter   credits.Amount // -1: not metered
		closing bool           // the connection instead of the call
		answer  func(error) error
		charged credits.Amount
	}{
		{"the price", nil, -1, false, same, 5},
		{"the price, by closing the connection", nil, -1, true, same, 5},
		{"the price, whatever the handler makes of it", nil, -1, false, func(err error) error { return fmt.Errorf("sending: %v", err) }, 5},
		{"what was metered", nil, 2, false, same, 2},
		{"nothing, as the operation says", middleware.Settlement{middleware.EndClientGone: middleware.Release}, -1, false, same, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op := priced()
			op.Settle = tt.settle
			each(t, func(t *testing.T, tr transport) {
				h := build(t, blueprint{op: &op})
				h.stream = func(ctx context.Context, out *output) error {
					if tt.meter >= 0 {
						pass, _ := middleware.PassFrom(ctx)
						must(t, pass.Meter().Add(ctx, tt.meter*credits.Credit))
					}
					send(t, out, 1)
					<-ctx.Done()
					for { // HTTP/1.1 takes what it can no longer send, for a while
						if err := out.Send(&number{}); err != nil {
							return tt.answer(err)
						}
					}
				}
				client, hangUp := h.client(t, tr, stream)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				in, err := client.CallServerStream(ctx, h.request(middlewaretest.Active))
				must(t, err)
				if !in.Receive() {
					t.Fatal(in.Err())
				}
				if tt.closing {
					hangUp()
				} else {
					cancel()
				}
				<-h.over
				_ = in.Close()
				h.WantEndings(middleware.EndClientGone)
				h.WantCharged(tt.charged * credits.Credit)
			})
		})
	}
}

// A stream of requests that its client breaks off is charged too; one that it ends is
// a call like any other.
func TestUploads(t *testing.T) {
	for _, broken := range []bool{false, true} {
		each(t, func(t *testing.T, tr transport) {
			h := build(t, blueprint{})
			got := make(chan struct{}, 1)
			h.upload = func(_ context.Context, in *connect.ClientStream[number]) error {
				for in.Receive() {
					got <- struct{}{}
				}
				if err := in.Err(); err != nil {
					return errors.New("receiving: " + err.Error())
				}
				return nil
			}
			client, _ := h.client(t, tr, upload)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := client.CallClientStream(ctx)
			h.authorize(out.RequestHeader(), middlewaretest.Active)
			must(t, out.Send(&number{}))
			<-got
			want := middleware.EndSuccess
			if broken {
				cancel()
				want = middleware.EndClientGone
			} else {
				_, err := out.CloseAndReceive()
				must(t, err)
			}
			<-h.over
			h.WantEndings(want)
			h.WantCharged(5 * credits.Credit)
		})
	}
}

// Two interceptors of one gate decide and charge once, and so does one inside of
// Gate.Handler of the same operation.
func TestMountedTwiceChargesOnce(t *testing.T) {
	h := build(t, blueprint{twice: true})
	h.stream = func(_ context.Context, out *output) error { send(t, out, 1); return nil }
	each(t, func(t *testing.T, tr transport) {
		h.Reset()
		must(t, h.call(t.Context(), t, tr, h.request(middlewaretest.Active)).err)
		client, _ := h.client(t, tr, stream)
		in, err := client.CallServerStream(t.Context(), h.request(middlewaretest.Active))
		must(t, err)
		if !in.Receive() || in.Receive() || in.Err() != nil {
			t.Errorf("the stream ended by %v", in.Err())
		}
		_ = in.Close()
		h.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictAllowed)
		h.WantCharged(10 * credits.Credit)
	})
	h.Reset()
	op := priced()
	op.Name = all
	h.server.Config.Handler = h.Gate.Handler(op)(h.server.Config.Handler)
	must(t, h.call(t.Context(), t, transports[0], h.request(middlewaretest.Active)).err)
	h.WantVerdicts(middleware.VerdictAllowed)
	h.WantCharged(5 * credits.Credit)
}

// A procedure inside of another operation of the same gate is wired wrongly: it is
// refused, and nothing is charged.
func TestInsideOfAnotherOperation(t *testing.T) {
	h := build(t, blueprint{})
	h.unary = never(t)
	op := priced()
	op.Name = "another"
	h.server.Config.Handler = h.Gate.Handler(op)(h.server.Config.Handler)
	if a := h.call(t.Context(), t, transports[0], h.request(middlewaretest.Active)); connect.CodeOf(a.err) != connect.CodeInternal {
		t.Errorf("error %v", a.err)
	}
	h.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictMisconfigured)
	h.WantCharged(0)
}

// together makes n calls at once over one connection and counts their codes; 0 is OK.
func (h *house) together(t *testing.T, n int) map[connect.Code]int {
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := make(map[connect.Code]int)
	start := make(chan struct{})
	client, _ := h.client(t, transports[1], generate)
	for range n {
		wg.Go(func() {
			<-start
			var code connect.Code
			if a := callOf(t.Context(), client, h.request(middlewaretest.Active)); a.err != nil {
				code = connect.CodeOf(a.err)
			}
			mu.Lock()
			defer mu.Unlock()
			got[code]++
		})
	}
	close(start)
	wg.Wait()
	return got
}

func TestRaceForTheLastCredits(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 37 * credits.Credit}}) // seven calls, and 2 left over
	if got := h.together(t, 64); got[0] != 7 || got[connect.CodeFailedPrecondition] != 57 {
		t.Errorf("codes %v, want 7 OK and 57 failed_precondition", got)
	}
	h.WantBalance(2*credits.Credit, 0)
}

// Every way a call can end, many at once: the account adds up to the credit.
func TestRaceOfAllEndings(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 1280 * credits.Credit}})
	var charged, turn atomic.Int64
	h.unary = func(ctx context.Context, _ *connect.Request[number]) error {
		switch turn.Add(1) % 4 {
		case 0:
			charged.Add(5)
		case 1:
			return fails(connect.CodeUnavailable)
		case 2:
			charged.Add(2)
			charge(ctx, 2)
		case 3:
			panic("boom")
		}
		return nil
	}
	h.together(t, 256)
	total := credits.Amount(charged.Load()) * credits.Credit
	h.WantCharged(total)
	h.WantBalance(1280*credits.Credit-total, 0)
}
