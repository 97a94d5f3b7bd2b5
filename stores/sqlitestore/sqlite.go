package sqlitestore

import (
	_ "modernc.org/sqlite" // the driver

	"github.com/keytoll/keytoll/errors"
)

// ErrClosed reports the use of a DB after Close.
var ErrClosed error = &errors.Error{Code: errors.Unavailable, Msg: "the database is closed"}
