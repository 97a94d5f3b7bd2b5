package middleware

import "net/http"

// RequireOwner reports whether what a handler has found belongs to the owner of
// the key. If not, it has answered: with VerdictForeign in the words of the
// profile, 404 by default, as if the thing did not exist. The empty owner is
// nobody's.
//
//	if !pass.RequireOwner(w, r, submission.Workspace) {
//		return
//	}
//
// Call it before the answer has begun.
func (p *Pass) RequireOwner(w http.ResponseWriter, r *http.Request, owner string) bool {
	if owner != "" && owner == p.key.Owner {
		return true
	}
	d := &Denial{Verdict: VerdictForeign}
	p.gate.tell(p, d)
	p.gate.refuse(w, r, p, d)
	return false
}
