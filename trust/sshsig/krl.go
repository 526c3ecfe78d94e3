package sshsig

import (
	"bufio"
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math"

	"github.com/godwit-ota/godwit"
)

// krlMagic is what a KRL begins with.
const krlMagic = "SSHKRL\n\x00"

// The sections of a KRL, PROTOCOL.krl.
const (
	krlVersion = 1

	krlCertificates = 1
	krlKeys         = 2
	krlSHA1         = 3
	krlSignature    = 4
	krlSHA256       = 5
	krlExtension    = 255

	krlSerials     = 0x20
	krlSerialRange = 0x21
	krlBitmap      = 0x22
	krlKeyIDs      = 0x23
	krlCertExt     = 0x39
)

// A section is a part of a KRL of known length, with sections in it. All
// sections of one KRL share its reader and its first error; after an error,
// every section is at its end.
type section struct {
	in   *bufio.Reader
	left uint64
	err  *error
}

var errKRL = errors.New("lengths do not fit")

func (s *section) fail(err error) { s.left, *s.err = 0, cmp.Or(*s.err, err) }

// more reports whether something of s is left.
func (s *section) more() bool { return *s.err == nil && s.left > 0 }

// read fills b.
func (s *section) read(b []byte) bool {
	if *s.err != nil || s.left < uint64(len(b)) {
		s.fail(errKRL)
		return false
	}
	s.left -= uint64(len(b))
	if _, err := io.ReadFull(s.in, b); err != nil {
		s.fail(err)
		return false
	}
	return true
}

func (s *section) u8() byte {
	var b [1]byte
	s.read(b[:])
	return b[0]
}

func (s *section) u64() uint64 {
	var b [8]byte
	if !s.read(b[:]) {
		return 0
	}
	return binary.BigEndian.Uint64(b[:])
}

// str begins a string within s. It has to be read to its end before s is read
// on.
func (s *section) str() section {
	var b [4]byte
	sub := section{in: s.in, err: s.err}
	if !s.read(b[:]) {
		return sub
	}
	sub.left = uint64(binary.BigEndian.Uint32(b[:]))
	if sub.left > s.left {
		sub.fail(errKRL)
		return sub
	}
	s.left -= sub.left
	return sub
}

// end fails unless s was read to its end.
func (s *section) end() {
	if s.left > 0 {
		s.fail(errKRL)
	}
}

func (s *section) skip() {
	for s.more() {
		n, err := s.in.Discard(int(min(s.left, 1<<20)))
		s.left -= uint64(n)
		if err != nil {
			s.fail(err)
		}
	}
}

// is reads s to its end and reports whether it is one of want.
func (s *section) is(want ...[]byte) bool {
	var buf [64]byte
	length, at := s.left, 0
	equal := make([]bool, len(want))
	for i := range want {
		equal[i] = uint64(len(want[i])) == length && length > 0
	}
	for s.more() {
		b := buf[:min(s.left, uint64(len(buf)))]
		if !s.read(b) {
			return false
		}
		for i := range want {
			equal[i] = equal[i] && string(want[i][at:at+len(b)]) == string(b)
		}
		at += len(b)
	}
	for i := range want {
		if equal[i] && *s.err == nil {
			return true
		}
	}
	return false
}

// krl reads a KRL and reports whether it revokes key. It reads no further than
// to the first entry that does.
func (l *list) krl(key *PublicKey) (bool, error) {
	var failed error
	top := section{in: l.Reader, left: math.MaxUint64, err: &failed}
	in := top.revokes(l, key)
	switch {
	case in:
		return true, nil
	case failed == nil:
		return false, nil
	case errors.Is(failed, errKRL), errors.Is(failed, io.EOF), errors.Is(failed, io.ErrUnexpectedEOF):
		return false, godwit.Fail(godwit.CodeRefused, nil, revokedName+" is a malformed KRL", "make it again with ssh-keygen -k: nobody is trusted before it is right")
	}
	return false, unreadable(revokedName, failed)
}

func (s *section) revokes(l *list, key *PublicKey) bool {
	var keys [][]byte // the key, and what certified it
	if key.plain != nil {
		keys = append(keys, key.plain)
	}
	if key.cert != nil {
		keys = append(keys, key.cert.ca.plain)
	}
	var sums1, sums256 [][]byte
	for _, k := range keys {
		sum1, sum256 := sha1.Sum(k), sha256.Sum256(k)
		sums1, sums256 = append(sums1, sum1[:]), append(sums256, sum256[:])
	}

	var head [len(krlMagic) + 4 + 3*8]byte // magic, version of the format; version, date, flags
	if !s.read(head[:]) || binary.BigEndian.Uint32(head[len(krlMagic):]) != krlVersion {
		s.fail(errKRL)
		return false
	}
	for range 2 { // reserved, comment
		part := s.str()
		part.skip()
	}
	signed := false
	for *s.err == nil {
		if _, err := s.in.Peek(1); err == io.EOF {
			return false
		}
		kind := s.u8()
		part := s.str()
		if signed && kind != krlSignature {
			s.fail(errKRL)
		}
		in := false
		switch kind {
		case krlCertificates:
			in = part.revokesCertificate(l, key)
		case krlKeys:
			in = part.lists(0, keys)
		case krlSHA1:
			in = part.lists(sha1.Size, sums1)
		case krlSHA256:
			in = part.lists(sha256.Size, sums256)
		case krlSignature:
			// OpenSSH never came to say whose signature would do. The list is
			// trusted for where it lies.
			signed = true
			part.skip()
			part = s.str()
			part.skip()
		case krlExtension:
			part.extension()
		default:
			s.fail(errKRL)
		}
		if in {
			return true
		}
		part.end()
	}
	return false
}

// lists reports whether one of the strings in s is one of want. size is the
// length that each string must have, 0 for any.
func (s *section) lists(size uint64, want [][]byte) bool {
	for s.more() {
		item := s.str()
		if size > 0 && item.left != size {
			s.fail(errKRL)
		}
		if item.is(want...) {
			return true
		}
	}
	return false
}

// extension passes over an extension that need not be understood.
func (s *section) extension() {
	name := s.str()
	name.skip()
	if s.u8() != 0 {
		s.fail(errKRL)
	}
	contents := s.str()
	contents.skip()
}

// revokesCertificate reads a section about the certificates of one authority,
// or of all if it names none.
func (s *section) revokesCertificate(l *list, key *PublicKey) bool {
	name := s.str()
	mine := key.cert != nil
	if n := name.left; n > 0 {
		if n > uint64(len(l.key)) || !name.read(l.key[:n]) {
			s.fail(errKRL)
			return false
		}
		ca, err := parseKey(l.key[:n])
		if err != nil && !errors.Is(err, errUnknownType) {
			s.fail(errKRL)
			return false
		}
		mine = mine && string(ca.blob) == string(key.cert.ca.blob)
	}
	reserved := s.str()
	reserved.skip()
	var serial uint64 // 0: the authority gives no numbers
	var id []byte
	if mine {
		serial, id = key.cert.serial, []byte(key.cert.id)
	}
	for s.more() {
		kind := s.u8()
		part := s.str()
		in := false
		switch kind {
		case krlSerials:
			for part.more() {
				n := part.u64()
				part.positive(n)
				in = in || n == serial
			}
		case krlSerialRange:
			from, to := part.u64(), part.u64()
			part.positive(from)
			if from > to {
				part.fail(errKRL)
			}
			in = from <= serial && serial <= to
		case krlBitmap:
			in = part.bitmap(serial)
		case krlKeyIDs:
			for part.more() {
				item := part.str()
				in = item.is(id) && mine || in
			}
		case krlCertExt:
			part.extension()
		default:
			part.fail(errKRL)
		}
		part.end()
		if in && mine && *s.err == nil && (serial > 0 || kind == krlKeyIDs) {
			return true
		}
	}
	return false
}

// positive fails when a number of the list is 0, which is no number at all.
func (s *section) positive(serial uint64) {
	if serial == 0 {
		s.fail(errKRL)
	}
}

// bitmap reads the number of the lowest bit, and bits as one positive number.
func (s *section) bitmap(serial uint64) bool {
	offset := s.u64()
	bits := s.str()
	length := bits.left
	in := false
	for i := uint64(0); bits.more(); i++ {
		b := bits.u8()
		low := (length - 1 - i) * 8 // of the bits in b
		switch {
		case i == 0 && b&0x80 != 0: // negative
			bits.fail(errKRL)
		case b != 0 && offset > math.MaxUint64-low-7: // beyond all numbers
			bits.fail(errKRL)
		case low == 0 && offset == 0 && b&1 != 0: // 0 is no number
			bits.fail(errKRL)
		}
		if n := serial - offset; serial >= offset && n >= low && n < low+8 {
			in = b>>(n-low)&1 != 0
		}
	}
	return in
}
