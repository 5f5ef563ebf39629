package controlplane

import (
	"context"
	"fmt"
	"net"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenLife is longer than any run of the suite.
const tokenLife = 24 * 60 * 60 // seconds

// RESTConfig is the configuration of a client with the rights of a cluster
// administrator, without a limit of its own to the rate of requests. Each call
// returns a new one.
func (cp *ControlPlane) RESTConfig() *rest.Config {
	config := &rest.Config{
		Host: cp.Server(),
		TLSClientConfig: rest.TLSClientConfig{
			CAData:   cp.keys.ca,
			CertData: cp.keys.adminCert,
			KeyData:  cp.keys.adminKey,
		},
		QPS: -1,
	}
	if cp.options.Namespace != 0 {
		config.Dial = cp.dial
	}
	return config
}

// RESTConfigFor is RESTConfig with the rights of a service account.
func (cp *ControlPlane) RESTConfigFor(ctx context.Context, namespace, serviceAccount string) (*rest.Config, error) {
	token, err := cp.TokenFor(ctx, namespace, serviceAccount)
	if err != nil {
		return nil, err
	}
	config := cp.RESTConfig()
	config.CertData, config.KeyData, config.BearerToken = nil, nil, token
	return config, nil
}

// dial connects from inside the control plane's network namespace.
func (cp *ControlPlane) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	err = inNamespace(cp.options.Namespace, func() error {
		// To a literal address: the socket is made on this thread.
		conn, err = new(net.Dialer).DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Kubeconfig writes a kubeconfig file with the rights of a cluster administrator.
func (cp *ControlPlane) Kubeconfig(path string) error {
	return cp.writeKubeconfig(path, clientcmdapi.AuthInfo{
		ClientCertificateData: cp.keys.adminCert,
		ClientKeyData:         cp.keys.adminKey,
	})
}

// KubeconfigFor writes a kubeconfig file with the token of a service account,
// which must exist.
func (cp *ControlPlane) KubeconfigFor(ctx context.Context, path, namespace, serviceAccount string) error {
	token, err := cp.TokenFor(ctx, namespace, serviceAccount)
	if err != nil {
		return err
	}
	return cp.writeKubeconfig(path, clientcmdapi.AuthInfo{Token: token})
}

// TokenFor asks the API for a bearer token of a service account, which must
// exist. It is good for 24 hours.
func (cp *ControlPlane) TokenFor(ctx context.Context, namespace, serviceAccount string) (string, error) {
	seconds := int64(tokenLife)
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}
	got, err := cp.client.CoreV1().ServiceAccounts(namespace).
		CreateToken(ctx, serviceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("get token of service account %s/%s: %w", namespace, serviceAccount, err)
	}
	return got.Status.Token, nil
}

func (cp *ControlPlane) writeKubeconfig(path string, user clientcmdapi.AuthInfo) error {
	const name = "end-to-end"
	config := clientcmdapi.NewConfig()
	config.Clusters[name] = &clientcmdapi.Cluster{Server: cp.Server(), CertificateAuthorityData: cp.keys.ca}
	config.AuthInfos[name] = &user
	config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	config.CurrentContext = name
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return fmt.Errorf("write kubeconfig: %w", err)
	}
	return nil
}
