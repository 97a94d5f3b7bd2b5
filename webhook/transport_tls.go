package webhook

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"net/http"
	"sync"

	"github.com/keytoll/keytoll/errors"
)

// maxDerived bounds the transports that are kept for endpoints with TLS settings
// of their own.
const maxDerived = 256

// derivedTransports are transports with TLS settings of their own, so that
// connections are shared by the endpoints that want the same, and by no others.
// The zero value is ready to use.
type derivedTransports struct {
	mu    sync.Mutex
	byKey map[[sha256.Size]byte]*derivedTransport
	clock uint64 // counts uses
}

type derivedTransport struct {
	transport *http.Transport
	used      uint64 // clock at the last use
}

// forTLS returns a transport with the settings of an endpoint. clientKey is the PEM
// private key of s.Certificate, "" without one.
func (t *SafeTransport) forTLS(s TLSSettings, clientKey string) (*http.Transport, error) {
	if s == (TLSSettings{}) && clientKey == "" {
		return t.base, nil
	}
	d := &t.derived
	key := tlsKey(s, clientKey)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	if kept := d.byKey[key]; kept != nil {
		kept.used = d.clock
		return kept.transport, nil
	}
	faults := errors.Faults{Op: "webhook.SafeTransport"}
	config := s.config(&faults, clientKey)
	if err := faults.Err(); err != nil {
		return nil, err
	}
	if config.RootCAs == nil {
		config.RootCAs = t.base.TLSClientConfig.RootCAs
	}
	made := t.base.Clone()
	made.TLSClientConfig = config
	if d.byKey == nil {
		d.byKey = map[[sha256.Size]byte]*derivedTransport{}
	}
	if len(d.byKey) >= maxDerived {
		d.dropOldest()
	}
	d.byKey[key] = &derivedTransport{made, d.clock}
	return made, nil
}

// dropOldest forgets the transport that was used least recently. Requests that
// run on it end as they would have.
func (d *derivedTransports) dropOldest() {
	var oldest [sha256.Size]byte
	least := d.clock
	for key, kept := range d.byKey {
		if kept.used < least {
			oldest, least = key, kept.used
		}
	}
	if kept := d.byKey[oldest]; kept != nil {
		kept.transport.CloseIdleConnections()
		delete(d.byKey, oldest)
	}
}

func (d *derivedTransports) closeIdle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, kept := range d.byKey {
		kept.transport.CloseIdleConnections()
	}
}

// tlsKey is equal for equal settings only. It gives nothing of the private key
// away.
func tlsKey(s TLSSettings, clientKey string) [sha256.Size]byte {
	var text []byte
	for _, part := range []string{s.RootCAs, s.Certificate, clientKey} {
		text = binary.AppendUvarint(text, uint64(len(part)))
		text = append(text, part...)
	}
	return sha256.Sum256(binary.BigEndian.AppendUint16(text, s.Least))
}

// maxRSA bounds the RSA keys of an endpoint, in bits, as crypto/tls does those that
// a receiver shows: a key of 80 000 bits takes minutes to sign once, and an authority
// with one that fills MaxPEM takes ten seconds to verify.
const maxRSA = 8192

const endlessFault = "an RSA key of more than 8192 bits, which every connection would wait for; give one of 2048 to 4096"

// endless reports whether a public key is of RSA and longer than maxRSA.
func endless(key any) bool {
	public, ok := key.(*rsa.PublicKey)
	return ok && public.N.BitLen() > maxRSA
}

// rootsOf returns the certificates in PEM, or adds to faults what is wrong with
// them.
func rootsOf(faults *errors.Faults, text string) *x509.CertPool {
	pool, found := x509.NewCertPool(), false
	for block, rest := pem.Decode([]byte(text)); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue // not a certificate, or one that is of no use to us
		}
		if endless(cert.PublicKey) {
			faults.Add("TLS.RootCAs: " + endlessFault)
		}
		pool.AddCert(cert)
		found = true
	}
	if !found {
		faults.Add("TLS.RootCAs: no certificate in PEM")
	}
	return pool
}

// config makes what [tls] wants of s, or adds to faults what is wrong with it.
// clientKey is the PEM private key of the certificate.
func (s TLSSettings) config(faults *errors.Faults, clientKey string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	switch s.Least {
	case 0, tls.VersionTLS12:
	case tls.VersionTLS13:
		c.MinVersion = tls.VersionTLS13
	default:
		faults.Add("TLS.Least is %#04x; give tls.VersionTLS12 or tls.VersionTLS13", s.Least)
	}
	if s.RootCAs != "" {
		c.RootCAs = rootsOf(faults, s.RootCAs)
	}
	switch {
	case s.Certificate == "" && clientKey == "":
	case s.Certificate == "":
		faults.Add("TLS.Certificate: empty, and there is a private key for it; give both or none")
	case clientKey == "":
		faults.Add("TLS.Certificate: there is no private key for it; give both or none")
	default:
		pair, err := tls.X509KeyPair([]byte(s.Certificate), []byte(clientKey))
		if err != nil {
			// The cause is left out, as it may quote what it was given.
			faults.Add("TLS.Certificate: not a chain in PEM that fits the private key in PEM")
		} else if key, ok := pair.PrivateKey.(crypto.Signer); !ok || endless(key.Public()) {
			faults.Add("TLS.Certificate: " + endlessFault)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}
