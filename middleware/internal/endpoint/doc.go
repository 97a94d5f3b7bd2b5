// Package endpoint is what the ready handlers of the middleware are made of: a
// table of endpoints that routes requests and describes itself as OpenAPI, strict
// reading of JSON, and refusals in the form of the gate's.
package endpoint
