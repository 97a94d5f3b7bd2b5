// Package webhook signs webhooks and verifies them, as Standard Webhooks v1
// describes.
package webhook
