package rpcgate

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"
	"time"
)

// A Detail is a message of package google.rpc in the encoding of Protocol Buffers,
// as google.protobuf.Any has it. Three messages of strings and one duration are
// encoded here, so that no transport depends on another's generated code.
type Detail struct {
	Type  string // "type.googleapis.com/google.rpc.ErrorInfo", for example
	Value []byte
}

const typePrefix = "type.googleapis.com/google.rpc."

// errorInfo encodes an ErrorInfo: reason 1, domain 2, metadata 3. Empty values are
// left out of the metadata.
func errorInfo(reason, domain string, metadata map[string]string) Detail {
	b := appendText(nil, 1, reason)
	b = appendText(b, 2, domain)
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if value := metadata[key]; value != "" {
			b = appendField(b, 3, appendText(appendText(nil, 1, key), 2, value))
		}
	}
	return Detail{typePrefix + "ErrorInfo", b}
}

// retryInfo encodes a RetryInfo: retry_delay 1, a Duration of seconds 1 and nanos 2.
func retryInfo(wait time.Duration) Detail {
	var delay []byte
	if s := uint64(wait / time.Second); s > 0 {
		delay = binary.AppendUvarint(append(delay, 1<<3), s)
	}
	if ns := uint64(wait % time.Second); ns > 0 {
		delay = binary.AppendUvarint(append(delay, 2<<3), ns)
	}
	return Detail{typePrefix + "RetryInfo", appendField(nil, 1, delay)}
}

// quotaFailure encodes a QuotaFailure: violations 1, each of subject 1 and
// description 2.
func quotaFailure(subjects []string, description string) Detail {
	var b []byte
	for _, subject := range subjects {
		b = appendField(b, 1, appendText(appendText(nil, 1, subject), 2, description))
	}
	return Detail{typePrefix + "QuotaFailure", b}
}

// appendText appends a field of text, which is UTF-8. An empty one is the field's
// default and left out, as proto3 says.
func appendText(b []byte, number byte, text string) []byte {
	if text == "" {
		return b
	}
	return appendField(b, number, []byte(strings.ToValidUTF8(text, "\uFFFD")))
}

// appendField appends a field of wire type 2.
func appendField(b []byte, number byte, value []byte) []byte {
	const lengthPrefixed = 2
	b = binary.AppendUvarint(append(b, number<<3|lengthPrefixed), uint64(len(value)))
	return append(b, value...)
}
