package fake

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// content sends a file, or a range of it.
func content(w http.ResponseWriter, r *http.Request, b []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("ETag", `"`+strconv.Itoa(len(b))+"-"+strconv.FormatUint(uint64(sum(b)), 16)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

func sum(b []byte) (n uint32) {
	for _, c := range b {
		n = n*31 + uint32(c)
	}
	return n
}

// A stored object is a tag or a commit as git has it.
type stored struct {
	raw       string
	payload   string // without its signature; "" if it has none
	signature string
	header    map[string][]string
	message   string // with a tag's signature
}

// read reads a tag or a commit.
func (h *Host) read(kind, id string) (o stored, ok bool) {
	if strings.HasPrefix(id, "-") {
		return o, false
	}
	raw, err := h.git("cat-file", kind, id)
	if err != nil {
		return o, false
	}
	o.raw = raw
	head, message, _ := strings.Cut(raw, "\n\n")
	o.message = message
	o.header = make(map[string][]string)
	last := ""
	var kept []string
	for line := range strings.SplitSeq(head, "\n") {
		if more, ok := strings.CutPrefix(line, " "); ok && last != "" {
			n := len(o.header[last]) - 1
			o.header[last][n] += "\n" + more
		} else {
			var value string
			last, value, _ = strings.Cut(line, " ")
			o.header[last] = append(o.header[last], value)
		}
		if last != "gpgsig" {
			kept = append(kept, line)
		}
	}
	if s := o.header["gpgsig"]; s != nil {
		o.signature, o.payload = s[0], strings.Join(kept, "\n")+"\n\n"+message
	}
	if i := strings.LastIndex(message, "-----BEGIN SSH SIGNATURE-----"); kind == "tag" && i >= 0 {
		o.signature = message[i:]
		o.payload = strings.TrimSuffix(raw, o.signature)
	}
	return o, true
}

func (o *stored) first(key string) string {
	if v := o.header[key]; v != nil {
		return v[0]
	}
	return ""
}

// person takes "NAME <EMAIL> SECONDS ZONE" apart. local keeps the zone.
func person(s string, local bool) object {
	name, rest, _ := strings.Cut(s, " <")
	email, when, _ := strings.Cut(rest, "> ")
	seconds, zone, _ := strings.Cut(when, " ")
	n, _ := strconv.ParseInt(seconds, 10, 64)
	at := time.Unix(n, 0).UTC()
	if z, err := time.Parse("-0700", zone); err == nil && local {
		at = at.In(z.Location())
	}
	return object{"name": name, "email": email, "date": at.Format(time.RFC3339)}
}

// verification is GitHub's, and Gitea's.
func verification(o stored) object {
	v := object{"verified": false, "reason": "unsigned", "payload": nil, "signature": nil, "verified_at": nil}
	if o.payload != "" {
		v["reason"], v["payload"], v["signature"] = "unknown_key", o.payload, strings.TrimSuffix(o.signature, "\n")
	}
	return v
}

// An entry is one of a tree.
type entry struct {
	mode, kind, id, path string
	size                 int64
}

// tree lists a tree, in git's order, folders too. ok is false if there is none.
func (h *Host) tree(id string, recursive bool) (list []entry, ok bool) {
	args := []string{"ls-tree", "-l", "-z", "-t"}
	if recursive {
		args = append(args, "-r")
	}
	out, err := h.git(append(args, id)...)
	if err != nil || strings.HasPrefix(id, "-") {
		return nil, false
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(out, "\x00"), "\x00") {
		head, path, ok := strings.Cut(line, "\t")
		f := strings.Fields(head)
		if !ok || len(f) != 4 {
			continue
		}
		size, err := strconv.ParseInt(f[3], 10, 64)
		if err != nil {
			size = -1
		}
		list = append(list, entry{f[0], f[1], f[2], path, size})
	}
	return list, true
}

// refs lists the references that begin with a prefix, such as "tags/v1".
func (h *Host) refs(prefix string) []object {
	list := []object{}
	out, _ := h.git("for-each-ref", "--format=%(refname) %(objecttype) %(objectname)", "refs/")
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if strings.HasPrefix(f[0], "refs/"+prefix) {
			list = append(list, object{"ref": f[0], "node_id": "R_1", "url": h.api.URL + "/git/" + f[0],
				"object": object{"type": f[1], "sha": f[2], "url": h.api.URL + "/git/" + f[1] + "s/" + f[2]}})
		}
	}
	return list
}
