package management_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/errors"
	"github.com/keytoll/keytoll/middleware/management"
)

// The page of keys of an account, at the path of the dashboard. Whoever is signed
// in manages the account of the path, if it is theirs.
func ExampleNew() {
	format, err := apikey.NewFormat("kt", nil)
	if err != nil {
		panic(err)
	}
	keys, err := apikey.NewService(apikey.NewMemoryStore(), format, nil)
	if err != nil {
		panic(err)
	}
	signedIn := func(r *http.Request) string { return r.Header.Get("X-User") } // the host's sessions
	manage, err := management.New(keys, &management.Options{
		Prefix: "/home/{account}/api-keys",
		Verbs:  management.Create | management.Switch | management.Revoke,
		Authenticate: func(r *http.Request) (management.Caller, error) {
			user, account := signedIn(r), r.PathValue("account")
			switch {
			case user == "":
				return management.Caller{}, &errors.Error{Code: errors.Unauthenticated}
			case user != "ann" || account != "acme":
				return management.Caller{}, &errors.Error{Code: errors.NotFound}
			}
			return management.Caller{Owner: account, Actor: apikey.Actor{ID: user}, Verbs: management.Everyday}, nil
		},
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/home/{account}/api-keys/", manage)

	ask := func(user, method, path, body string) int {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("X-User", user)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		return w.Code
	}
	fmt.Println("made:", ask("ann", "POST", "/home/acme/api-keys/", `{"name":"CI","expires_in_seconds":86400}`))
	fmt.Println("listed:", ask("ann", "GET", "/home/acme/api-keys/", ""))
	fmt.Println("somebody else's:", ask("ann", "GET", "/home/rival/api-keys/", ""))
	fmt.Println("nobody:", ask("", "GET", "/home/acme/api-keys/", ""))
	// Output:
	// made: 201
	// listed: 200
	// somebody else's: 404
	// nobody: 401
}
