package wire

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
)

// caFile is a PEM file with the certificate of a test server.
func caFile(t testing.TB, s *httptest.Server) string {
	return pemFile(t, s.Certificate().Raw)
}

func pemFile(t testing.TB, der []byte) string {
	return writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// An authority signs certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// Distinct names: two authorities with one name would be mistaken for each other.
	var serial [8]byte
	rand.Read(serial[:])
	template := &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:]), Subject: pkix.Name{CommonName: "test authority " + new(big.Int).SetBytes(serial[:]).String()},
		NotBefore: time.Now().Add(-10 * 365 * 24 * time.Hour), NotAfter: time.Now().Add(10 * 365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

func (a *authority) issue(from, to time.Time, usage x509.ExtKeyUsage, hosts ...string) tls.Certificate {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "server"}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func serveTLS(t testing.TB, cfg *tls.Config) *httptest.Server {
	s := httptest.NewUnstartedServer(says(pkt(one40+" refs/heads/main\n", "0000")))
	s.TLS = cfg
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func TestTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	now := time.Now()
	day := 24 * time.Hour
	server, client := x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth
	ca := pemFile(t, ours.cert.Raw)
	for _, c := range []struct {
		name  string
		cert  tls.Certificate
		code  godwit.Code
		words string
	}{
		{"good", ours.issue(now.Add(-day), now.Add(day), server, "127.0.0.1"), "", ""},
		{"unknown authority", theirs.issue(now.Add(-day), now.Add(day), server, "127.0.0.1"), godwit.CodeTLS, "ca_file"},
		{"expired", ours.issue(now.Add(-3*day), now.Add(-2*day), server, "127.0.0.1"), godwit.CodeTLS, "clock"},
		{"not yet", ours.issue(now.Add(2*day), now.Add(3*day), server, "127.0.0.1"), godwit.CodeTLS, "set its clock"},
		{"wrong host", ours.issue(now.Add(-day), now.Add(day), server, "git.example.org"), godwit.CodeTLS, "source.url"},
		{"not for servers", ours.issue(now.Add(-day), now.Add(day), client, "127.0.0.1"), godwit.CodeTLS, "repair"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{c.cert}})
			client := dial(t, Config{URL: s.URL + "/x.git", CAFile: ca})
			err := poll(client)
			if c.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				// What is counted is HTTP, not TLS: two small requests.
				if sent, received := client.Transferred(); sent < 300 || sent > 900 || received > 900 {
					t.Errorf("%d sent, %d received", sent, received)
				}
				return
			}
			codeIs(t, err, c.code)
			var e *godwit.Error
			if errors.As(err, &e); !strings.Contains(e.Text+e.Hint, c.words) {
				t.Errorf("%q (%q) does not say %q", e.Text, e.Hint, c.words)
			}
		})
	}
	good := ours.issue(now.Add(-day), now.Add(day), server, "127.0.0.1")
	t.Run("old version", func(t *testing.T) {
		s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		codeIs(t, poll(dial(t, Config{URL: s.URL + "/x.git", CAFile: ca})), godwit.CodeTLS)
	})
	t.Run("client certificate", func(t *testing.T) {
		s := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{good}, ClientAuth: tls.RequireAnyClientCert})
		err := poll(dial(t, Config{URL: s.URL + "/x.git", CAFile: ca}))
		codeIs(t, err, godwit.CodeTLS)
	})
	t.Run("plain", func(t *testing.T) {
		s := serve(t, func(http.ResponseWriter, *http.Request) {})
		codeIs(t, poll(dial(t, Config{URL: strings.Replace(s.URL, "http:", "https:", 1) + "/x.git"})), godwit.CodeTLS)
	})
	t.Run("mute", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		codeIs(t, poll(dial(t, Config{URL: "https://" + l.Addr().String() + "/x.git", ConnectTimeout: 50 * time.Millisecond})), godwit.CodeTimeout)
	})
	t.Run("web page", func(t *testing.T) {
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>hello") }))
		t.Cleanup(s.Close)
		codeIs(t, poll(dial(t, Config{URL: s.URL + "/x.git", CAFile: caFile(t, s)})), godwit.CodeProtocol)
	})
	t.Run("ca file", func(t *testing.T) {
		for _, f := range []string{filepath.Join(t.TempDir(), "none"), writeFile(t, filepath.Join(t.TempDir(), "x"), []byte("rubbish"))} {
			_, err := Dial(Config{URL: "https://h/x", CAFile: f})
			codeIs(t, err, godwit.CodeConfig)
		}
	})
	t.Run("date", func(t *testing.T) {
		const date = "Sat, 05 Dec 2026 10:00:00 GMT"
		say := func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Date", date) }
		proven := httptest.NewTLSServer(http.HandlerFunc(say))
		t.Cleanup(proven.Close)
		for _, c := range []struct{ url, want string }{{proven.URL, date}, {serve(t, say).URL, ""}} {
			got := ""
			poll(dial(t, Config{URL: c.url + "/x.git", CAFile: caFile(t, proven), OnDate: func(at time.Time) { got = at.Format(http.TimeFormat) }}))
			if got != c.want {
				t.Errorf("%s: the date is %q, not %q", c.url, got, c.want)
			}
		}
	})
	t.Run("real git", func(t *testing.T) {
		r := makeRepo(t, "sha1")
		h := r.host(githost.Config{TLS: func(l net.Listener) net.Listener {
			return tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{good}})
		}})
		syncOver(t, r, Config{URL: h.URL("repo.git"), CAFile: ca})
	})
	if _, err := os.Stat(ca); err != nil {
		t.Fatal(err)
	}
}
