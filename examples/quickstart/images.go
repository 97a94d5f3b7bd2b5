package main

import (
	"encoding/json"
	"net/http"
	"strconv"
	"unicode/utf8"

	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/webhook"
)

// imageRequest is the body of POST /v1/images.
type imageRequest struct {
	Prompt string `json:"prompt"` // 1 to 1000 characters
	// Simulate shows that work which fails is not charged: "failure" answers 500,
	// "panic" ends the handler as a bug would.
	Simulate string `json:"simulate"`
}

// createImage answers with a PNG. The gate has set the price aside by now, and
// charges it when this returns with a 2xx.
func (a *app) createImage(w http.ResponseWriter, r *http.Request) {
	var in imageRequest
	if !readJSON(w, r, &in) {
		return
	}
	n := utf8.RuneCountInString(in.Prompt)
	switch {
	case n < 1 || n > 1000:
		problem(w, r, http.StatusBadRequest, "invalid_request", "prompt: give 1 to 1000 characters")
		return
	case in.Simulate == "failure":
		problem(w, r, http.StatusInternalServerError, "simulated_failure", "the model failed, as asked; nothing is charged")
		return
	case in.Simulate == "panic":
		panic("simulated, as the request asked; nothing is charged")
	case in.Simulate != "":
		problem(w, r, http.StatusBadRequest, "invalid_request", `simulate: give "failure", "panic" or nothing`)
		return
	}
	picture, err := paint(in.Prompt)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	// Before the answer: whoever has the image can rely on the event.
	if err := a.announceImage(r, in.Prompt, len(picture)); err != nil {
		a.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Content-Length", strconv.Itoa(len(picture)))
	if _, err := w.Write(picture); err != nil {
		a.log.InfoContext(r.Context(), "the client left before its image", "err", err)
	}
}

// announceImage publishes what was made, if anybody wants to know.
func (a *app) announceImage(r *http.Request, prompt string, size int) error {
	if a.hooks == nil {
		return nil
	}
	pass, _ := middleware.PassFrom(r.Context())
	payload, err := json.Marshal(event{
		Type: "image.created",
		At:   a.now().UTC(),
		Data: map[string]any{
			"request_id": pass.RequestID(), "key_id": pass.Key().ID, "owner": pass.Key().Owner,
			"prompt": prompt, "width": side, "height": side, "bytes": size, "credits": imagePrice,
		},
	})
	if err != nil {
		return err
	}
	_, err = a.hooks.Publish(r.Context(), webhook.Message{Account: owner, Type: "image.created", Payload: payload})
	return err
}

// listModels is free, so that a client can find out what there is.
func (a *app) listModels(w http.ResponseWriter, _ *http.Request) {
	type model struct {
		ID    string `json:"id"`
		Price string `json:"price"`
		Unit  string `json:"unit"`
	}
	writeJSON(w, map[string][]model{"models": {{ID: "landscape-1", Price: imagePrice.String(), Unit: "credits per image"}}})
}
