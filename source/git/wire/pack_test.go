package wire

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/githost"
)

func TestPackThatEnds(t *testing.T) {
	pack := strings.Repeat("PACKDATA", 1000)
	whole := pkt("packfile\n", "\x01"+pack, "\x02progress", "\x01"+pack, "0000")
	for name, c := range map[string]struct {
		body string
		code godwit.Code
	}{
		"whole":            {whole, ""},
		"keep-alive":       {pkt("packfile\n", "\x01", "\x01"+pack, "\x01"+pack, "0000"), ""},
		"cut in a packet":  {whole[:5000], godwit.CodeNetwork},
		"cut in a length":  {whole[:len(whole)-2], godwit.CodeNetwork},
		"cut at a packet":  {whole[:len(whole)-4], godwit.CodeNetwork},
		"error band":       {pkt("packfile\n", "\x01PACK", "\x03fatal: out of memory\n", "0000"), godwit.CodeProtocol},
		"band 7":           {pkt("packfile\n", "\x07PACK", "0000"), godwit.CodeProtocol},
		"no band":          {pkt("packfile\n") + "0004", godwit.CodeProtocol},
		"delimiter":        {pkt("packfile\n", "\x01PACK", "0001"), godwit.CodeProtocol},
		"malformed length": {pkt("packfile\n", "\x01PACK") + "zzzz", godwit.CodeProtocol},
		"ERR in the pack":  {pkt("packfile\n", "\x01PACK", "ERR upload-pack: not our ref x", "0000"), godwit.CodeMissingObject},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, says(c.body))
			r, _, err := dial(t, Config{URL: s.URL + "/x.git"}).Fetch(context.Background(), FetchRequest{Want: []string{one40}})
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if c.code == "" {
				if err != nil || string(b) != pack+pack {
					t.Fatalf("%d bytes, %v", len(b), err)
				}
			} else {
				codeIs(t, err, c.code)
				if _, again := r.Read(make([]byte, 1)); again != err {
					t.Fatalf("the error did not stick: %v", again)
				}
			}
			r.Close()
		})
	}
	for name, body := range map[string]string{
		"flush first":     pkt("0000"),
		"unknown section": pkt("packfile-uris\n", "x\n", "0001", "packfile\n"),
		"not ready":       pkt("acknowledgments\n", "NAK\n", "0000"),
		"bad shallow":     pkt("shallow-info\n", "shallow x\n", "0001", "packfile\n"),
		"bad ack":         pkt("acknowledgments\n", "ACK x\n", "0001", "packfile\n"),
		"pack too early":  pkt("acknowledgments\n", "ACK "+one40+"\n", "0001", "packfile\n"),
	} {
		s := serve(t, says(body))
		_, _, err := dial(t, Config{URL: s.URL + "/x.git"}).Fetch(context.Background(), FetchRequest{Want: []string{one40}})
		if godwit.CodeOf(err) != godwit.CodeProtocol {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := serve(t, says(pkt("acknowledgments\n", "ACK "+one40+"\n", "ready\n", "0001", "shallow-info\n", "shallow "+one40+"\n", "unshallow "+zero40+"\n", "0001", "packfile\n", "\x01x", "0000")))
	r, info, err := dial(t, Config{URL: s.URL + "/x.git"}).Fetch(context.Background(), FetchRequest{Want: []string{one40}})
	if err != nil || len(info.Common) != 1 || len(info.Shallow) != 1 || len(info.Unshallow) != 1 {
		t.Fatalf("%+v, %v", info, err)
	}
	r.Close()
	for name, bad := range map[string]FetchRequest{
		"nothing": {}, "short": {Want: []string{"abc"}}, "upper": {Want: []string{strings.Repeat("A", 40)}}, "filter": {Want: []string{one40}, Filter: "a\nb"},
		"have": {Want: []string{one40}, Have: seq("x")},
	} {
		if _, _, err := dial(t, Config{URL: s.URL + "/x.git"}).Fetch(context.Background(), bad); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
}

func TestSidebandAll(t *testing.T) {
	r := makeRepo(t, "sha1")
	h := r.host(githost.Config{Config: map[string]string{"uploadpack.allowSidebandAll": "true"}})
	c := dial(t, Config{URL: h.URL("repo.git")})
	caps, err := c.Capabilities(context.Background())
	if err != nil || !caps.sidebandAll {
		t.Fatalf("%+v %v", caps, err)
	}
	dir := t.TempDir()
	git(t, dir, "init", "-q", "--bare")
	_, info := fetchInto(t, c, dir, FetchRequest{Want: []string{r.new}, Depth: 1})
	if len(info.Shallow) != 1 {
		t.Fatalf("%+v", info)
	}
}
