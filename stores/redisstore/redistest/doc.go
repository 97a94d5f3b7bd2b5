// Package redistest gives tests a Redis server, or a cluster of three, that
// they may kill.
//
//	func TestFailover(t *testing.T) {
//		server := redistest.Start(t)
//		client := server.Client(t)
//		...
//		server.Kill()
//		server.Restart()
//	}
//
// A server is the one named in the environment variable KEYTOLL_TEST_REDIS
// ("127.0.0.1:6379", or a URL such as "redis://user:password@host:6379/0"), or
// a process of its own, started from the redis-server (or valkey-server) in
// PATH on a free port of the loopback interface, with its files in a temporary
// folder, and ended with the test. It ends no process that it did not start: a
// test that stops its server is skipped when the server is a named one. Without
// either a test is skipped, and says what to install.
package redistest
