package pgtest_test

import (
	"os"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/keytoll/keytoll/stores/pgstore/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestWhatWasCommittedSurvivesKill(t *testing.T) {
	server := pgtest.Start(t)
	exec(t, server.URL(), "CREATE TABLE t AS SELECT 1 AS n")
	held, err := pgx.Connect(t.Context(), server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close(t.Context())
	server.Kill()
	if err := held.Ping(t.Context()); err == nil {
		t.Error("a connection outlived its server")
	}
	if conn, err := pgx.Connect(t.Context(), server.URL()); err == nil {
		conn.Close(t.Context())
		t.Error("the server answers after Kill")
	}
	server.Restart()
	exec(t, server.URL(), "INSERT INTO t VALUES (2)")
	server.Restart()
	exec(t, server.URL(), "DROP TABLE t")
}

func TestEveryDatabaseIsOfItsOwn(t *testing.T) {
	one, other := pgtest.Database(t), pgtest.Database(t)
	exec(t, one, "CREATE TABLE t (n int)")
	exec(t, other, "CREATE TABLE t (n int)")
}

func exec(t *testing.T, url, statement string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}
