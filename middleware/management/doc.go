// Package management is the handler behind a page of API keys: whoever the host
// says may, lists, makes, changes and ends the keys of one owner, in JSON.
//
//	manage, err := management.New(keys, &management.Options{
//		Prefix: "/home/{account}/api-keys",
//		Verbs:  management.Everyday,
//		Authenticate: func(r *http.Request) (management.Caller, error) {
//			user, err := sessions.User(r)
//			if err != nil {
//				return management.Caller{}, err
//			}
//			if !user.Manages(r.PathValue("account")) {
//				return management.Caller{}, &errors.Error{Code: errors.NotFound}
//			}
//			return management.Caller{Owner: r.PathValue("account"), Actor: apikey.Actor{ID: user.ID}, Verbs: management.Everyday}, nil
//		},
//	})
//	mux.Handle("/home/{account}/api-keys/", manage)
package management
