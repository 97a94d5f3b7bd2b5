package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/scopes"
)

// A stream of server-sent events that counts each piece before it is sent. The
// account has 12 credits: where they end, so does the stream, and the client is told
// why.
func ExamplePass_Meter() {
	gate, ledger, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	chat := gate.Handler(middleware.Operation{Name: "chat", Scopes: scopes.None(), Price: middleware.Fixed(2 * credits.Credit)})
	words := []string{"all", "happy", "families", "are", "alike"}
	resp := ask(chat(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		w.Header().Set("Content-Type", "text/event-stream")
		for _, word := range words {
			if err := pass.Meter().Add(r.Context(), 3*credits.Credit); err != nil {
				event := "error"
				if errors.Is(err, credits.ErrInsufficient) {
					event = "out_of_credits"
				}
				fmt.Fprintf(w, "event: %s\ndata: {}\n\n", event)
				return
			}
			fmt.Fprintf(w, "data: %s\n\n", word)
			_ = http.NewResponseController(w).Flush()
		}
	})), secret)
	body, _ := io.ReadAll(resp.Body)
	fmt.Print(string(body))
	balance, _ := ledger.Balance(context.Background(), "acme")
	fmt.Println(balance.Available, "available,", balance.Consumed, "consumed")
	// Output:
	// data: all
	//
	// data: happy
	//
	// data: families
	//
	// data: are
	//
	// event: out_of_credits
	// data: {}
	//
	// 0 available, 12 consumed
}

// A job that goes on after a 202 takes the hold over and settles it itself, in
// another process if need be: the hold travels as JSON.
func ExamplePass_Detach() {
	gate, ledger, secret, err := shop()
	if err != nil {
		fmt.Println(err)
		return
	}
	queue := make(chan []byte, 1)
	video := gate.Handler(middleware.Operation{
		Name: "video", Scopes: scopes.None(), Price: middleware.Fixed(10 * credits.Credit), HoldTTL: time.Hour,
	})
	resp := ask(video(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pass, _ := middleware.PassFrom(r.Context())
		hold, err := pass.Detach(r.Context())
		if err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		job, err := json.Marshal(hold)
		if err != nil {
			panic(err) // a string, a string and an amount
		}
		queue <- job
		w.WriteHeader(http.StatusAccepted)
	})), secret)
	balance, _ := ledger.Balance(context.Background(), "acme")
	fmt.Println(resp.StatusCode, "with", balance.Available, "available,", balance.Held, "held")

	// In the worker, which has the queue and the ledger:
	var hold middleware.Hold
	if err := json.Unmarshal(<-queue, &hold); err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := hold.Capture(context.Background(), ledger, 7*credits.Credit)
	if err != nil {
		fmt.Println(err)
		return
	}
	balance, _ = ledger.Balance(context.Background(), "acme")
	fmt.Println("charged", receipt.Amount, "-", balance.Available, "available,", balance.Held, "held")
	// Output:
	// 202 with 2 available, 10 held
	// charged 7 - 5 available, 0 held
}
