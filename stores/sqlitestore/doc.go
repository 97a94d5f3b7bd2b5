// Package sqlitestore keeps API keys and credits in one SQLite file.
package sqlitestore
