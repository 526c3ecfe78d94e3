package sshsig

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"strconv"

	"github.com/godwit-ota/godwit"
)

// A List opens a list of keys. A nil List, or one that gives nil, is no list at
// all. Errors without a code become CodeIO.
type List func() (io.ReadCloser, error)

// maxLine is the length of the longest line of a list, in bytes. A 16384-bit
// RSA key takes 2,800.
const maxLine = 8 << 10

// A list is an open List.
type list struct {
	name string // what messages call it
	file io.ReadCloser
	*bufio.Reader
	number int // of the line that was read last
	key    [maxLine * 3 / 4]byte
}

// open returns nil when there is no list.
func (l List) open(name string) (*list, error) {
	if l == nil {
		return nil, nil
	}
	f, err := l()
	if err != nil {
		if godwit.CodeOf(err) != godwit.CodeFailed {
			return nil, err // it says itself what is wrong
		}
		return nil, unreadable(name, err)
	}
	if f == nil {
		return nil, nil
	}
	return &list{name: name, file: f, Reader: bufio.NewReaderSize(f, maxLine)}, nil
}

func (l *list) close() { l.file.Close() }

// line returns the next line that says something, without white space around
// it, and io.EOF after the last. It is valid until the next call.
func (l *list) line() ([]byte, error) {
	for {
		b, err := l.ReadSlice('\n')
		switch {
		case err == io.EOF && len(b) == 0:
			return nil, io.EOF
		case err == bufio.ErrBufferFull:
			l.number++
			return nil, l.malformed("it is longer than " + strconv.Itoa(maxLine) + " bytes")
		case err != nil && err != io.EOF:
			return nil, unreadable(l.name, err)
		}
		l.number++
		b = bytes.Trim(b, " \t\r\n")
		if bytes.IndexByte(b, 0) >= 0 {
			return nil, l.malformed("it has a zero byte")
		}
		if len(b) > 0 && b[0] != '#' {
			return b, nil
		}
	}
}

// publicKey reads "TYPE BASE64 COMMENT". errUnknownType is for a key whose type
// the base64 confirms and that is not known here.
func (l *list) publicKey(text []byte) (PublicKey, error) {
	name, text := word(text)
	encoded, _ := word(text)
	n, err := base64.StdEncoding.Strict().Decode(l.key[:], encoded)
	if err != nil || n == 0 {
		return PublicKey{}, errKeyForm
	}
	w := wire{b: l.key[:n]}
	if !bytes.Equal(w.str(), name) || len(name) == 0 {
		return PublicKey{}, errKeyForm
	}
	return parseKey(l.key[:n])
}

// word cuts text at its first white space.
func word(text []byte) (first, rest []byte) {
	if i := bytes.IndexAny(text, " \t"); i >= 0 {
		return text[:i], bytes.TrimLeft(text[i:], " \t")
	}
	return text, nil
}

func (l *list) malformed(why string) error {
	return godwit.Fail(godwit.CodeRefused, nil, "line "+strconv.Itoa(l.number)+" of "+l.name+" is malformed: "+why, "correct that line: nobody is trusted by a list with mistakes")
}

func unreadable(name string, err error) error {
	return godwit.Fail(godwit.CodeIO, err, name+" cannot be read", "check that the file is there and may be read")
}

// Fingerprint returns "SHA256:…" of a public key as text, "TYPE BASE64". It
// fails with CodeRefused.
func Fingerprint(text string) (string, error) {
	k, err := new(list).publicKey([]byte(text))
	if err != nil {
		return "", godwit.Fail(godwit.CodeRefused, err, "the public key is not usable", "")
	}
	return k.Fingerprint(), nil
}
