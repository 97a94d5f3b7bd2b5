package middleware

import "net/http"

// Refuse answers a request that the handler itself refuses, in the form in which
// the profile tells refusals: with that status, code and sentence, and the request's
// id. The code is the handler's own and means nothing to the gate, which settles by
// the status.
//
//	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
//		pass.Refuse(w, r, http.StatusBadRequest, "invalid_request", "the body is not a JSON object")
//		return
//	}
//
// The status is 400 to 599; another is 500. Call it before the answer has begun. A
// Profile.Render is given a [Denial] whose Verdict is VerdictUndecided.
func (p *Pass) Refuse(w http.ResponseWriter, r *http.Request, status int, code, detail string) {
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	d := &Denial{Status: status, Code: code, RequestID: p.requestID, Operation: p.route.op.Name, said: detail, pass: p}
	p.gate.refuse(w, r, p, d)
}
