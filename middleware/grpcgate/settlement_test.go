package grpcgate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
)

type output = grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]

// send sends n messages.
func send(t *testing.T, out output, n int) {
	for range n {
		if err := out.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
			t.Error(err)
		}
	}
}

// download opens a stream of answers.
func (h *house) download(ctx context.Context, t *testing.T) grpc.ServerStreamingClient[grpc_testing.StreamingOutputCallResponse] {
	t.Helper()
	in, err := h.client.StreamingOutputCall(h.with(ctx, middlewaretest.Active), &grpc_testing.StreamingOutputCallRequest{})
	must(t, err)
	return in
}

// drain reads a stream to its end.
func drain(in grpc.ServerStreamingClient[grpc_testing.StreamingOutputCallResponse]) (n int, err error) {
	for {
		if _, err = in.Recv(); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return n, err
		}
		n++
	}
}

func charge(ctx context.Context, n credits.Amount) {
	pass, _ := middleware.PassFrom(ctx)
	_ = pass.Charge(n * credits.Credit)
}

// The settlement table for calls of one message. The price is 5.
func TestUnarySettlement(t *testing.T) {
	type row struct {
		name    string
		handler func(ctx context.Context) error
		code    codes.Code
		ending  middleware.Ending
		status  int
		charged credits.Amount
	}
	rows := []row{
		{"OK is charged", func(context.Context) error { return nil }, codes.OK, middleware.EndSuccess, 200, 5},
		{"any error is none of a status", func(context.Context) error { return errors.New("boom") }, codes.Unknown, middleware.EndServerError, 500, 0},
		{"a deadline of the handler's own is its own fault", func(context.Context) error { return fmt.Errorf("asking: %w", context.DeadlineExceeded) }, codes.DeadlineExceeded, middleware.EndServerError, 504, 0},
		{"a cancel of the handler's own is no client's", func(context.Context) error { return context.Canceled }, codes.Canceled, middleware.EndClientError, 499, 0},
		{"a panic is free", func(context.Context) error { panic("boom") }, codes.Internal, middleware.EndPanic, 0, 0},
		{"an explicit charge wins over OK", func(ctx context.Context) error { charge(ctx, 2); return nil }, codes.OK, middleware.EndSuccess, 200, 2},
		{"an explicit 0 charges 0", func(ctx context.Context) error { charge(ctx, 0); return nil }, codes.OK, middleware.EndSuccess, 200, 0},
		{"an explicit charge wins over an error", func(ctx context.Context) error {
			charge(ctx, 3)
			return status.Error(codes.Internal, "billed")
		}, codes.Internal, middleware.EndServerError, 500, 3},
		{"an explicit charge wins over a panic", func(ctx context.Context) error { charge(ctx, 4); panic("boom") }, codes.Internal, middleware.EndPanic, 0, 4},
	}
	for code, want := range map[codes.Code]struct {
		ending middleware.Ending
		status int
	}{
		codes.Canceled: {middleware.EndClientError, 499}, codes.Unknown: {middleware.EndServerError, 500},
		codes.InvalidArgument: {middleware.EndClientError, 400}, codes.DeadlineExceeded: {middleware.EndServerError, 504},
		codes.NotFound: {middleware.EndClientError, 404}, codes.AlreadyExists: {middleware.EndClientError, 409},
		codes.PermissionDenied: {middleware.EndClientError, 403}, codes.ResourceExhausted: {middleware.EndClientError, 429},
		codes.FailedPrecondition: {middleware.EndClientError, 400}, codes.Aborted: {middleware.EndClientError, 409},
		codes.OutOfRange: {middleware.EndClientError, 400}, codes.Unimplemented: {middleware.EndServerError, 501},
		codes.Internal: {middleware.EndServerError, 500}, codes.Unavailable: {middleware.EndServerError, 503},
		codes.DataLoss: {middleware.EndServerError, 500}, codes.Unauthenticated: {middleware.EndClientError, 401},
		99: {middleware.EndServerError, 500},
	} {
		rows = append(rows, row{code.String() + " is free", func(context.Context) error { return status.Error(code, "no") }, code, want.ending, want.status, 0})
	}
	h := build(t, blueprint{})
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			h.Reset()
			h.unary = tt.handler
			if a := h.call(h.with(t.Context(), middlewaretest.Active)); status.Code(a.err) != tt.code || len(a.header.Get("x-request-id")) != 1 {
				t.Errorf("status %v, want %v; header %v", a.err, tt.code, a.header)
			}
			h.WantEndings(tt.ending)
			h.WantCharged(tt.charged * credits.Credit)
			if got := h.LastSettlement(); got.Status != tt.status {
				t.Errorf("status %d, want %d", got.Status, tt.status)
			}
		})
	}
	if b, err := h.Ledger.Balance(t.Context(), "acme"); err != nil || b.Held != 0 {
		t.Errorf("%v is still held, %v", b.Held, err)
	}
}

// Goexit ends the goroutine that serves the call, not what it costs.
func TestGoexitIsFree(t *testing.T) {
	h := build(t, blueprint{})
	h.unary = func(context.Context) error { runtime.Goexit(); return nil }
	ctx, cancel := context.WithCancel(h.with(t.Context(), middlewaretest.Active))
	gone := make(chan error, 1)
	go func() { gone <- h.call(ctx).err }()
	<-h.over
	cancel()
	<-gone
	h.WantEndings(middleware.EndPanic)
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
		{"canceled, and failed", false, func(context.Context) error { return status.Error(codes.Internal, "no") }, middleware.EndServerError, 0},
		{"canceled, and charged 1", false, func(ctx context.Context) error { charge(ctx, 1); return ctx.Err() }, middleware.EndClientGone, 1},
		{"past its deadline", true, context.Context.Err, middleware.EndClientGone, 5},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// A busy machine may need longer than the deadline to reach the handler.
			limit := 50 * time.Millisecond
			for !leaves(t, tt.deadline, limit, tt.answer, tt.ending, tt.charged) {
				limit *= 4
			}
		})
	}
}

// leaves makes a call whose client leaves when the handler runs, and reports whether
// it came to that.
func leaves(t *testing.T, deadline bool, limit time.Duration, answer func(context.Context) error, ending middleware.Ending, charged credits.Amount) bool {
	h := build(t, blueprint{})
	entered := make(chan struct{})
	h.unary = func(ctx context.Context) error {
		close(entered)
		<-ctx.Done()
		return answer(ctx)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if deadline {
		ctx, cancel = context.WithTimeout(t.Context(), limit)
	}
	defer cancel()
	gone := make(chan error, 1)
	go func() { gone <- h.call(h.with(ctx, middlewaretest.Active)).err }()
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

// The settlement table for streams of answers. The price is 5.
func TestStreamSettlement(t *testing.T) {
	for _, tt := range []struct {
		name     string
		handler  func(t *testing.T, out output) error
		messages int
		code     codes.Code
		ending   middleware.Ending
		charged  credits.Amount
	}{
		{"OK is charged", func(t *testing.T, out output) error { send(t, out, 3); return nil }, 3, codes.OK, middleware.EndSuccess, 5},
		{"an empty stream is one", func(*testing.T, output) error { return nil }, 0, codes.OK, middleware.EndSuccess, 5},
		{"an error is free", func(*testing.T, output) error { return status.Error(codes.NotFound, "no") }, 0, codes.NotFound, middleware.EndClientError, 0},
		{"an error after messages is free, unless it is metered", func(t *testing.T, out output) error {
			send(t, out, 1)
			return status.Error(codes.Internal, "no")
		}, 1, codes.Internal, middleware.EndServerError, 0},
		{"a panic before messages is free", func(*testing.T, output) error { panic("boom") }, 0, codes.Internal, middleware.EndPanic, 0},
		{"a panic after messages is charged", func(t *testing.T, out output) error { send(t, out, 1); panic("boom") }, 1, codes.Internal, middleware.EndPartialPanic, 5},
		{"what is metered is charged", func(t *testing.T, out output) error { return metered(t, out, 8) }, 8, codes.OK, middleware.EndSuccess, 8},
		{"a meter of nothing charges nothing", func(t *testing.T, out output) error { return metered(t, out, 0) }, 0, codes.OK, middleware.EndSuccess, 0},
		{"what is metered is charged by an error", func(t *testing.T, out output) error {
			_ = metered(t, out, 2)
			return status.Error(codes.Internal, "no")
		}, 2, codes.Internal, middleware.EndServerError, 2},
		{"a meter that is refused stops the stream", func(t *testing.T, out output) error { return metered(t, out, 100) }, 12, codes.FailedPrecondition, middleware.EndClientError, 12},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 12 * credits.Credit}})
			h.stream = func(out output) error { return tt.handler(t, out) }
			in := h.download(t.Context(), t)
			n, err := drain(in)
			if n != tt.messages || status.Code(err) != tt.code {
				t.Errorf("%d messages and %v, want %d and %v", n, err, tt.messages, tt.code)
			}
			if header, err := in.Header(); err != nil || len(header.Get("x-request-id")) != 1 {
				t.Errorf("header %v, %v", header, err)
			}
			<-h.over
			h.WantEndings(tt.ending)
			h.WantCharged(tt.charged * credits.Credit)
			h.WantBalance((12-tt.charged)*credits.Credit, 0)
		})
	}
}

// metered sends n messages, for a credit each.
func metered(t *testing.T, out output, n int) error {
	pass, ok := middleware.PassFrom(out.Context())
	if !ok {
		t.Error("no pass in the stream's context")
		return nil
	}
	meter := pass.Meter()
	for range n {
		if err := meter.Add(out.Context(), credits.Credit); err != nil {
			return fmt.Errorf("drawing: %w", err)
		}
		send(t, out, 1)
	}
	return nil
}

// A stream that has no more credits says what it lacks as a call that never began does.
func TestMeterIsRefusedInTheGatesWords(t *testing.T) {
	h := build(t, blueprint{fixture: &middlewaretest.Options{Balance: 5 * credits.Credit}})
	h.stream = func(out output) error { return metered(t, out, 6) }
	in := h.download(t.Context(), t)
	_, err := drain(in)
	header, _ := in.Header()
	trailer := in.Trailer()
	trailer.Set("x-request-id", header.Get("x-request-id")...) // the header is out already
	trailer.Set("grpc-retry-pushback-ms", "-1")
	d := refused(t, answer{err: err, trailer: trailer}, codes.FailedPrecondition, "insufficient_credits")
	if d.quota == nil || d.info.Metadata["limit_source"] != "balance" {
		t.Errorf("details %v", d)
	}
}

// A stream that its client leaves half way is charged: the price, what was metered, or
// what the operation says.
func TestStreamIsLeftHalfWay(t *testing.T) {
	for _, tt := range []struct {
		name    string
		settle  middleware.Settlement
		meter   credits.Amount // -1: not metered
		closing bool           // the connection instead of the call
		answer  func(error) error
		charged credits.Amount
	}{
		{"the price", nil, -1, false, func(err error) error { return err }, 5},
		{"the price, by closing the connection", nil, -1, true, func(err error) error { return err }, 5},
		{"the price, whatever the handler makes of it", nil, -1, false, func(err error) error { return fmt.Errorf("sending: %v", err) }, 5},
		{"what was metered", nil, 2, false, func(err error) error { return err }, 2},
		{"a metered 0", nil, 0, false, func(err error) error { return err }, 0},
		{"nothing, as the operation says", middleware.Settlement{middleware.EndClientGone: middleware.Release}, -1, false, func(err error) error { return err }, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			op := priced()
			op.Settle = tt.settle
			h := build(t, blueprint{op: &op})
			h.stream = func(out output) error {
				if tt.meter >= 0 {
					pass, _ := middleware.PassFrom(out.Context())
					must(t, pass.Meter().Add(out.Context(), tt.meter*credits.Credit))
				}
				send(t, out, 1)
				<-out.Context().Done()
				return tt.answer(out.Send(&grpc_testing.StreamingOutputCallResponse{}))
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			in := h.download(ctx, t)
			_, err := in.Recv()
			must(t, err)
			if tt.closing {
				must(t, h.conn.Close())
			} else {
				cancel()
			}
			<-h.over
			h.WantEndings(middleware.EndClientGone)
			h.WantCharged(tt.charged * credits.Credit)
		})
	}
}

// A stream of requests that its client breaks off is charged too; one that it ends is
// a call like any other.
func TestUploads(t *testing.T) {
	for _, broken := range []bool{false, true} {
		t.Run(strconv.FormatBool(broken), func(t *testing.T) { uploads(t, broken) })
	}
}

func uploads(t *testing.T, broken bool) {
	h := build(t, blueprint{})
	got := make(chan struct{}, 1)
	h.upload = func(in grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
		for {
			_, err := in.Recv()
			if errors.Is(err, io.EOF) {
				return in.SendAndClose(&grpc_testing.StreamingInputCallResponse{})
			}
			if err != nil {
				return errors.New("receiving: " + err.Error())
			}
			got <- struct{}{}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, err := h.client.StreamingInputCall(h.with(ctx, middlewaretest.Active))
	must(t, err)
	must(t, out.Send(&grpc_testing.StreamingInputCallRequest{}))
	<-got
	want := middleware.EndSuccess
	if broken {
		cancel()
		want = middleware.EndClientGone
	} else {
		_, err = out.CloseAndRecv()
		must(t, err)
	}
	<-h.over
	h.WantEndings(want)
	h.WantCharged(5 * credits.Credit)
}

// Two interceptors of one gate decide and charge once.
func TestMountedTwiceChargesOnce(t *testing.T) {
	h := build(t, blueprint{twice: true})
	h.active(t)
	h.stream = func(out output) error { send(t, out, 1); return nil }
	if n, err := drain(h.download(t.Context(), t)); n != 1 || err != nil {
		t.Errorf("%d messages, %v", n, err)
	}
	h.WantVerdicts(middleware.VerdictAllowed, middleware.VerdictAllowed)
	h.WantCharged(10 * credits.Credit)
}

// A ledger that cannot settle is told of, and the hold times out.
func TestLedgerDownAtTheEnd(t *testing.T) {
	var limits, ledger atomic.Bool
	o := stores(t, &limits, &ledger)
	o.Gate.SettleTimeout = time.Second
	h := build(t, blueprint{fixture: o})
	h.unary = func(context.Context) error { ledger.Store(true); return nil }
	h.active(t)
	if got := h.LastSettlement(); got.Err == nil || got.Charged != 0 || got.Hold == "" {
		t.Errorf("settled %+v", got)
	}
	ledger.Store(false)
	h.WantBalance(995*credits.Credit, 5*credits.Credit)
	h.Advance(24 * time.Hour)
	h.WantBalance(1000*credits.Credit, 0)
}
