package status

import (
	"context"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/godwit-ota/godwit/engine"
)

func TestPage(t *testing.T) {
	inUTC(t)
	for name, s := range map[string]*Status{"calm": calm(), "full": full(), "empty": {}} {
		page := string(Page(s, noon))
		if len(page) > 6000 {
			t.Errorf("%s: %d bytes", name, len(page))
		}
		for _, want := range []string{"<!DOCTYPE html>", "<meta name=viewport content=\"width=device-width,initial-scale=1\">", "<meta http-equiv=refresh content=30>", "prefers-color-scheme:dark"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: no %s", name, want)
			}
		}
		if strings.Contains(page, "<script") || strings.Contains(page, "http:") || strings.Contains(page, "https:") || strings.Contains(page, " src=") || strings.Contains(page, "url(") {
			t.Errorf("%s: the page needs more than itself", name)
		}
		// The words are those of the text.
		plain := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#39;", "'", "&amp;", "&").Replace(page)
		for line := range strings.Lines(s.Text(noon, false)) {
			if words := strings.TrimSuffix(line[13:], "\n"); !strings.Contains(plain, words) {
				t.Errorf("%s: the page does not say %q", name, words)
			}
		}
	}
}

// Nothing that comes from elsewhere becomes a part of the page.
func TestPageEscapes(t *testing.T) {
	if all := "func TestPageEscapes(t *testing.T) {<>\"'ab\n"; escapeHTML.Replace(all) != html.EscapeString(all) {
		t.Error(escapeHTML.Replace(all))
	}
	bad := `</dd></title></style><script>alert("1")</script><img src=x onerror='x'>&amp;` + "\x00\x1b\xff"
	s := full()
	for _, text := range []*string{&s.Running.Name, &s.Running.Ref, &s.Running.Signers, &s.Device, &s.Version, &s.Root, &s.Quota, &s.Channel.Name, &s.Channel.Release,
		&s.LastCheck.Text, &s.LastError.Text, &s.Health.Output, &s.Agent.Why, &s.Agent.Doing, &s.Agent.Waiting.Release, &s.Rejected[0].Name, &s.Rejected[0].Reason, &s.Hardware[0].Text, &s.Trust.Product} {
		*text = bad
	}
	s.Hooks = []engine.Remark{{At: noon, Key: bad, Text: bad}}
	page := string(Page(s, noon))
	tag := regexp.MustCompile(`<[^>]*>`)
	for _, m := range tag.FindAllString(page, -1) {
		if !regexp.MustCompile(`^</?(!DOCTYPE html|html|meta|title|style|main|header|h1|p|b|dl|div|dt|dd|footer|a)( (lang=en|charset=utf-8|name=viewport|content="width=device-width,initial-scale=1"|http-equiv=refresh|content=30|class=[or]|href=/[a-z.]+))*>$`).MatchString(m) {
			t.Errorf("the page has %q", m)
		}
	}
	if strings.ContainsAny(page, "\x00\x1b") || !utf8.ValidString(page) {
		t.Error("the page has control characters")
	}
}

// chromium shows an address and returns what it prints.
func chromium(t *testing.T, flags ...string) string {
	t.Helper()
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			browser = p
			break
		}
	}
	if browser == "" {
		t.Skip("SKIPPED: there is no chromium (apt-get install chromium), so nobody has looked at the page")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, append([]string{"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run",
		"--user-data-dir=" + t.TempDir()}, flags...)...)
	var out, complaint strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &complaint)
	}
	return out.String()
}

// A browser shows the page on a phone, 360 pixels wide, without a scroll bar at the
// bottom. With GODWIT_SHOTS pictures are left in that folder, to look at.
func TestPageInABrowser(t *testing.T) {
	inUTC(t)
	folder := os.Getenv("GODWIT_SHOTS")
	if folder == "" {
		folder = t.TempDir()
	}
	s := full()
	s.LastError.Text = "a word that is too long for a phone: " + strings.Repeat("x", 200)
	for name, s := range map[string]*Status{"calm": calm(), "full": s} {
		// In a frame, since the window of a browser is not made as narrow as a phone.
		frame := filepath.Join(folder, name+".html")
		if err := os.WriteFile(frame, []byte("<!DOCTYPE html><title>?</title><body style=margin:0><iframe width=360 height=740 style=border:0 srcdoc='"+html.EscapeString(string(Page(s, noon)))+
			"' onload=\"const d=this.contentDocument.documentElement;document.title=d.scrollWidth+' by '+d.scrollHeight\"></iframe>"), 0o600); err != nil {
			t.Fatal(err)
		}
		dom := chromium(t, "--dump-dom", "file://"+frame)
		if !strings.Contains(dom, "<title>360 by ") {
			t.Errorf("%s: the page is as wide as %.120q says", name, dom)
		}
		if os.Getenv("GODWIT_SHOTS") == "" {
			continue
		}
		_, address := start(t, "127.0.0.1:0", always(s))
		for look, flags := range map[string][]string{
			"phone": {"--window-size=500,840", "file://" + frame}, "phone-dark": {"--window-size=500,840", "--force-dark-mode", "--blink-settings=preferredColorScheme=0", "file://" + frame},
			"wide": {"--window-size=1000,1000", "http://" + address},
		} {
			chromium(t, append([]string{"--screenshot=" + filepath.Join(folder, name+"-"+look+".png")}, flags...)...)
		}
	}
}
