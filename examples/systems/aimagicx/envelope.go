package main

import (
	"strings"

	"github.com/keytoll/keytoll/middleware"
)

// envelope is the body of every refusal.
func envelope(d *middleware.Denial) any {
	type details struct {
		Required string   `json:"required_scope"`
		Current  []string `json:"current_scopes"`
	}
	type failure struct {
		Code    string   `json:"code"`
		Message string   `json:"message"`
		Status  int      `json:"status"`
		Details *details `json:"details,omitempty"`
	}
	f := failure{Code: strings.ToUpper(d.Code), Message: d.Detail(), Status: d.Status}
	if d.Verdict == middleware.VerdictScopeDenied {
		f.Details = &details{strings.Join(d.Missing, " "), append([]string{}, d.Granted...)}
	}
	return struct {
		Success bool    `json:"success"`
		Error   failure `json:"error"`
	}{false, f}
}
