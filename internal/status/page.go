package status

import (
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/term"
)

// style keeps to what every browser of the last ten years knows, in light and in
// dark. Heads are beside the texts where there is room, and above them on a phone.
const style = `:root{color-scheme:light dark;--b:#f6f7f5;--c:#fff;--t:#1c2321;--m:#5d6964;--l:#e1e5e2;--g:#1a7f4b;--o:#9a6200;--r:#c02b2b}
@media(prefers-color-scheme:dark){:root{--b:#121614;--c:#1b211e;--t:#e6ebe8;--m:#98a59f;--l:#2c3531;--g:#4ecb8b;--o:#e5ab45;--r:#ff8078}}
*{box-sizing:border-box}
body{margin:0;background:var(--b);color:var(--t);font:16px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:46rem;margin:0 auto;padding:1rem}
header{padding:.25rem 0 1rem}
h1{font-size:1.6rem;line-height:1.2;margin:0 0 .4rem}
p{margin:0;color:var(--m);font-size:.9rem}
b{display:inline-block;color:var(--c);background:var(--g);border-radius:1em;padding:.1rem .7rem;margin-right:.5rem}
b.o{background:var(--o)}b.r{background:var(--r)}
dl{margin:0;background:var(--c);border:1px solid var(--l);border-radius:.6rem}
div{padding:.55rem .9rem;border-top:1px solid var(--l)}
div:first-child{border-top:0}
dt{color:var(--m);font-size:.85rem}
dd{margin:0;white-space:pre-line}
div.o *{color:var(--o)}div.r *{color:var(--r)}
footer{padding:1rem 0;font-size:.9rem;color:var(--m)}
a{color:inherit;margin-right:1rem}
@media(min-width:36rem){div{display:flex}dt{flex:0 0 7.5rem;padding-top:.1rem}dd{flex:1;min-width:0}}
`

// escapeHTML is html.EscapeString without the names of 2,231 characters, which would
// cost 60 kB.
var escapeHTML = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// Page is the status as a page of HTML, with the rows of Text. It needs nothing but
// itself, runs no script, and loads itself again.
func Page(s *Status, now time.Time) []byte {
	var b strings.Builder
	esc := func(text string) string { return escapeHTML.Replace(strings.ToValidUTF8(term.Clean(text), "\uFFFD")) }
	title := s.Running.Name
	if title == "" {
		title = Title(s.Running)
	}
	b.WriteString("<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\"><meta http-equiv=refresh content=30>\n<title>" +
		esc(title+", "+s.State()) + "</title>\n<style>\n" + style + "</style>\n<main><header><h1>" + esc(title) + "</h1>\n<p><b" + class(s.mark()) + ">" + esc(s.State()) + "</b>" +
		esc(s.Device) + "</p></header>\n<dl>\n")
	all := s.rows(now, false)
	for len(all) > 0 {
		n, most := 1, all[0].mark
		for n < len(all) && all[n].head == "" {
			most = max(most, all[n].mark)
			n++
		}
		b.WriteString("<div" + class(most) + "><dt>" + esc(all[0].head) + "</dt><dd>")
		for i, r := range all[:n] {
			if i > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(esc(r.text))
		}
		b.WriteString("</dd></div>\n")
		all = all[n:]
	}
	b.WriteString("</dl>\n<footer><a href=/status.json>status.json</a> <a href=/log.json>log.json</a> <a href=/metrics>metrics</a><p>" +
		esc("as of "+s.At.Local().Format("2006-01-02 15:04:05")+", Godwit "+s.Version) + "</p></footer></main></html>\n")
	return []byte(b.String())
}

// class is the attribute of what has a mark.
func class(m mark) string { return [...]string{"", " class=o", " class=r"}[m] }

// mark is how much the state matters.
func (s *Status) mark() mark {
	switch s.State() {
	case "confirmed":
		return plain
	case "on trial", "nothing installed":
		return odd
	}
	return alarm
}
