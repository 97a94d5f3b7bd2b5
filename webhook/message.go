package webhook

import "time"

// Bounds of a [Message].
const (
	MaxType           = 128 // bytes of a type
	DefaultMaxPayload = 256 << 10
	MaxPayload        = 16 << 20
)

// A Message is one event, told to all endpoints of an account that take its
// type.
type Message struct {
	// ID names the message for ever, on every attempt: 1 to 256 characters of A-Z,
	// a-z, 0-9, '_' and '-'. Publishing the same message again under the same ID does
	// nothing; another message under it is [ErrIntent]. Default: one of [NewID].
	ID string
	// Account is whose message it is: 1 to 128 bytes of visible ASCII.
	Account string
	// Type is what happened, such as "image.created": segments of a-z, A-Z, 0-9,
	// '_' and '-' between dots, up to [MaxType] bytes.
	Type string
	// Endpoint, unless empty, is the one endpoint that the message goes to,
	// whatever types it takes: for tests of an endpoint.
	Endpoint string
	// ContentType of Payload. Default "application/json".
	ContentType string
	// Payload is sent as it is, byte for byte, up to [SenderOptions.MaxPayload].
	Payload []byte
	// At is when the message was published, by the store's clock. The store sets
	// it.
	At time.Time
}

// A Publication is the outcome of Publish.
type Publication struct {
	ID         string
	At         time.Time // of the first publication
	Deliveries int       // endpoints that the message goes to; 0 when none takes it
	Replayed   bool      // the message was published before
}
