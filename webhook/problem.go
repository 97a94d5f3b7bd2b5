package webhook

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
)

// A problem is an RFC 9457 problem document. Code is stable.
type problem struct {
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	RequestID string `json:"request_id"`
}

// writeProblem answers with a problem document. The request id is the one that
// an outer handler has put into X-Request-Id, or a new one.
func writeProblem(w http.ResponseWriter, status int, code, detail string) {
	h := w.Header()
	id := h.Get("X-Request-Id")
	if id == "" {
		id = rand.Text()
		h.Set("X-Request-Id", id)
	}
	body, err := json.Marshal(problem{http.StatusText(status), status, code, detail, id})
	if err != nil { // strings and an int: cannot happen
		body = []byte("{}")
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the sender may be gone
}
