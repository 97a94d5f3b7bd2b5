package webhook_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/keytoll/keytoll/webhook"
)

// newClientKey returns a private key and what certifies it, twice: the second is
// its renewal.
func newClientKey(tb testing.TB) (key webhook.ClientKey, chain, renewed string) {
	tb.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb)
	der := must(x509.MarshalPKCS8PrivateKey(private))(tb)
	certify := func(serial int64) string {
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "keytoll"}, NotAfter: noon.Add(time.Hour)}
		certificate := must(x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private))(tb)
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	}
	return webhook.ClientKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), certify(1), certify(2)
}

func TestACertificateComesWithItsPrivateKey(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	key, chain, renewed := newClientKey(t)
	otherKey, otherChain, _ := newClientKey(t)
	spec := webhook.EndpointSpec{ID: "ep_1", Account: "acme", Settings: webhook.Settings{URL: "https://example.com", TLS: webhook.TLSSettings{Certificate: chain}}, ClientKey: key}

	for name, change := range map[string]func(*webhook.EndpointSpec){
		"no key":               func(s *webhook.EndpointSpec) { s.ClientKey = "" },
		"another key":          func(s *webhook.EndpointSpec) { s.ClientKey = otherKey },
		"no certificate":       func(s *webhook.EndpointSpec) { s.Settings.TLS.Certificate = "" },
		"a key that is none":   func(s *webhook.EndpointSpec) { s.ClientKey = "canary" },
		"a key of too much":    func(s *webhook.EndpointSpec) { s.ClientKey = webhook.ClientKey(strings.Repeat("c", webhook.MaxPEM+1)) },
		"too much certificate": func(s *webhook.EndpointSpec) { s.Settings.TLS.Certificate = strings.Repeat("c", webhook.MaxPEM+1) },
	} {
		faulty := spec
		change(&faulty)
		if _, err := o.CreateEndpoint(t.Context(), faulty); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(o.CreateEndpoint(t.Context(), spec))(t)
	if again := must(o.CreateEndpoint(t.Context(), spec))(t); !again.Replayed {
		t.Error("the same again is another")
	}

	set := func(chain string) error {
		_, err := o.UpdateEndpoint(t.Context(), "ep_1", func(s *webhook.Settings) error { s.TLS.Certificate = chain; return nil })
		return err
	}
	if err := set(renewed); err != nil {
		t.Errorf("a renewed certificate: %v", err)
	}
	wantFaults(t, set(otherChain), "TLS.Certificate")
	_, err := o.SetClientCertificate(t.Context(), "ep_1", otherChain, key)
	wantFaults(t, err, "TLS.Certificate")
	if e := must(o.SetClientCertificate(t.Context(), "ep_1", otherChain, otherKey))(t); e.Settings.TLS.Certificate != otherChain {
		t.Error("the certificate is not the one that was set")
	}
	// Without its certificate a key is of no use, and is not kept.
	if err := set(""); err != nil {
		t.Error(err)
	}
	wantFaults(t, set(otherChain), "TLS.Certificate")
	must(o.SetClientCertificate(t.Context(), "ep_1", chain, key))(t)
	if e := must(o.SetClientCertificate(t.Context(), "ep_1", "", ""))(t); e.Settings.TLS.Certificate != "" {
		t.Error("the certificate is still there")
	}
	wantFaults(t, set(chain), "TLS.Certificate")
	if keys := must(o.EndpointKeys(t.Context(), "ep_1"))(t); keys.Len() != 1 {
		t.Errorf("%d keys are left", keys.Len())
	}
}

// An RSA key is paid for in every handshake, with the cube of its length. This
// package pays, and a tenant chooses the key.
func TestAnEndlessRSAKeyIsRefused(t *testing.T) {
	o := open(t, webhook.SenderOptions{})
	for bits, fault := range map[int]bool{8192: false, 8200: true} {
		key, chain := newRSAKey(t, bits)
		for name, spec := range map[string]webhook.EndpointSpec{
			"TLS.RootCAs":     {Settings: webhook.Settings{TLS: webhook.TLSSettings{RootCAs: chain}}},
			"TLS.Certificate": {Settings: webhook.Settings{TLS: webhook.TLSSettings{Certificate: chain}}, ClientKey: key},
		} {
			spec.Account, spec.Settings.URL = "acme", "https://example.com"
			if _, err := o.CreateEndpoint(t.Context(), spec); fault {
				wantFaults(t, err, name+": an RSA key of more than 8192 bits")
			} else if err != nil {
				t.Errorf("%s, %d bits: %v", name, bits, err)
			}
		}
	}
}

// newRSAKey returns a private key of so many bits and its certificate. It is no
// good for signing, since finding primes of this length takes long: its factors are
// any that have inverses.
func newRSAKey(tb testing.TB, bits int) (key webhook.ClientKey, chain string) {
	tb.Helper()
	factor := func() *big.Int {
		n := must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits/2))))(tb)
		return n.SetBit(n.SetBit(n.SetBit(n, 0, 1), bits/2-1, 1), bits/2-2, 1)
	}
	const e = 65537
	one := big.NewInt(1)
	for range 1000 {
		p, q := factor(), factor()
		p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
		d, inverse := new(big.Int).ModInverse(big.NewInt(e), new(big.Int).Mul(p1, q1)), new(big.Int).ModInverse(q, p)
		if d == nil || inverse == nil {
			continue
		}
		public := rsa.PublicKey{N: new(big.Int).Mul(p, q), E: e}
		der := must(asn1.Marshal(struct { // RFC 8017 appendix A.1.2
			Version               int
			N                     *big.Int
			E                     int
			D, P, Q, DP, DQ, QInv *big.Int
		}{0, public.N, e, d, p, q, new(big.Int).Mod(d, p1), new(big.Int).Mod(d, q1), inverse}))(tb)
		ca := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(tb)
		template := &x509.Certificate{SerialNumber: one, Subject: pkix.Name{CommonName: "keytoll"}, NotAfter: noon.Add(time.Hour)}
		issuer := &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, PublicKey: &ca.PublicKey}
		certificate := must(x509.CreateCertificate(rand.Reader, template, issuer, &public, ca))(tb)
		return webhook.ClientKey(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}))
	}
	tb.Fatal("no two factors that have inverses")
	return "", ""
}
