package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"

	"github.com/keytoll/keytoll/credits"
	"github.com/keytoll/keytoll/examples/internal/recipetest"
	"github.com/keytoll/keytoll/middleware"
	"github.com/keytoll/keytoll/middleware/middlewaretest"
	"github.com/keytoll/keytoll/scopes"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	gin.DefaultErrorWriter = io.Discard // gin.Recovery prints stacks
	m.Run()
}

func TestGin(t *testing.T) { recipetest.Check(t, newAPI) }

func priced() middleware.Operation {
	return middleware.Operation{Name: "op", Scopes: scopes.None(), Price: middleware.Fixed(5 * credits.Credit)}
}

// Handlers after a refusal do not run, and those around it see gin's own writer and
// request again.
func TestGinIsLeftAsItWas(t *testing.T) {
	f := middlewaretest.New(t, nil)
	r := gin.New()
	r.Use(func(c *gin.Context) {
		writer, request := c.Writer, c.Request
		defer func() {
			_ = recover() // of the route that panics
			if c.Writer != writer || c.Request != request {
				t.Errorf("%s: the writer is a %T", c.FullPath(), c.Writer)
			}
			if status := c.GetHeader("Want-Status"); status != http.StatusText(c.Writer.Status()) {
				t.Errorf("%s: gin believes %d, want %s", c.FullPath(), c.Writer.Status(), status)
			}
		}()
		c.Next()
	}, guard(f.Gate, priced()))
	ran := 0
	r.POST("/ok", func(c *gin.Context) { ran++; c.String(http.StatusCreated, "made") })
	r.POST("/bug", func(*gin.Context) { ran++; panic("a bug") })
	for _, tt := range []struct {
		path   string
		state  middlewaretest.State
		status int
	}{
		{"/ok", middlewaretest.Active, 201}, {"/ok", middlewaretest.Revoked, 401}, {"/ok", middlewaretest.Poor, 402}, {"/bug", middlewaretest.Active, 200},
	} {
		req := f.Request(tt.state, "POST", tt.path, nil)
		req.Header.Set("Want-Status", http.StatusText(tt.status))
		if w := f.Serve(r, req); w.Code != tt.status {
			t.Errorf("%s, %v: status %d, want %d", tt.path, tt.state, w.Code, tt.status)
		}
	}
	if ran != 2 {
		t.Errorf("handlers ran %d times", ran)
	}
	f.WantEndings(middleware.EndSuccess, middleware.EndPanic)
	f.WantCharged(5 * credits.Credit)
}

// Two guards of one operation charge once.
func TestGinGuardedTwice(t *testing.T) {
	f := middlewaretest.New(t, nil)
	r := gin.New()
	r.Use(guard(f.Gate, priced()), guard(f.Gate, priced()))
	r.POST("/", func(c *gin.Context) { c.String(http.StatusOK, "once") })
	if w := f.Do(r, middlewaretest.Active, "POST", "/"); w.Code != http.StatusOK || w.Body.String() != "once" {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	f.WantCharged(5 * credits.Credit)
}

// A connection that is taken over is settled as that, and its bytes are the
// handler's own.
func TestGinHijack(t *testing.T) {
	settled := make(chan middleware.Settled, 1)
	f := middlewaretest.New(t, &middlewaretest.Options{Gate: middleware.Options{Observer: listener{settled}}})
	r := gin.New()
	r.POST("/", guard(f.Gate, priced()), func(c *gin.Context) {
		conn, _, err := c.Writer.Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 299 Own\r\nContent-Length: 3\r\n\r\nraw")
	})
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Authorize(req, middlewaretest.Active)
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 299 || string(body) != "raw" {
		t.Errorf("status %d, %q, %v", resp.StatusCode, body, err)
	}
	if s := <-settled; s.Ending != middleware.EndHijack || s.Charged != 5*credits.Credit {
		t.Errorf("settled as %v, %v charged", s.Ending, s.Charged)
	}
}

type listener struct{ settled chan<- middleware.Settled }

func (listener) Decided(context.Context, middleware.Decision)      {}
func (l listener) Settled(_ context.Context, s middleware.Settled) { l.settled <- s }
