package report

import (
	"context"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/vfs"
)

// A Place is where reports go.
type Place struct {
	// URL says where and how:
	//
	//	https://HOST/PATH          each report is one POST; also http://
	//	mqtts://HOST:8883/TOPIC    MQTT 5, QoS 1; also mqtt://, port 1883
	//	file:///PATH               a line for each report at the end of a file
	//
	// In TOPIC {device} stands for the device's id. USER:PASSWORD@ before HOST is
	// the same as User and Password. Secrets sent over http or mqtt can be read
	// on the way.
	URL      string
	User     string
	Password string
	Token    string // HTTP: Authorization: Bearer, in place of User
	ClientID string // MQTT: default "godwit-" and a hash of the device's id

	// MaxBytes is the size at which a file makes room: what is in it takes the
	// place of what is in PATH.1, and it begins anew. 1 MiB, at least 16 KiB.
	MaxBytes int64
	// FS is the file system of a file, rooted at its folder; nil is the
	// operating system's.
	FS vfs.FS
}

// Check finds mistakes that can be found without asking the place. It fails with
// CodeConfig.
func (p Place) Check() error { return (&Reporter{cfg: Config{Device: "device"}}).newPlace(p).bad }

// keySize is how many digits of a hash tell places apart.
const keySize = 16

func keyOf(address string) string { return sumOf([]byte(address))[:keySize] }

// A place is a Place in use.
type place struct {
	Place
	r    *Reporter
	u    *url.URL // without credentials
	key  string   // of its cursor
	host string   // for messages
	bad  error    // what is wrong with the Place

	opener func(context.Context) (way, error)

	fails int       // since it last took a report
	until time.Time // it is left alone until then

	// What one Send found, and what came of it.
	left []item
	due  time.Time
	sent int
	err  error
}

func (r *Reporter) newPlace(c Place) *place {
	p := &place{Place: c, r: r, host: "a place"}
	p.opener = p.way
	p.key = keyOf(c.URL)
	config := func(text, hint string) *place {
		p.bad = godwit.Fail(godwit.CodeConfig, nil, text, hint)
		return p
	}
	const kinds = "write https://HOST/PATH, mqtts://HOST/TOPIC or file:///PATH"
	u, err := url.Parse(c.URL)
	if err != nil {
		return config("the address of a place for reports is no URL", kinds)
	}
	if u.User != nil {
		if p.User == "" {
			p.User = u.User.Username()
			p.Password, _ = u.User.Password()
		}
		u.User = nil
	}
	p.u = u
	// Another password does not make another place of it.
	p.key = keyOf(u.String())
	p.host = u.Hostname()
	switch u.Scheme {
	case "http", "https":
	case "mqtt", "mqtts":
		if u.RawQuery != "" || u.Fragment != "" {
			return config("the address of the broker "+p.host+" has a \"?\" or \"#\" in it", "a topic cannot have a #; write a ? as %3F")
		}
		if t := p.topic(); t == "" || len(t) > 1024 || strings.ContainsAny(t, "+#\x00") || strings.HasPrefix(t, "$") {
			return config("reports to the broker "+p.host+" have no topic that can be published to",
				"write mqtts://"+p.host+"/TOPIC, without + and #; the id of the device counts as well")
		}
		if len(p.User) > 1024 || len(p.Password) > 32<<10 || len(p.ClientID) > 1024 {
			return config("the credentials for the broker "+p.host+" are too long", "")
		}
	case "file":
		p.host = u.Path
		if u.Host != "" || !path.IsAbs(u.Path) || u.Path != path.Clean(u.Path) || u.Path == "/" {
			return config("the address of a file for reports is none", "write file:///PATH")
		}
		p.MaxBytes = max(p.MaxBytes, 0)
		if p.MaxBytes == 0 {
			p.MaxBytes = 1 << 20
		}
		p.MaxBytes = max(p.MaxBytes, 16<<10)
		return p
	default:
		return config("a place for reports has an address of a kind that is not known", kinds)
	}
	if p.host == "" {
		return config("the address of a place for reports names no host", kinds)
	}
	return p
}

// way makes the way to a place.
func (p *place) way(ctx context.Context) (way, error) {
	switch {
	case p.bad != nil:
		return nil, p.bad
	case p.u.Scheme == "file":
		return p.openFile()
	}
	t, err := p.r.transport()
	switch {
	case err != nil:
		return nil, err
	case p.u.Scheme == "http" || p.u.Scheme == "https":
		return &web{p, t}, nil
	}
	return p.openMQTT(ctx, t)
}
