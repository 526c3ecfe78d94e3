package github

import (
	"strconv"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/internal/http1"
	"github.com/godwit-ota/godwit/internal/webclient"
	"github.com/godwit-ota/godwit/vfs"
)

// notes are small files in the state folder.
type notes struct {
	fsys   vfs.FS
	folder string
}

const maxNote = 64 << 10

func (n notes) Load(name string) ([]byte, error) {
	return vfs.ReadFile(n.fsys, n.folder+"/"+name, maxNote)
}

func (n notes) Save(name string, b []byte) error {
	if _, err := n.fsys.Lstat(n.folder); err != nil {
		return err // Describe makes it; until then nothing is remembered
	}
	return vfs.WriteFile(n.fsys, n.folder+"/"+name, b)
}

// answers are what the API said to the questions that are asked again and again,
// with their ETags: a conditional request that is answered with 304 does not
// count against GitHub's limit.
type answers struct {
	notes   notes
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
	list := []remembered(nil)
	ok := webclient.ReadNote(b, answersTitle, func(key, value string) {
		r := remembered{key: key}
		for _, into := range []*string{&r.url, &r.etag, &r.text} {
			q, err := strconv.QuotedPrefix(strings.TrimPrefix(value, " "))
			if err != nil {
				return
			}
			value = strings.TrimPrefix(value, " ")[len(q):]
			*into, _ = strconv.Unquote(q)
		}
		if len(list) < maxAnswers {
			list = append(list, r)
		}
	})
	if ok {
		m.list = list
	}
}

// get gives the answer that is remembered for a key, if it was to this question.
func (m *answers) get(key, url string) (answer, bool) {
	if key == "" {
		return answer{}, false
	}
	m.load()
	for _, r := range m.list {
		if r.key == key && r.url == url {
			return r.answer, true
		}
	}
	return answer{}, false
}

// put remembers an answer. It is saved when it is another one than before.
func (m *answers) put(key string, a answer) {
	if key == "" || a.etag == "" || len(a.url)+len(a.etag)+len(a.text) > maxAnswer {
		return
	}
	m.load()
	for i, r := range m.list {
		if r.key != key {
			continue
		}
		if r.answer == a {
			return
		}
		m.list = append(m.list[:i], m.list[i+1:]...)
		break
	}
	if m.list = append(m.list, remembered{key, a}); len(m.list) > maxAnswers {
		m.list = m.list[1:]
	}
	m.changed = true
	m.save()
}

// save loses nothing that is needed when it fails: a lost answer costs one
// request.
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
	notes            notes
	loaded, changed  bool
	limit, remaining int
	reset            time.Time
}

const (
	rateFile  = "rate-limit"
	rateTitle = "godwit rate-limit 1"
)

// see reads the header fields of GitHub (X-RateLimit-…) or GitLab (RateLimit-…).
func (r *rate) see(h http1.Header) {
	for _, prefix := range []string{"X-RateLimit-", "RateLimit-"} {
		limit, err1 := strconv.Atoi(h.Get(prefix + "Limit"))
		remaining, err2 := strconv.Atoi(h.Get(prefix + "Remaining"))
		reset, err3 := strconv.ParseInt(h.Get(prefix+"Reset"), 10, 64)
		if err1 != nil || err2 != nil || err3 != nil || limit <= 0 || remaining < 0 || reset <= 0 || reset > 1<<40 {
			continue
		}
		r.load()
		at := time.Unix(reset, 0).UTC()
		// What says the same for people is not written again.
		if d := at.Sub(r.reset).Abs(); limit != r.limit || d > 10*time.Minute || remaining*10/limit != r.remaining*10/max(r.limit, 1) {
			r.changed = true
		}
		r.limit, r.remaining, r.reset = limit, remaining, at
		return
	}
}

// usedUp takes note that the host answers no more.
func (r *rate) usedUp() {
	r.load()
	r.changed = r.changed || r.remaining != 0
	r.remaining = 0
}

func (r *rate) load() {
	if r.loaded {
		return
	}
	r.loaded = true
	b, err := r.notes.Load(rateFile)
	if err != nil {
		return
	}
	var n [3]int64
	ok := webclient.ReadNote(b, rateTitle, func(key, value string) {
		for i, k := range []string{"limit", "remaining", "reset"} {
			if k == key {
				n[i], _ = strconv.ParseInt(value, 10, 64)
			}
		}
	})
	if ok && n[0] > 0 && n[0] < 1<<31 && n[1] >= 0 && n[1] < 1<<31 {
		r.limit, r.remaining, r.reset = int(n[0]), int(n[1]), time.Unix(n[2], 0).UTC()
	}
}

func (r *rate) save() {
	if !r.changed {
		return
	}
	r.changed = false
	n := webclient.NewNote(rateTitle)
	n.Add("limit", strconv.Itoa(r.limit))
	n.Add("remaining", strconv.Itoa(r.remaining))
	n.Add("reset", strconv.FormatInt(r.reset.Unix(), 10))
	r.notes.Save(rateFile, n.Bytes())
}
