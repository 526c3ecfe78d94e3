package cli_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/godwit-ota/godwit/source/github/fake"
)

// gitHubHosts are the names under which devices know GitHub.
var gitHubHosts = []string{"api.github.com", "raw.githubusercontent.com"}

var gitHubs sync.Map // *testscript.TestScript → *fake.Host

// startGitHub serves a repository as github.com/acme/station to those who have
// no other way out than a proxy, and sets the environment so: configurations that
// name nothing but owner and repo lead to it. github REPO.
func startGitHub(ts *testscript.TestScript, neg bool, args []string) {
	h, err := fake.New(fake.Config{Dir: ts.MkAbs(args[0])})
	ts.Check(err)
	h.Direct = true
	ts.Defer(h.Close)
	page, err := url.Parse(h.URL())
	ts.Check(err)
	raw, err := url.Parse(h.Raw())
	ts.Check(err)

	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	cert := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: gitHubHosts, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, &cert, &cert, &key.PublicKey, key)
	ts.Check(err)
	ca := ts.MkAbs("github.pem")
	ts.Check(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644))

	api := "http://" + page.Host + "/api/v3"
	https := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			if r.In.Host == gitHubHosts[0] {
				r.Out.URL.Path = "/api/v3" + r.In.URL.Path
				r.SetURL(&url.URL{Scheme: "http", Host: page.Host})
			} else {
				r.SetURL(raw)
			}
		},
		ModifyResponse: func(r *http.Response) error {
			b, err := io.ReadAll(r.Body)
			b = bytes.ReplaceAll(b, []byte(api), []byte("https://"+gitHubHosts[0]))
			r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
			r.Header.Set("Content-Length", strconv.Itoa(len(b)))
			return err
		},
	})
	https.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	https.StartTLS()
	ts.Defer(https.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "CONNECT" {
			http.Error(w, "only https goes through here", http.StatusForbidden)
			return
		}
		out, err := net.Dial("tcp", https.Listener.Addr().String())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, early, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer in.Close()
		io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n")
		go io.Copy(out, early)
		io.Copy(in, out)
	}))
	ts.Defer(proxy.Close)
	ts.Setenv("HTTPS_PROXY", proxy.URL)
	ts.Setenv("SSL_CERT_FILE", ca)
	gitHubs.Store(ts, h)
	ts.Defer(func() { gitHubs.Delete(ts) })
}

// publish shows a release on GitHub, with files attached to it: publish TAG
// [FILE…].
func publish(ts *testscript.TestScript, neg bool, args []string) {
	v, ok := gitHubs.Load(ts)
	if !ok {
		ts.Fatalf("publish comes after github")
	}
	r := fake.Release{Tag: args[0], Assets: map[string][]byte{}}
	for _, name := range args[1:] {
		b, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		r.Assets[filepath.Base(name)] = b
	}
	v.(*fake.Host).Publish(r)
}

// limit says how many requests GitHub allows in an hour from now: limit COUNT.
func limit(ts *testscript.TestScript, neg bool, args []string) {
	v, _ := gitHubs.Load(ts)
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	h := v.(*fake.Host)
	h.Limit, h.Reset = n, time.Now().Add(time.Hour)
	h.SetUsed(0)
}

// asked checks what was asked of GitHub since the last time: asked COUNT [PART
// OF A PATH].
func asked(ts *testscript.TestScript, neg bool, args []string) {
	v, _ := gitHubs.Load(ts)
	n := 0
	var all []string
	for _, q := range v.(*fake.Host).Requests() {
		all = append(all, q.Path+" → "+strconv.Itoa(q.Status))
		if len(args) < 2 || strings.Contains(q.Path, args[1]) {
			n++
		}
	}
	if strconv.Itoa(n) != args[0] {
		ts.Fatalf("%d of %d requests, not %s:\n%s", n, len(all), args[0], strings.Join(all, "\n"))
	}
}
