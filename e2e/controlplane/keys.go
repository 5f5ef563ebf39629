package controlplane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The files that makeKeys writes.
const (
	caFile                  = "ca.crt"
	serverCertFile          = "apiserver.crt"
	serverKeyFile           = "apiserver.key"
	serviceAccountKeyFile   = "service-account.key"
	certificateLife         = 30 * 24 * time.Hour
	certificateClockLeeway  = time.Hour
	administratorsGroupName = "system:masters" // superusers of RBAC, without any binding
)

// keys are what the processes and their clients need of the public key
// infrastructure, as PEM. There is one certificate authority for servers and clients.
type keys struct {
	ca, adminCert, adminKey []byte
}

// makeKeys makes a certificate authority, the API server's certificate, an
// administrator's and the key of service account tokens, and writes what the API
// server reads to a directory.
func makeKeys(dir string, options Options) (*keys, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	serverCert, serverKey, err := ca.issue(serverTemplate(options))
	if err != nil {
		return nil, fmt.Errorf("make the API server's certificate: %w", err)
	}
	adminCert, adminKey, err := ca.issue(x509.Certificate{
		Subject:     pkix.Name{CommonName: "admin", Organization: []string{administratorsGroupName}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil, fmt.Errorf("make the administrator's certificate: %w", err)
	}
	_, tokenKey, err := newKey()
	if err != nil {
		return nil, fmt.Errorf("make the key of service account tokens: %w", err)
	}
	for name, content := range map[string][]byte{
		caFile:                ca.pem(),
		serverCertFile:        serverCert,
		serverKeyFile:         serverKey,
		serviceAccountKeyFile: tokenKey,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return nil, fmt.Errorf("write key: %w", err)
		}
	}
	return &keys{ca: ca.pem(), adminCert: adminCert, adminKey: adminKey}, nil
}

// serverTemplate names the API server as pods and nodes know it: by its address
// and by the first ClusterIP of each family, which the Service default/kubernetes has.
func serverTemplate(options Options) x509.Certificate {
	cert := x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
		IPAddresses: []net.IP{options.Address.AsSlice()},
	}
	for _, cidr := range options.ServiceCIDRs {
		cert.IPAddresses = append(cert.IPAddresses, cidr.Masked().Addr().Next().AsSlice())
	}
	return cert
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (*authority, error) {
	key, _, err := newKey()
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		Subject:               pkix.Name{CommonName: "end-to-end tests"},
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	ca := &authority{cert: &template, key: key}
	ca.cert, err = ca.sign(template, key)
	return ca, err
}

func (a *authority) pem() []byte { return certPEM(a.cert) }

// issue makes a key and a certificate for it, both as PEM.
func (a *authority) issue(template x509.Certificate) (cert, key []byte, err error) {
	private, key, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	signed, err := a.sign(template, private)
	if err != nil {
		return nil, nil, err
	}
	return certPEM(signed), key, nil
}

func (a *authority) sign(template x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	template.NotBefore = time.Now().Add(-certificateClockLeeway)
	template.NotAfter = time.Now().Add(certificateLife)
	der, err := x509.CreateCertificate(rand.Reader, &template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// newKey makes a P-256 key, and its PEM.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func certPEM(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
