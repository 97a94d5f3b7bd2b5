package webhook

import "strings"

// A Scheme says how messages are signed: what is hashed, and where signatures
// stand. It is data, and can be stored as JSON. The functions below return the
// known ones; one of your own is for receivers that exist already, whose form
// has to be met. The zero Scheme is Standard("").
//
// [NewKeys] checks it. What it accepts leaves no choice about where the id, the
// timestamp and the body begin and end.
type Scheme struct {
	// Name stands in [Verified] and in errors: 1 to 32 characters of A-Z, a-z, 0-9,
	// '.', '_' and '-', and no two schemes of a key set with the same.
	Name string `json:"name,omitempty"`
	// Signed is what is hashed: "{body}" and perhaps "{id}" and "{timestamp}", each
	// once, among other visible ASCII characters. What stands between two of them
	// begins and ends with none of A-Z, a-z, 0-9, '_' and '-', since an id or a
	// timestamp could go on with it: "{id}.{timestamp}.{body}".
	Signed string `json:"signed,omitempty"`
	// IDHeader is the header that carries the id. When the id is not signed, the
	// signer sets the header and the verifier does not look at it. Empty: no header.
	IDHeader string `json:"id_header,omitempty"`
	// TimestampHeader is the header that carries the timestamp in seconds. Empty
	// when TimestampEntry says where it stands, or when it is not signed.
	TimestampHeader string `json:"timestamp_header,omitempty"`
	// TimestampEntry begins the timestamp when it stands in SignatureHeader, as in
	// "t=1614265330,v1=...".
	TimestampEntry string `json:"timestamp_entry,omitempty"`
	// SignatureHeader is the header that carries the signatures.
	SignatureHeader string `json:"signature_header,omitempty"`
	// Entry begins each HMAC in SignatureHeader, such as "v1=". With a Separator it
	// is 1 to 16 of a-z and 0-9 and one other character, by which entries of other
	// kinds are told from it and passed over. Without, it may be empty.
	Entry string `json:"entry,omitempty"`
	// PublicEntry begins each Ed25519 signature, such as "v1a,". Empty: there are
	// none, and no key pair can be used.
	PublicEntry string `json:"public_entry,omitempty"`
	// Separator stands between entries: ' ', ',' or ';'. Empty: there is one
	// signature and no other entry, so that of several keys only the newest signs.
	Separator string `json:"separator,omitempty"`
	// Encoding of a signature: "base64" is standard and padded, "hex" is in lower
	// case.
	Encoding string `json:"encoding,omitempty"`
	// Hash of the HMAC: "sha256" or "sha512". Default "sha256".
	Hash string `json:"hash,omitempty"`
}

// What a Scheme may say.
const (
	encodingBase64 = "base64"
	encodingHex    = "hex"
	hashSHA256     = "sha256"
	hashSHA512     = "sha512"

	stripeHeader = "Stripe-Signature"

	placeID        = "{id}"
	placeTimestamp = "{timestamp}"
	placeBody      = "{body}"
)

// Standard returns Standard Webhooks v1 and v1a: HMAC-SHA-256 or Ed25519 of
// "{id}.{timestamp}.{body}", with a secret of [SecretFromString] or a key pair.
// prefix begins the three header names: letters, digits and '-', the last
// character '-'. "" means "webhook-"; Svix uses "svix-".
func Standard(prefix string) Scheme {
	if prefix == "" {
		prefix = "webhook-"
	}
	name := "standard"
	if brand := strings.ToLower(strings.TrimSuffix(prefix, "-")); brand != "webhook" {
		name += "-" + brand
	}
	return Scheme{
		Name: name, Signed: "{id}.{timestamp}.{body}",
		IDHeader: prefix + "Id", TimestampHeader: prefix + "Timestamp", SignatureHeader: prefix + "Signature",
		Entry: "v1,", PublicEntry: "v1a,", Separator: " ", Encoding: encodingBase64,
	}
}

// Stripe returns the scheme of Stripe-Signature. The key is the text of the
// secret, "whsec_" included: [SecretFromRaw]. One of [SecretFromString], which
// holds what the text encodes, is refused. The id is in the body.
func Stripe() Scheme {
	return Scheme{
		Name: "stripe", Signed: "{timestamp}.{body}", SignatureHeader: stripeHeader,
		TimestampEntry: "t=", Entry: "v1=", Separator: ",", Encoding: encodingHex,
	}
}

// GitHub returns the scheme of X-Hub-Signature-256. SHA-1, which GitHub still
// sends in another header, is never looked at. The key is the text of the
// secret. Neither the id nor a timestamp is signed: whoever saw a message can
// send it again at any time, and only a [ReplayStore] tells.
func GitHub() Scheme {
	return Scheme{
		Name: "github", Signed: placeBody, IDHeader: "X-Github-Delivery",
		SignatureHeader: "X-Hub-Signature-256", Entry: "sha256=", Encoding: encodingHex,
	}
}

// Slack returns the scheme of X-Slack-Signature. The key is the text of the
// signing secret.
func Slack() Scheme {
	return Scheme{
		Name: "slack", Signed: "v0:{timestamp}:{body}", TimestampHeader: "X-Slack-Request-Timestamp",
		SignatureHeader: "X-Slack-Signature", Entry: "v0=", Encoding: encodingHex,
	}
}

// Shopify returns the scheme of X-Shopify-Hmac-SHA256. The key is the text of
// the client secret. As with [GitHub], neither id nor timestamp is signed.
func Shopify() Scheme {
	return Scheme{
		Name: "shopify", Signed: placeBody, IDHeader: "X-Shopify-Webhook-Id",
		SignatureHeader: "X-Shopify-Hmac-Sha256", Encoding: encodingBase64,
	}
}

// Paddle returns the scheme of Paddle-Signature. The key is the text of the
// secret, "pdl_ntfset_" included. Paddle signs the time of its first attempt: a
// tolerance shorter than its retries refuses them.
func Paddle() Scheme {
	return Scheme{
		Name: "paddle", Signed: "{timestamp}:{body}", SignatureHeader: "Paddle-Signature",
		TimestampEntry: "ts=", Entry: "h1=", Separator: ";", Encoding: encodingHex,
	}
}
