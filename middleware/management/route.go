package management

import (
	"net/http"

	"github.com/keytoll/keytoll/middleware/internal/endpoint"
)

// A route is an endpoint with what serves it.
type route struct {
	endpoint.Endpoint
	verb  Verbs // 0: anybody who may look
	serve func(*call) error
}

// offered returns the routes that the options open.
func (h *Handler) offered() []route {
	var list []route
	for _, rt := range []route{
		{endpoint.Endpoint{Method: http.MethodGet, Path: "", ID: "listKeys", Status: http.StatusOK}, 0, (*call).list},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "", ID: "createKey", Status: http.StatusCreated}, Create, (*call).create},
		{endpoint.Endpoint{Method: http.MethodGet, Path: "/{key}", ID: "getKey", Status: http.StatusOK}, 0, (*call).get},
		{endpoint.Endpoint{Method: http.MethodPatch, Path: "/{key}", ID: "updateKey", Status: http.StatusOK}, Update, (*call).update},
		{endpoint.Endpoint{Method: http.MethodDelete, Path: "/{key}", ID: "deleteKey", Status: http.StatusNoContent}, Delete, (*call).delete},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "/{key}/disable", ID: "disableKey", Status: http.StatusOK}, Switch, (*call).disable},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "/{key}/enable", ID: "enableKey", Status: http.StatusOK}, Switch, (*call).enable},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "/{key}/rotate", ID: "rotateKey", Status: http.StatusCreated}, Rotate, (*call).rotate},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "/{key}/clone", ID: "cloneKey", Status: http.StatusCreated}, Clone, (*call).clone},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "/{key}/regenerate", ID: "regenerateKey", Status: http.StatusOK}, Regenerate, (*call).regenerate},
		{endpoint.Endpoint{Method: http.MethodPost, Path: "/{key}/revoke", ID: "revokeKey", Status: http.StatusOK}, Revoke, (*call).revoke},
	} {
		if rt.verb&^h.opt.Verbs == 0 {
			list = append(list, rt)
		}
	}
	return list
}
