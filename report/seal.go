package report

import (
	"encoding/hex"
	"io"
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
	text := jsontext.Append(nil, r.fields(rep, seq, dropped))
	signature, err := key.sign(text)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(text)+len(signature)+64)
	b = append(append(append(b, `{"report":`...), text...), `,"signature":`...)
	return append(jsontext.Append(b, signature), '}'), nil
}

// fields are the members of a report, in the order of their names.
func (r *Reporter) fields(rep *Report, seq, dropped int64) jsontext.Fields {
	text := func(s string) string { return clean(s, maxText) }
	f := jsontext.Fields{}.
		With("boot", text(rep.Boot)).
		With("code", text(string(rep.Code))).
		With("commit", text(rep.Commit)).
		With("device", r.cfg.Device)
	f = append(f, jsontext.Field{Name: "dropped", Value: dropped}, jsontext.Field{Name: "format", Value: format})
	f = f.With("from", text(rep.From)).
		With("godwit", text(r.cfg.Version)).
		With("id", rep.ID).
		With("reason", clean(rep.Reason, maxReason)).
		With("release", text(rep.Release)).
		With("seq", seq).
		With("time", rep.Time.UTC().Format(time.RFC3339)).
		With("tree", text(rep.Tree)).
		With("verdict", string(rep.Verdict))
	return f
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
