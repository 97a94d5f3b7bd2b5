package main

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/keytoll/keytoll/middleware"
)

// guard puts the gate in front of the handlers that come after it, for one
// operation. A handler of echo that returns an error has answered nothing yet: the
// error handler does, after all middleware. So guard has it answer while the gate
// still looks; with echo.WrapMiddleware in its place an error would be charged as a
// success.
//
// The error is returned all the same, for those who log. An HTTPErrorHandler of
// one's own must leave answers alone that were given, as echo's own does: see
// echo.UnwrapResponse.
func guard(gate *middleware.Gate, op middleware.Operation) echo.MiddlewareFunc {
	protect := gate.Handler(op)
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) (err error) {
			response, request := c.Response(), c.Request()
			for _, p := range c.PathValues() {
				request.SetPathValue(p.Name, p.Value) // for prices and units that ask for it
			}
			// However it ends: the writer belongs to this call of the gate.
			defer func() { c.SetResponse(response); c.SetRequest(request) }()
			protect(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c.SetResponse(echo.NewResponse(w, c.Logger()))
				c.SetRequest(r)
				if err = next(c); err != nil {
					c.Echo().HTTPErrorHandler(c, err)
				}
			})).ServeHTTP(response, request)
			return err
		}
	}
}
