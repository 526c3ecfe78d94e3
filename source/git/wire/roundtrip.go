package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/http1"
)

// newRoundTripper makes a transport with small buffers, whose
// connections count, and give up on a silent host.
func newRoundTripper(cfg *Config, count *traffic) (*http1.Transport, error) {
	proxy, err := parseProxy(cfg.Proxy)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12}
	if cfg.CAFile != "" {
		if secure.RootCAs, err = rootsWith(cfg.CAFile); err != nil {
			return nil, err
		}
	}
	return &http1.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			d := net.Dialer{Timeout: cfg.ConnectTimeout, KeepAlive: 30 * time.Second}
			c, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &patientConn{c, patience{idle: cfg.IdleTimeout, minRate: int64(cfg.MinRate)}}, nil
		},
		Wrap:                func(c net.Conn) net.Conn { return &countedConn{c, count} },
		TLSClientConfig:     secure,
		TLSHandshakeTimeout: cfg.ConnectTimeout,
		IdleConnTimeout:     cfg.IdleTimeout,
		ReadBufferSize:      8 << 10,
		WriteBufferSize:     4 << 10,
	}, nil
}

// rootsWith gives the system's certificate authorities and those in a file.
func rootsWith(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, godwit.Fail(godwit.CodeConfig, err, "the file with certificate authorities cannot be read", "check source.ca_file")
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, godwit.Fail(godwit.CodeConfig, nil, "there is no certificate in "+file,
			"source.ca_file takes certificates in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return pool, nil
}
