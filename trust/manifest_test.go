package trust

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit"
)

func fileStatement(text, signatures string) godwit.Statement {
	return godwit.Statement{Form: godwit.FileStatement, Body: strings.NewReader(text), Size: int64(len(text)), Signatures: []byte(signatures)}
}

// Signed manifests go through the same checks and give the same errors.
func TestManifests(t *testing.T) {
	o := newOffice(t)
	o.allow("bob", "")
	sum := strings.Repeat("ab", 32)
	text := func(version, more string) string {
		return `{"version": "` + version + `", "generated_at": "2026-12-01T12:00:00Z", ` + more + `"files": [{"path": "main.py", "size": 3, "sha256": "` + sum + `"}], "deletes": ["old.py"], "post_update": "hooks/post.py", "rollback": "hooks/undo.py"}`
	}
	good := text("v1.4.0", `"product": "station", "commit": "`+o.commit+`", "tree": "`+o.tree+`", `)
	sig := o.sign("alice", FileNamespace, good)
	two := sig + o.sign("bob", FileNamespace, good)
	g := o.gate(nil)
	admit := func(g *Gate, text, sig string, m godwit.Memory) (godwit.Verified, error) {
		return g.Admit(context.Background(), godwit.Release{Tip: godwit.Tip{Ref: "refs/tags/v1.4.0", Commit: o.commit}, Version: "v1.4.0", Statement: fileStatement(text, sig)}, m)
	}
	v, err := admit(g, good, sig, godwit.Memory{})
	code(t, err, "")
	if !v.Time.Equal(o.when) || v.Tree != o.tree || fmt.Sprint(v.Deletes) != "[old.py]" || v.PostUpdate != "hooks/post.py" || v.Undo != "hooks/undo.py" ||
		v.Memory.Version != "v1.4.0" || !v.Memory.Time.Equal(o.when) {
		t.Errorf("%+v", v)
	}
	signed := func(s string) (string, string) { return s, o.sign("alice", FileNamespace, s) }
	for what, tt := range map[string]struct {
		text, sig string
		memory    godwit.Memory
		threshold int
		want      godwit.Code
	}{
		"no signature":      {good, "", godwit.Memory{}, 1, godwit.CodeUnsigned},
		"changed":           {strings.Replace(good, "ab", "ba", 1), sig, godwit.Memory{}, 1, godwit.CodeBadSignature},
		"a stranger":        {good, o.sign("mallory", FileNamespace, good), godwit.Memory{}, 1, godwit.CodeUnknownSigner},
		"a tag's namespace": {good, o.sign("alice", TagNamespace, good), godwit.Memory{}, 1, godwit.CodeBadSignature},
		"lower":             {good, sig, godwit.Memory{Product: "station", Version: "v1.4.1"}, 1, godwit.CodeDowngrade},
		"too few":           {good, sig, godwit.Memory{}, 2, godwit.CodeThreshold},
		"two":               {good, two, godwit.Memory{}, 2, ""},
		"lines between":     {good, "\n" + strings.ReplaceAll(two, "-----END SSH SIGNATURE-----\n", "-----END SSH SIGNATURE-----\n\n"), godwit.Memory{}, 2, ""},
	} {
		_, err := admit(o.gate(func(c *Config) { c.Threshold = tt.threshold }), tt.text, tt.sig, tt.memory)
		if godwit.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
	}
	for what, tt := range map[string]struct {
		text string
		want godwit.Code
	}{
		"another name":    {text("v1.3.0", `"product": "station", `), godwit.CodeWrongName},
		"another product": {text("v1.4.0", `"product": "toaster", `), godwit.CodeWrongProduct},
		"no product":      {text("v1.4.0", ""), godwit.CodeWrongProduct},
		"another commit":  {text("v1.4.0", `"product": "station", "commit": "`+strings.Repeat("1", 40)+`", `), godwit.CodeTampered},
		"expired":         {text("v1.4.0", `"product": "station", "not_after": "2026-12-01T12:30:00Z", `), godwit.CodeExpired},
		"no JSON":         {"{", godwit.CodeBadManifest},
	} {
		text, sig := signed(tt.text)
		if _, err := admit(g, text, sig, godwit.Memory{}); godwit.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", what, err, tt.want)
		}
	}
}

// The reference's manifests, made by a few lines of Python, are taken with the
// right secret, and their age counts although the reference did not ask for it.
func TestHMAC(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed (apt install python3)")
	}
	make := func(version string) string {
		out, err := exec.Command("python3", "-c", `import json, hmac, sys
m = {"version": sys.argv[1], "generated_at": "2025-11-12T12:00:00Z", "files": [{"path": "main.py", "size": 3, "sha256": "ab" * 32, "crc32": 5}]}
body = json.dumps(m, sort_keys=True, separators=(",", ":")).encode()
m["signature"] = hmac.new(b"secret", body, "sha256").hexdigest()
print(json.dumps(m, indent=2))`, version).Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	gate := func(key string) *Gate {
		g, err := New(Config{Mode: HMAC, Key: []byte(key)})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	admit := func(g *Gate, text string, m godwit.Memory) (godwit.Verified, error) {
		return g.Admit(context.Background(), godwit.Release{Tip: godwit.Tip{Ref: "refs/tags/v1.4.0", Commit: "1"}, Version: "v1.4.0", Statement: fileStatement(text, "")}, m)
	}
	good := make("v1.4.0")
	for version, want := range map[string]godwit.Code{"dev": "", "1.4.0": "", "1.4": "", "v1.4.1": godwit.CodeWrongName} {
		_, err := admit(gate("secret"), make(version), godwit.Memory{})
		code(t, err, want)
	}
	v, err := admit(gate("secret"), good, godwit.Memory{})
	code(t, err, "")
	if v.Policy != "hmac" || v.Memory.Version != "v1.4.0" {
		t.Errorf("%+v", v)
	}
	_, err = admit(gate("secret"), good, godwit.Memory{Version: "v1.5.0"})
	code(t, err, godwit.CodeDowngrade)
	_, err = admit(gate("other"), good, godwit.Memory{})
	code(t, err, godwit.CodeBadSignature)
	_, err = admit(gate("secret"), strings.Replace(good, "main.py", "evil.py", 1), godwit.Memory{})
	code(t, err, godwit.CodeBadSignature)
	_, err = admit(gate("secret"), make("v1.3.0"), godwit.Memory{})
	code(t, err, godwit.CodeWrongName)
	_, err = admit(gate("secret"), `{"version": "v1.4.0", "files": []}`, godwit.Memory{})
	code(t, err, godwit.CodeUnsigned)
	undated := `{"version": "v1.5.0", "files": [], "product": "station", "signature": "` + "x" + `"}`
	out, err := exec.Command("python3", "-c", `import json, hmac, sys
m = json.loads(sys.argv[1]); del m["signature"]
m["signature"] = hmac.new(b"secret", json.dumps(m, sort_keys=True, separators=(",", ":")).encode(), "sha256").hexdigest()
print(json.dumps(m))`, undated).Output()
	if err != nil {
		t.Fatal(err)
	}
	_, err = gate("secret").Admit(context.Background(), godwit.Release{Version: "v1.5.0", Statement: fileStatement(string(out), "")}, v.Memory)
	code(t, err, "") // no time, and a product nobody asks for
	_, err = gate("secret").Admit(context.Background(), godwit.Release{Version: "main"}, godwit.Memory{})
	code(t, err, godwit.CodeUnsigned)
}
