// Package scopes says what a key may do and what an operation asks for.
package scopes
