package godwit

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"strconv"
	"strings"
)

// An Algorithm says how the content of a file is turned into a Digest.
type Algorithm uint8

// The algorithms, with the numbers that listings on disk use.
const (
	NoDigest  Algorithm = 0 // the zero Digest: content unknown
	SHA256    Algorithm = 1 // plain SHA-256 of the content
	GitSHA1   Algorithm = 2 // Git blob id in a SHA-1 repository
	GitSHA256 Algorithm = 3 // Git blob id in a SHA-256 repository
	// CRC32 is the IEEE checksum of the content, 4 bytes, followed by its size in
	// 8, both big-endian. It finds accidents, not forgers: manifests without a
	// better digest have it, and only gates that check nothing, or an HMAC over the
	// manifest for want of more, let them through.
	CRC32 Algorithm = 4
)

var algorithmNames = [...]string{NoDigest: "none", SHA256: "sha256", GitSHA1: "git-sha1", GitSHA256: "git-sha256", CRC32: "crc32"}

// String gives the name used in text forms: "sha256", "git-sha1", "git-sha256".
func (a Algorithm) String() string {
	if int(a) < len(algorithmNames) {
		return algorithmNames[a]
	}
	return "unknown"
}

// Size is the length of the algorithm's sums in bytes, 0 for NoDigest.
func (a Algorithm) Size() int {
	switch a {
	case GitSHA1:
		return sha1.Size
	case SHA256, GitSHA256:
		return sha256.Size
	case CRC32:
		return crc32.Size + 8
	}
	return 0
}

// New returns a hash for content of exactly size bytes. Git's algorithms hash a
// header "blob SIZE\x00" before the content (gitformat-pack), so size must be
// known beforehand; SHA256 ignores it.
//
// SHA-1 is computed without collision detection: New is for finding out whether
// a file on this device changed by accident. Bytes from outside are hashed by
// the source that fetched them, with detection.
func (a Algorithm) New(size int64) hash.Hash {
	var h hash.Hash
	switch a {
	case GitSHA1:
		h = sha1.New()
	case SHA256:
		return sha256.New()
	case CRC32:
		return &sizedCRC{Hash32: crc32.NewIEEE()}
	case GitSHA256:
		h = sha256.New()
	default:
		panic("godwit: New of " + a.String())
	}
	var header [32]byte
	b := append(header[:0], "blob "...)
	b = strconv.AppendInt(b, size, 10)
	h.Write(append(b, 0))
	return h
}

// sizedCRC is the hash of CRC32.
type sizedCRC struct {
	hash.Hash32
	size uint64
}

func (h *sizedCRC) Write(p []byte) (int, error) {
	h.size += uint64(len(p))
	return h.Hash32.Write(p)
}

func (h *sizedCRC) Sum(b []byte) []byte {
	return binary.BigEndian.AppendUint64(h.Hash32.Sum(b), h.size)
}

func (h *sizedCRC) Size() int { return crc32.Size + 8 }

func (h *sizedCRC) Reset() {
	h.Hash32.Reset()
	h.size = 0
}

// A Digest names the content of one file. It is comparable; the zero value
// means "unknown".
type Digest struct {
	Algorithm Algorithm
	sum       [sha256.Size]byte
}

// MakeDigest returns the digest with the given sum, whose length must be
// a.Size().
func MakeDigest(a Algorithm, sum []byte) Digest {
	if len(sum) != a.Size() {
		panic("godwit: a " + a.String() + " digest of " + strconv.Itoa(len(sum)) + " bytes")
	}
	d := Digest{Algorithm: a}
	copy(d.sum[:], sum)
	return d
}

// IsZero reports whether d is the zero Digest.
func (d Digest) IsZero() bool { return d.Algorithm == NoDigest }

// Sum returns the raw sum.
func (d Digest) Sum() []byte { return d.sum[:d.Algorithm.Size()] }

// Hex returns the sum in lower-case hexadecimal, without the algorithm.
func (d Digest) Hex() string { return hex.EncodeToString(d.Sum()) }

// String returns "ALGORITHM:HEX", which ParseDigest reads.
func (d Digest) String() string { return d.Algorithm.String() + ":" + d.Hex() }

// ParseDigest reads the form that String writes.
func ParseDigest(s string) (Digest, error) {
	name, sum, ok := strings.Cut(s, ":")
	if ok {
		for a, n := range algorithmNames {
			if n == name && a != int(NoDigest) {
				b, err := hex.DecodeString(sum)
				if err != nil || len(b) != Algorithm(a).Size() || strings.ToLower(sum) != sum {
					break
				}
				return MakeDigest(Algorithm(a), b), nil
			}
		}
	}
	return Digest{}, errors.New("not a digest: " + strconv.Quote(s))
}
