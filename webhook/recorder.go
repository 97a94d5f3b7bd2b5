package webhook

import "net/http"

// A recorder remembers the status that a handler chose. Everything else that
// the writer beneath can do stays reachable through http.ResponseController.
type recorder struct {
	http.ResponseWriter

	status int // 0 until chosen
}

// WriteHeader notes the first final status.
func (r *recorder) WriteHeader(status int) {
	if status >= 200 || status == http.StatusSwitchingProtocols {
		r.choose(status)
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implies 200.
func (r *recorder) Write(p []byte) (int, error) {
	r.choose(http.StatusOK)
	return r.ResponseWriter.Write(p)
}

// FlushError implies 200. http.ResponseController calls it.
func (r *recorder) FlushError() error {
	r.choose(http.StatusOK)
	return http.NewResponseController(r.ResponseWriter).Flush()
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) choose(status int) {
	if r.status == 0 {
		r.status = status
	}
}
