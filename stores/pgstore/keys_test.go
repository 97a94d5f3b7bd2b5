package pgstore_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/keytoll/keytoll/apikey"
	"github.com/keytoll/keytoll/apikey/apikeytest"
)

func TestKeysKeepTheContract(t *testing.T) {
	d := &sharedDatabase{database: newDatabase(t)}
	apikeytest.Run(t, func(sub *testing.T) apikey.Store { return d.lend(sub, t).Keys() })
}

// Every isolation level that a database may have by default, and every way in
// which a pool may talk to it, proxies included.
func TestKeysKeepTheContractHoweverThePoolIsSet(t *testing.T) {
	if testing.Short() {
		t.Skip("the same suite once for each setting")
	}
	for name, adjust := range map[string]func(*pgxpool.Config){
		"serializable": func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "serializable" },
		"repeatable read, simple protocol": func(c *pgxpool.Config) {
			c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "repeatable read"
			c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
		},
		"nothing cached": func(c *pgxpool.Config) {
			c.ConnConfig.DefaultQueryExecMode, c.ConnConfig.DescriptionCacheCapacity = pgx.QueryExecModeExec, 0
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &sharedDatabase{database: newDatabase(t, adjust, func(c *pgxpool.Config) { c.MaxConns = 16 })} // all of them within what the server has
			apikeytest.Run(t, func(sub *testing.T) apikey.Store { return d.lend(sub, t).Keys() })
		})
	}
}

func BenchmarkKeys(b *testing.B) {
	d := newDatabase(b)
	apikeytest.Bench(b, func(b *testing.B) apikey.Store { return d.open(b).Keys() })
}
