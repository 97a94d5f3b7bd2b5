// Package apikey makes, proves and manages API keys.
package apikey
