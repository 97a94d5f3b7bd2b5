package main

import (
	"bufio"
	"io"
	"net"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/keytoll/keytoll/middleware"
)

// guard puts the gate in front of the handlers that come after it, for one
// operation. Gin decides late: a status may change until the first byte is written,
// errors are collected for whoever renders them, and handlers go on unless somebody
// aborts. So the gate's writer stands in front of gin's, and is told the status when
// it is the one that the client gets.
//
// Errors that a handler leaves in c.Errors without an answer count as a status of
// 500, or as the one of 400 and more that is set. A middleware that renders errors
// may stand in front of the guard as long as it answers no less than 400. It has to
// stand behind where 4xx and 5xx are settled differently, and where the operation
// heeds Idempotency-Key: what is written in front is not kept.
func guard(gate *middleware.Gate, op middleware.Operation) gin.HandlerFunc {
	protect := gate.Handler(op)
	return func(c *gin.Context) {
		writer, request, passed := c.Writer, c.Request, false
		for _, p := range c.Params {
			request.SetPathValue(p.Key, p.Value) // for prices and units that ask for it
		}
		// However it ends: the writer belongs to this call of the gate.
		defer func() { c.Writer, c.Request = writer, request }()
		protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			passed = true
			inner := &guarded{ResponseWriter: writer, gate: w}
			c.Writer, c.Request = inner, r
			c.Next()
			inner.finish(len(c.Errors) > 0)
		})).ServeHTTP(writer, request)
		if !passed {
			c.Abort()
		}
	}
}

// A guarded writer keeps gin's state where gin keeps it, and sends what goes out
// through the gate.
type guarded struct {
	gin.ResponseWriter
	gate http.ResponseWriter
	told bool
}

// tell tells the gate the status, once, when it is final.
func (w *guarded) tell(status int) {
	if !w.told {
		w.told = true
		w.gate.WriteHeader(status)
	}
}

func (w *guarded) finish(failed bool) {
	switch {
	case failed && !w.Written():
		status := w.Status()
		if status < http.StatusBadRequest {
			status = http.StatusInternalServerError
		}
		w.tell(status) // whoever renders errors writes it
	default:
		w.WriteHeaderNow()
	}
}

func (w *guarded) WriteHeaderNow() {
	w.tell(w.Status())
	w.ResponseWriter.WriteHeaderNow()
}

func (w *guarded) Write(b []byte) (int, error) {
	w.tell(w.Status())
	return w.gate.Write(b)
}

func (w *guarded) WriteString(s string) (int, error) {
	w.tell(w.Status())
	return io.WriteString(w.gate, s)
}

func (w *guarded) Flush() {
	w.tell(w.Status())
	_ = http.NewResponseController(w.gate).Flush() // http.Flusher has no way to tell
}

func (w *guarded) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return http.NewResponseController(w.gate).Hijack()
}

func (w *guarded) Unwrap() http.ResponseWriter { return w.gate }
