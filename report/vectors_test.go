package report

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/trust/sshsig"
)

var update = flag.Bool("update", false, "make the test vectors anew")

// vectorFile is for other programs as well.
const vectorFile = "../docs/vectors/report.json"

// A vector is a line that a receiver gets, and what it is to make of it.
type vector struct {
	Name           string `json:"name"`
	Line           string `json:"line"`
	Device         string `json:"device"` // that it is said to come from
	AllowedSigners string `json:"allowed_signers"`
	// Verdict is "accepted" or why it is not: "malformed", "bad-signature",
	// "unknown-signer" or "other-device".
	Verdict string `json:"verdict"`
}

type vectors struct {
	About   string   `json:"about"`
	Seed    string   `json:"seed"` // of the private key, RFC 8032, 5.1.5
	Vectors []vector `json:"vectors"`
}

func readVectors(t *testing.T) (v vectors) {
	t.Helper()
	b, err := os.ReadFile(vectorFile)
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) < 8 {
		t.Fatalf("only %d vectors: looking in the wrong place", len(v.Vectors))
	}
	return v
}

// judged is what a receiver in Go makes of a line.
func judged(line, device, allowed string) string {
	var s sealed
	if json.Unmarshal([]byte(line), &s) != nil || len(s.Report) == 0 {
		return "malformed"
	}
	sig, rest, err := sshsig.Parse([]byte(s.Signature))
	if err != nil || len(rest) > 0 {
		return "malformed"
	}
	if sig.Verify(bytes.NewReader(s.Report), Namespace) != nil {
		return "bad-signature"
	}
	signers, err := sshsig.Find(func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(allowed)), nil }, sig.Key, Namespace)
	if err != nil {
		return "unknown-signer"
	}
	for _, one := range signers {
		if one.Principal == device && one.ValidAt(noon) {
			var c content
			if json.Unmarshal(s.Report, &c) != nil || c.Device != device {
				return "other-device"
			}
			return "accepted"
		}
	}
	return "unknown-signer"
}

func TestVectors(t *testing.T) {
	if *update {
		makeVectors(t)
	}
	all := readVectors(t)
	for _, v := range all.Vectors {
		if got := judged(v.Line, v.Device, v.AllowedSigners); got != v.Verdict {
			t.Errorf("%s: %s, want %s", v.Name, got, v.Verdict)
		}
	}
	// The first is what we make of this report with that key, byte for byte.
	file := filepath.Join(t.TempDir(), "key")
	seedKey(t, file, all.Seed)
	if line := firstLine(t, file); line != all.Vectors[0].Line {
		t.Errorf("%s\nis not\n%s", line, all.Vectors[0].Line)
	}
}

// TestVectorsElsewhere has ssh-keygen judge the vectors, by the script of the
// docs.
func TestVectorsElsewhere(t *testing.T) {
	if _, err := exec.LookPath("ssh-keygen"); err != nil {
		t.Skip("ssh-keygen is not installed")
	}
	for _, v := range readVectors(t).Vectors {
		cmd := exec.Command("sh", "-ec", shellOf(t))
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "DEVICE="+v.Device)
		cmd.Stdin = strings.NewReader(v.Line + "\n")
		if err := os.WriteFile(filepath.Join(cmd.Dir, "allowed_signers"), []byte(v.AllowedSigners), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		// That the name in the report is the signer's is for the receiver to see.
		if want := v.Verdict == "accepted" || v.Verdict == "other-device"; (err == nil) != want {
			t.Errorf("%s: ssh-keygen says %v, and the verdict is %s\n%s", v.Name, err, v.Verdict, out)
		}
	}
}

// seedKey writes a key and returns the public one.
func seedKey(t *testing.T, file, seed string) (public string) {
	t.Helper()
	b, err := hex.DecodeString(seed)
	if err == nil {
		err = os.WriteFile(file, []byte(keyText(ed25519.NewKeyFromSeed(b), "test vectors")), 0o600)
	}
	if err == nil {
		public, _, err = NewKey(file, "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return public
}

// firstLine is a report with everything in it.
func firstLine(t *testing.T, file string) string {
	t.Helper()
	k, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	r := New(Config{Device: "station-7", Version: "v1.2.3"})
	line, err := r.seal(k, &Report{ID: "9f86d081884c7d659a2feaa0c55ad015", Verdict: RolledBack, Code: "hook", Reason: "the health check said \"größer als C:\\max\"",
		Release: "v1.4.0", Commit: strings.Repeat("3f", 20), Tree: "sha256:" + strings.Repeat("0a", 32), From: "v1.3.2",
		Boot: "5d1c3f0e-8f6a-4b7e-9d3a-2f1e0c9b8a7d", Time: noon.Add(90 * time.Minute)}, 42, 3)
	if err != nil {
		t.Fatal(err)
	}
	return string(line)
}

// makeVectors writes the file.
func makeVectors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "key")
	// The keys of RFC 8032, 7.1, tests 1 and 2: secret they are not.
	const seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
	public := seedKey(t, file, seed)
	other := seedKey(t, filepath.Join(dir, "other"), "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
	v := vectors{About: "Test vectors for docs/reports.md. All are signed by the ed25519 key with this seed, which is that of RFC 8032, 7.1, test 1.", Seed: seed}
	first, allowed := firstLine(t, file), `station-7 namespaces="report@godwit" `+public+"\n"
	add := func(name, line, device, allowed, verdict string) {
		v.Vectors = append(v.Vectors, vector{name, line, device, allowed, verdict})
	}
	add("everything in it", first, "station-7", allowed, "accepted")
	k, err := loadKey(file)
	if err != nil {
		t.Fatal(err)
	}
	short, err := New(Config{Device: "station-7"}).seal(k, &Report{ID: "x", Verdict: Confirmed, Time: noon}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	add("next to nothing in it", string(short), "station-7", allowed, "accepted")
	add("among others", first, "station-7", "# devices\nstation-8 "+other+"\n"+allowed, "accepted")
	add("another verdict", strings.Replace(first, "rolled-back", "confirmed", 1), "station-7", allowed, "bad-signature")
	add("another order", strings.Replace(first, `"dropped":3,"format":1`, `"format":1,"dropped":3`, 1), "station-7", allowed, "bad-signature")
	add("a space", strings.Replace(first, `"dropped":3`, `"dropped": 3`, 1), "station-7", allowed, "bad-signature")
	add("the signature of another report", first[:strings.Index(first, `,"signature"`)]+string(short[bytes.Index(short, []byte(`,"signature"`)):]), "station-7", allowed, "bad-signature")
	add("no signature", first[:strings.Index(first, `,"signature"`)]+`,"signature":""}`, "station-7", allowed, "malformed")
	add("cut", first[:len(first)/2], "station-7", allowed, "malformed")
	add("another device's key", first, "station-8", "station-8 "+other+"\n", "unknown-signer")
	add("a key for something else", first, "station-7", `station-7 namespaces="git" `+public+"\n", "unknown-signer")
	add("another device's report, signed by the key of this one", first, "station-8", "station-8 "+public+"\n", "other-device")
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorFile, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
