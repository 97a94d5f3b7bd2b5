package middleware

import (
	"context"
	"net/http"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/errors"
)

// A Price is what one call of an operation costs at most. The zero value states
// nothing and is refused at start-up, so that no route is free by accident:
// say [Free], [Fixed], [PerUnit], [Listed] or [Quoted].
type Price struct {
	kind   priceKind
	amount credits.Amount
	quote  func(*http.Request) (credits.Amount, error)
	of     func(ctx context.Context, message any) (credits.Amount, error)
	list   func() *credits.PriceTable
}

type priceKind uint8

const (
	unpriced priceKind = iota
	free
	fixed
	perUnit
	quotedPrice
	listedPrice
)

// Free costs nothing; the ledger is not asked.
func Free() Price { return Price{kind: free} }

// Fixed costs amount, which must be more than 0.
func Fixed(amount credits.Amount) Price { return Price{kind: fixed, amount: amount} }

// PerUnit costs amount, which must be more than 0, for each of the call's
// Operation.Units. None cost nothing.
func PerUnit(amount credits.Amount) Price { return Price{kind: perUnit, amount: amount} }

// Quoted costs what quote says of the request, 0 or more. It is asked once,
// after every other check has passed, with the request that the handler will
// get: without the credential, with the body capped. A quote that reads the
// body must put a reader of the same bytes back into r.Body. An error of code
// [errors.Invalid] is answered 400 with its message, any other 500.
//
// The amount is held before the handler runs; [Pass.Charge] may lower it
// afterwards, so quote the most that the call can cost.
func Quoted(quote func(r *http.Request) (credits.Amount, error)) Price {
	return Price{kind: quotedPrice, quote: quote}
}

// QuotedOf is [Quoted] for transports whose requests are messages, such as RPCs: the
// amount is what quote says of the one message of type M that is the request.
// [Gate.Handler], which has none, refuses such an operation at start-up, and a call
// whose message is of another type is refused with 500.
func QuotedOf[M any](quote func(ctx context.Context, message M) (credits.Amount, error)) Price {
	p := Price{kind: quotedPrice}
	if quote != nil {
		p.of = typed(quote)
	}
	return p
}

// UnitsOf makes an [Operation.UnitsOf] of a function of messages of one type, under
// the rules of [QuotedOf].
func UnitsOf[M any](units func(ctx context.Context, message M) (int64, error)) func(context.Context, any) (int64, error) {
	if units == nil {
		return nil
	}
	return typed(units)
}

// typed returns f as a function of any message, which refuses those that are no M.
func typed[M any, N ~int64](f func(context.Context, M) (N, error)) func(context.Context, any) (N, error) {
	return func(ctx context.Context, message any) (N, error) {
		m, ok := message.(M)
		if !ok {
			return 0, errors.New("the message is not of the type that the operation takes")
		}
		return f(ctx, m)
	}
}

func (p Price) check(f *errors.Faults) {
	switch {
	case p.kind == unpriced:
		f.Add("the price is not stated; give Free(), Fixed(amount), PerUnit(amount), Listed(func) or Quoted(func)")
	case (p.kind == fixed || p.kind == perUnit) && (p.amount <= 0 || p.amount > credits.MaxAmount):
		f.Add("the price is %v; give more than 0 and at most %s, or Free()", p, credits.MaxAmount)
	case p.kind == quotedPrice && p.quote == nil && p.of == nil:
		f.Add("the price is Quoted(nil); give a function")
	case p.kind == listedPrice && p.list == nil:
		f.Add("the price is Listed(nil); give a function")
	}
}

// String returns the price for people.
func (p Price) String() string {
	switch p.kind {
	case free:
		return "free"
	case fixed:
		return p.amount.String()
	case perUnit:
		return p.amount.String() + " a unit"
	case quotedPrice:
		return "quoted"
	case listedPrice:
		return "listed"
	}
	return "not stated"
}
