package rpcgate

import (
	"net/http"
	"strconv"
)

// A Code is the status of a call. Numbers and meanings are those of
// google/rpc/code.proto, which gRPC and Connect share.
type Code uint32

const (
	OK                 Code = 0
	Canceled           Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
	Unauthenticated    Code = 16
)

// clientClosed is the status for calls that their clients gave up, which has no
// name in RFC 9110; google/rpc/code.proto has it.
const clientClosed = 499

// codes are indexed by Code; the statuses are those that google/rpc/code.proto gives.
var codes = [...]struct {
	name   string
	status int
}{
	OK:                 {"ok", http.StatusOK},
	Canceled:           {"canceled", clientClosed},
	Unknown:            {"unknown", http.StatusInternalServerError},
	InvalidArgument:    {"invalid_argument", http.StatusBadRequest},
	DeadlineExceeded:   {"deadline_exceeded", http.StatusGatewayTimeout},
	NotFound:           {"not_found", http.StatusNotFound},
	AlreadyExists:      {"already_exists", http.StatusConflict},
	PermissionDenied:   {"permission_denied", http.StatusForbidden},
	ResourceExhausted:  {"resource_exhausted", http.StatusTooManyRequests},
	FailedPrecondition: {"failed_precondition", http.StatusBadRequest},
	Aborted:            {"aborted", http.StatusConflict},
	OutOfRange:         {"out_of_range", http.StatusBadRequest},
	Unimplemented:      {"unimplemented", http.StatusNotImplemented},
	Internal:           {"internal", http.StatusInternalServerError},
	Unavailable:        {"unavailable", http.StatusServiceUnavailable},
	DataLoss:           {"data_loss", http.StatusInternalServerError},
	Unauthenticated:    {"unauthenticated", http.StatusUnauthorized},
}

// String returns the code's name in snake case.
func (c Code) String() string {
	if int(c) < len(codes) {
		return codes[c].name
	}
	return "code(" + strconv.Itoa(int(c)) + ")"
}

// Status returns the HTTP status that stands for the code in what the gate settles
// and tells its Observer; 500 for a number that is no code.
func (c Code) Status() int {
	if int(c) < len(codes) {
		return codes[c].status
	}
	return http.StatusInternalServerError
}

// codeOf returns the code for an HTTP status of a refusal.
func codeOf(status int) Code {
	switch status {
	case http.StatusUnauthorized:
		return Unauthenticated
	case http.StatusPaymentRequired, http.StatusPreconditionFailed, http.StatusPreconditionRequired:
		return FailedPrecondition
	case http.StatusForbidden:
		return PermissionDenied
	case http.StatusNotFound, http.StatusGone:
		return NotFound
	case http.StatusConflict:
		return Aborted
	case http.StatusRequestEntityTooLarge, http.StatusTooManyRequests:
		return ResourceExhausted
	case clientClosed:
		return Canceled
	case http.StatusNotImplemented:
		return Unimplemented
	case http.StatusServiceUnavailable:
		return Unavailable
	case http.StatusGatewayTimeout:
		return DeadlineExceeded
	}
	if status >= http.StatusInternalServerError {
		return Internal
	}
	return InvalidArgument
}
