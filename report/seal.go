package report

import (
	"encoding/hex"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
)

// Namespace is what a signature of a report is made for, as ssh-keygen -Y verify
// -n takes it.
const Namespace = "report@godwit"

// format is the number of the format of reports.
const format = 1

// Limits on texts, in bytes.
const (
	maxText   = 255
	maxReason = 512
	maxID     = 64
)

// check refuses a report that cannot be sent and fills in what is left to us.
func (r *Reporter) check(rep *Report) error {
	device := r.cfg.Device
	if device == "" || device != clean(device, maxText) || strings.ContainsAny(device, `,"`) {
		return godwit.Fail(godwit.CodeConfig, nil, "the id of this device cannot stand in a report",
			"give the device an id of at most 255 bytes, without commas, quotes and control characters")
	}
	switch rep.Verdict {
	case Confirmed, RolledBack, Failed:
	default:
		return godwit.Fail(godwit.CodeUsage, nil, "a report has no verdict that is known", "")
	}
	if rep.ID == "" {
		var b [16]byte
		if _, err := io.ReadFull(r.cfg.Random, b[:]); err != nil {
			return godwit.Fail(godwit.CodeFailed, err, "there is no randomness for the id of a report", "")
		}
		rep.ID = hex.EncodeToString(b[:])
	}
	if !isID(rep.ID) {
		return godwit.Fail(godwit.CodeUsage, nil, "the id of a report is none", "")
	}
	if rep.Time.IsZero() {
		rep.Time = r.cfg.Now()
	}
	return nil
}

func isID(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return s != "" && len(s) <= maxID
}

// seal gives a report as it is sent:
//
//	{"report":REPORT,"signature":"-----BEGIN SSH SIGNATURE-----\n…"}
//
// The signature is over the bytes of REPORT. They are canonical JSON (RFC 8785):
// no white space, members in the order of their names, integers, and texts in
// which nothing needs an escape but the quote and the backslash. So a receiver
// that reads the report and writes it again gets the same bytes.
func (r *Reporter) seal(key *key, rep *Report, seq, dropped int64) ([]byte, error) {
	text := r.text(rep, seq, dropped)
	signature, err := key.sign(text)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(text)+len(signature)+64)
	b = append(append(append(b, `{"report":`...), text...), `,"signature":`...)
	return append(jsontext.Append(b, signature), '}'), nil
}

// text writes the members of a report in the order of their names.
func (r *Reporter) text(rep *Report, seq, dropped int64) []byte {
	b := []byte{'{'}
	for _, m := range [...]struct {
		name, text string
		number     int64
	}{
		{"boot", rep.Boot, 0},
		{"code", string(rep.Code), 0},
		{"commit", rep.Commit, 0},
		{"device", r.cfg.Device, 0},
		{"dropped", "", dropped},
		{"format", "", format},
		{"from", rep.From, 0},
		{"godwit", r.cfg.Version, 0},
		{"id", rep.ID, 0},
		{"reason", rep.Reason, 0},
		{"release", rep.Release, 0},
		{"seq", "", seq},
		{"time", rep.Time.UTC().Format(time.RFC3339), 0},
		{"tree", rep.Tree, 0},
		{"verdict", string(rep.Verdict), 0},
	} {
		most := maxText
		if m.name == "reason" {
			most = maxReason
		}
		start := len(b)
		b = append(append(append(b, `,"`...), m.name...), `":`...)
		switch {
		case m.text != "":
			b = jsontext.Append(b, clean(m.text, most))
		case m.number > 0 || m.name == "dropped":
			b = strconv.AppendInt(b, m.number, 10)
		default:
			b = b[:start]
		}
	}
	b[1] = '{' // in place of the first comma
	return append(b[1:], '}')
}

// clean makes a text fit for a report: valid UTF-8 on one line, without control
// characters and those that turn the direction of writing, of at most most bytes.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case r < ' ' || 0x7f <= r && r < 0xa0 || r == 0x2028 || r == 0x2029 || 0x202a <= r && r <= 0x202e || 0x2066 <= r && r <= 0x2069:
			return '?'
		}
		return r
	}, s[:min(len(s), 4*most)])
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
