package middleware

import "github.com/keytoll/keytoll/credits"

// Account returns the account that pays for the key.
func (p *Pass) Account() credits.AccountID { return p.gate.accountOf(p.key) }

// Credits returns the ledger of the gate; nil when it has none.
func (g *Gate) Credits() *credits.Ledger { return g.ledger }
