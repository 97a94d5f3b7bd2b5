// Package pgtest gives tests a real PostgreSQL server.
//
//	func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
//
//	func TestStore(t *testing.T) {
//		url := pgtest.Database(t) // an empty database of the test's own
//	}
//
//	func TestCrash(t *testing.T) {
//		server := pgtest.Start(t) // a server of the test's own
//		server.Kill()
//		server.Restart()
//	}
//
// [Database] uses the server whose URL the environment variable
// KEYTOLL_TEST_POSTGRES holds; its user must be allowed to create databases.
// Without that variable, and for [Start] always, a server is started from
// PostgreSQL's own programs, found on the PATH or where Debian keeps them. It
// writes to a folder of its own under the temporary one, and talks over a Unix
// socket in it that only its user and root may open. That of [Start] has
// PostgreSQL's default settings: what it says is on the disk has been flushed. The
// shared one flushes nothing, since nobody pulls its plug: what is lost with a
// crash, and what a commit costs, is for a server of Start to tell. PostgreSQL
// refuses to run as root; started by root, it runs as the user postgres or
// nobody.
//
// Where there is neither, tests are skipped, and say what to install. A server
// ends with the test, or with the test binary, also when that dies.
package pgtest
