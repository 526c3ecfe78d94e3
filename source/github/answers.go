package github

import (
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/vfs"
)

// answers are what the API said to the questions that are asked again and again,
// with their ETags: a conditional request that is answered with 304 does not
// count against GitHub's limit for those who show a token.
type answers struct {
	notes   vfs.Notes
	loaded  bool
	changed bool
	list    []remembered // the one that was put last is the last
}

type remembered struct {
	key string
	answer
}

type answer struct{ url, etag, text string }

const (
	answersFile  = "answers"
	answersTitle = "godwit answers 1"
	maxAnswers   = 12
	maxAnswer    = 1 << 10
)

func (m *answers) load() {
	if m.loaded {
		return
	}
	m.loaded = true
	b, err := m.notes.Load(answersFile)
	if err != nil {
		return
	}
	var list []remembered
	ok := webclient.ReadNote(b, answersTitle, func(key, value string) {
		if v := unquote(value); len(v) == 3 && len(list) < maxAnswers {
			list = append(list, remembered{key, answer{v[0], v[1], v[2]}})
		}
	})
	if ok {
		m.list = list
	}
}

// unquote reads quoted words with spaces between them, nil if they are not that.
func unquote(s string) (words []string) {
	for s != "" {
		q, err := strconv.QuotedPrefix(s)
		if err != nil {
			return nil
		}
		w, _ := strconv.Unquote(q)
		words, s = append(words, w), strings.TrimPrefix(s[len(q):], " ")
	}
	return words
}

// get gives the answer that is remembered for a key, if it was to this question.
func (m *answers) get(key, url string) *answer {
	m.load()
	for i := range m.list {
		if r := &m.list[i]; r.key == key && r.url == url {
			return &r.answer
		}
	}
	return nil
}

// put remembers an answer.
func (m *answers) put(key string, a answer) {
	if key == "" || a.etag == "" || len(a.url)+len(a.etag)+len(a.text) > maxAnswer {
		return
	}
	m.load()
	for i := range m.list {
		if m.list[i].key == key {
			if m.list[i].answer == a {
				return
			}
			m.list = append(m.list[:i], m.list[i+1:]...)
			break
		}
	}
	if m.list = append(m.list, remembered{key, a}); len(m.list) > maxAnswers {
		m.list = m.list[1:]
	}
	m.changed = true
}

// save writes what has changed. It loses nothing that is needed when it fails: a
// lost answer costs one request.
func (m *answers) save() {
	if !m.changed {
		return
	}
	n := webclient.NewNote(answersTitle)
	for _, r := range m.list {
		n.Add(r.key, strconv.Quote(r.url)+" "+strconv.Quote(r.etag)+" "+strconv.Quote(r.text))
	}
	m.changed = m.notes.Save(answersFile, n.Bytes()) != nil
}

// A rate is what the host says about how often it may be asked.
type rate struct {
	limit, remaining int
	reset            int64 // seconds since 1970
}

const rateKey = "rate-limit"

// see reads the header fields of GitHub (X-RateLimit-…) or GitLab (RateLimit-…).
func (m *answers) see(h http1.Header) {
	prefix := "X-RateLimit-"
	if h.Get(prefix+"Limit") == "" {
		prefix = "RateLimit-"
	}
	if r := parseRate(h.Get(prefix+"Limit"), h.Get(prefix+"Remaining"), h.Get(prefix+"Reset")); r.limit > 0 {
		m.setRate(r)
	}
}

// parseRate gives limit 0 for what makes no sense.
func parseRate(limit, remaining, reset string) (r rate) {
	l, err1 := strconv.ParseUint(limit, 10, 31)
	n, err2 := strconv.ParseUint(remaining, 10, 31)
	at, err3 := strconv.ParseUint(reset, 10, 40)
	if err1 == nil && err2 == nil && err3 == nil {
		r = rate{int(l), int(n), int64(at)}
	}
	return r
}

func (m *answers) rate() (r rate) {
	if a := m.get(rateKey, ""); a != nil {
		if v := strings.Fields(a.text); len(v) == 3 {
			r = parseRate(v[0], v[1], v[2])
		}
	}
	return r
}

// setRate remembers a rate. What says about the same for people as before is not
// a reason to write.
func (m *answers) setRate(r rate) {
	if r.limit == 0 {
		return
	}
	old, changed := m.rate(), m.changed
	m.put(rateKey, answer{"", "-", strconv.Itoa(r.limit) + " " + strconv.Itoa(r.remaining) + " " + strconv.FormatInt(r.reset, 10)})
	if old.limit == r.limit && max(old.reset-r.reset, r.reset-old.reset) <= 600 && old.remaining*10/old.limit == r.remaining*10/r.limit {
		m.changed = changed
	}
}
