package object

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/godwit-ota/godwit"
)

// memory is a Sink that keeps everything.
type memory struct {
	objects map[ID]memoryObject
	created int64 // bytes asked for
	drop    bool
}

type memoryObject struct {
	kind Type
	data []byte
}

func newMemory() *memory { return &memory{objects: make(map[ID]memoryObject)} }

type memoryBase struct{ *bytes.Reader }

func (memoryBase) Close() error { return nil }

func (m *memory) Base(id ID) (Base, Type, error) {
	o, ok := m.objects[id]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	return memoryBase{bytes.NewReader(o.data)}, o.kind, nil
}

func (m *memory) Create(t Type, size int64) (Writer, error) {
	m.created += size
	if m.drop {
		return nil, nil
	}
	return &memoryWriter{m: m, kind: t, size: size}, nil
}

type memoryWriter struct {
	bytes.Buffer
	m    *memory
	kind Type
	size int64
}

func (w *memoryWriter) Commit(id ID) error {
	if int64(w.Len()) != w.size {
		return fmt.Errorf("object of %d bytes was announced with %d", w.Len(), w.size)
	}
	w.m.objects[id] = memoryObject{w.kind, w.Bytes()}
	return nil
}

func (w *memoryWriter) Abort() {}

// naiveID computes an id from the whole object.
func naiveID(f Format, t Type, data []byte) ID {
	h := NewHasher(f)
	h.Reset(t, int64(len(data)))
	h.Write(data)
	id, err := h.ID()
	if err != nil {
		panic(err)
	}
	return id
}

// packer makes packs by hand, also wrong ones.
type packer struct {
	bytes.Buffer
	count uint32
}

func deflate(b []byte) []byte {
	var out bytes.Buffer
	w := zlib.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

func entryHead(kind int, size uint64) []byte {
	c := byte(kind<<4) | byte(size&15)
	var b []byte
	for size >>= 4; size > 0; size >>= 7 {
		b = append(b, c|0x80)
		c = byte(size & 0x7f)
	}
	return append(b, c)
}

// add returns the offset of the entry.
func (p *packer) add(kind int, size uint64, ref []byte, data []byte) int {
	at := p.Len() + 12
	p.Write(entryHead(kind, size))
	p.Write(ref)
	p.Write(deflate(data))
	p.count++
	return at
}

func (p *packer) blob(s string) int { return p.add(int(Blob), uint64(len(s)), nil, []byte(s)) }

func (p *packer) pack() []byte {
	b := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), p.count)
	b = append(b, p.Bytes()...)
	sum := sha1.Sum(b)
	return append(b, sum[:]...)
}

func distance(n int) []byte {
	b := []byte{byte(n & 0x7f)}
	for n >>= 7; n > 0; n >>= 7 {
		n--
		b = append([]byte{byte(n&0x7f) | 0x80}, b...)
	}
	return b
}

func varint(n uint64) []byte { return binary.AppendUvarint(nil, n) }

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func blobID(s string) ID { return naiveID(SHA1, Blob, []byte(s)) }

func refOf(s string) []byte { id := blobID(s); return id.Sum() }

// copyAll is a delta that copies a base of n < 2^16 bytes.
func copyAll(n int, more ...byte) []byte {
	return join(varint(uint64(n)), varint(uint64(n+len(more))), []byte{0xb0, byte(n), byte(n >> 8)}, insert(more))
}

func insert(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return append([]byte{byte(len(b))}, b...)
}

func TestBadPacks(t *testing.T) {
	const hello = "hello, hello\n"
	make1 := func(fn func(p *packer)) []byte {
		p := new(packer)
		fn(p)
		return p.pack()
	}
	good := make1(func(p *packer) { p.blob(hello); p.blob("second") })
	edit := func(at int, c byte) []byte {
		b := bytes.Clone(good)
		b[at] ^= c
		return b
	}
	bomb := make([]byte, 8<<20)
	big := make1(func(p *packer) { p.add(int(Blob), uint64(len(bomb)), nil, bomb) })
	tests := []struct {
		name   string
		pack   []byte
		limits Limits
		code   godwit.Code
		text   string
	}{
		{"empty", nil, Limits{}, godwit.CodeBadObject, "ends early"},
		{"not a pack", []byte("<html><body>Welcome to our free Wi-Fi"), Limits{}, godwit.CodeBadObject, "not a Git pack"},
		{"version 9", edit(7, 9), Limits{}, godwit.CodeBadObject, "not a Git pack"},
		{"truncated in the header", good[:9], Limits{}, godwit.CodeBadObject, "ends early"},
		{"truncated in an object", good[:20], Limits{}, godwit.CodeBadObject, "ends early"},
		{"truncated in the trailer", good[:len(good)-3], Limits{}, godwit.CodeBadObject, "ends early"},
		{"without trailer", good[:len(good)-20], Limits{}, godwit.CodeBadObject, "ends early"},
		{"wrong trailer", edit(len(good)-1, 1), Limits{}, godwit.CodeBadObject, "checksum is wrong"},
		{"more behind the end", append(bytes.Clone(good), 'x'), Limits{}, godwit.CodeBadObject, "behind the end"},
		{"damaged zlib header", edit(13, 0xff), Limits{}, godwit.CodeBadObject, "cannot be decompressed"},
		{"too many objects", good, Limits{Objects: 1}, godwit.CodeLimit, "2 objects; 1 are allowed"},
		{"a count that lies", make1(func(p *packer) { p.blob(hello); p.count = 1 << 21 }), Limits{}, godwit.CodeBadObject, ""},
		{"unknown type", make1(func(p *packer) { p.add(5, 3, nil, []byte("abc")) }), Limits{}, godwit.CodeBadObject, "type 5"},
		{"type zero", make1(func(p *packer) { p.add(0, 3, nil, []byte("abc")) }), Limits{}, godwit.CodeBadObject, "type 0"},
		{"longer than declared", make1(func(p *packer) { p.add(int(Blob), 4, nil, []byte("abcde")) }), Limits{}, godwit.CodeBadObject, "longer than it says"},
		{"zlib bomb", make1(func(p *packer) { p.add(int(Blob), 4, nil, bomb) }), Limits{}, godwit.CodeBadObject, "longer than it says"},
		{"honest bomb", big, Limits{ObjectSize: 1 << 20}, godwit.CodeLimit, "8388608 bytes; 1048576 are allowed"},
		{"shorter than declared", make1(func(p *packer) { p.add(int(Blob), 6, nil, []byte("abcde")) }), Limits{}, godwit.CodeBadObject, "shorter than it says"},
		{"declared size 2^60", make1(func(p *packer) { p.add(int(Blob), 1<<60, nil, []byte("abcde")) }), Limits{}, godwit.CodeLimit, "allowed"},
		{"declared size 2^60 under high limits", make1(func(p *packer) { p.add(int(Blob), 1<<60, nil, []byte("abcde")) }),
			Limits{ObjectSize: 1 << 50, TotalSize: 1 << 50}, godwit.CodeLimit, "allowed"},
		{"declared size beyond 64 bits", make1(func(p *packer) {
			p.Write(bytes.Repeat([]byte{0xbf}, 12))
			p.Write([]byte{0})
			p.count++
		}), Limits{}, godwit.CodeLimit, "2^61 bytes or more"},
		{"total size", make1(func(p *packer) { p.blob(hello); p.blob(hello) }), Limits{TotalSize: 20}, godwit.CodeLimit, "more than 20 bytes"},
		{"delta result too large", make1(func(p *packer) {
			at := p.blob(hello)
			d := join(varint(uint64(len(hello))), varint(1<<60), copyAll(len(hello))[2:])
			p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d)
		}), Limits{}, godwit.CodeLimit, "allowed"},
		{"delta upon itself by place", make1(func(p *packer) {
			p.blob(hello)
			p.add(ofsDelta, 3, []byte{0}, []byte{1, 2, 3})
		}), Limits{}, godwit.CodeBadObject, "outside the pack"},
		{"delta upon a place before the pack", make1(func(p *packer) {
			p.add(ofsDelta, 3, distance(4000), []byte{1, 2, 3})
		}), Limits{}, godwit.CodeBadObject, "outside the pack"},
		{"delta upon the middle of an object", make1(func(p *packer) {
			p.blob(hello)
			p.add(ofsDelta, 3, distance(p.Len()-2), []byte{1, 2, 3})
		}), Limits{}, godwit.CodeBadObject, "no object begins"},
		{"delta distance beyond 64 bits", make1(func(p *packer) {
			p.add(ofsDelta, 3, append(bytes.Repeat([]byte{0xff}, 15), 1), []byte{1, 2, 3})
		}), Limits{}, godwit.CodeBadObject, "outside the pack"},
		{"delta for another base", make1(func(p *packer) {
			p.blob(hello)
			d := copyAll(len(hello) + 1)
			p.add(refDelta, uint64(len(d)), refOf(hello), d)
		}), Limits{}, godwit.CodeBadObject, "another size"},
		{"deltas too deep", make1(func(p *packer) {
			at := p.blob(hello)
			for i := range 6 {
				d := copyAll(len(hello)+i, 'x')
				at = p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d)
			}
		}), Limits{Depth: 5}, godwit.CodeLimit, "more than 5 deep"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, slow := range []bool{false, true} {
				var r io.Reader = bytes.NewReader(tt.pack)
				if slow {
					r = iotest.OneByteReader(r)
				}
				sink := newMemory()
				_, err := NewUnpacker(SHA1, tt.limits).Unpack(r, sink)
				if godwit.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
					t.Fatalf("got %v (%s), want %s with %q", err, godwit.CodeOf(err), tt.code, tt.text)
				}
				if sink.created > 1<<20 {
					t.Errorf("%d bytes were asked for before the error", sink.created)
				}
			}
		})
	}
	// The same two objects without a fault.
	sink := newMemory()
	stats, err := NewUnpacker(SHA1, Limits{}).Unpack(bytes.NewReader(good), sink)
	if err != nil || stats.Objects != 2 || stats.Bytes != int64(len(good)) || string(sink.objects[blobID(hello)].data) != hello {
		t.Errorf("good pack: %+v, %v", stats, err)
	}
}

// A failing connection is reported as what it is.
func TestPackReaderError(t *testing.T) {
	p := new(packer)
	p.blob(strings.Repeat("abc", 1000))
	broken := errors.New("connection reset")
	for n := range len(p.pack()) {
		r := io.MultiReader(bytes.NewReader(p.pack()[:n]), iotest.ErrReader(broken))
		if _, err := NewUnpacker(SHA1, Limits{}).Unpack(r, newMemory()); err != broken {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
}

// What a base that is not here leaves out is skipped; the rest arrives.
func TestMissingBase(t *testing.T) {
	const here, gone = "this is here", "this is not here"
	p := new(packer)
	p.blob("before")
	d := copyAll(len(gone), '!')
	at := p.add(refDelta, uint64(len(d)), refOf(gone), d)
	d = copyAll(len(gone)+1, '?')
	p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d) // upon the skipped one
	d = copyAll(len(here), '!')
	at = p.add(refDelta, uint64(len(d)), refOf(here), d)
	d = copyAll(len(here)+1, '?')
	p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d)
	// A delta upon itself by id: its id is only known afterwards, so it is never here.
	p.add(refDelta, uint64(len(d)), refOf(here+"!!"), copyAll(len(here)+1, '!'))
	p.blob("after")

	sink := newMemory()
	sink.objects[blobID(here)] = memoryObject{Blob, []byte(here)}
	stats, err := NewUnpacker(SHA1, Limits{}).Unpack(bytes.NewReader(p.pack()), sink)
	if err != nil || stats.Objects != 7 || stats.Skipped != 3 {
		t.Fatalf("%+v, %v", stats, err)
	}
	for _, want := range []string{"before", here + "!", here + "!?", "after"} {
		if string(sink.objects[blobID(want)].data) != want {
			t.Errorf("%q did not arrive", want)
		}
	}
	if len(sink.objects) != 5 {
		t.Errorf("%d objects", len(sink.objects))
	}
}

// A sink that passes objects over makes later deltas upon them skipped, not wrong.
func TestDroppedBase(t *testing.T) {
	p := new(packer)
	at := p.blob("dropped")
	d := copyAll(7, '!')
	p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d)
	sink := newMemory()
	sink.drop = true // both, the second of which could not be anyway
	if stats, err := NewUnpacker(SHA1, Limits{}).Unpack(bytes.NewReader(p.pack()), sink); err != nil || stats.Skipped != 2 {
		t.Errorf("%+v, %v", stats, err)
	}
}

func FuzzUnpack(f *testing.F) {
	p := new(packer)
	at := p.blob("hello, hello\n")
	d := copyAll(13, 'x')
	p.add(ofsDelta, uint64(len(d)), distance(p.Len()+12-at), d)
	p.add(refDelta, uint64(len(d)), refOf("hello, hello\n"), d)
	p.add(int(Tree), 0, nil, nil)
	f.Add(p.pack())
	f.Add(new(packer).pack())
	f.Add([]byte("PACK\x00\x00\x00\x02\x00\x00\x00\x01\xf0\x80\x80\x80\x80\x80\x80\x80\x80\x01"))
	limits := Limits{Objects: 100, ObjectSize: 1 << 16, TotalSize: 1 << 18, Depth: 5}
	f.Fuzz(func(t *testing.T, pack []byte) {
		// Make the trailer right, so that what comes before it decides.
		if len(pack) > 32 {
			sum := sha1.Sum(pack[:len(pack)-20])
			copy(pack[len(pack)-20:], sum[:])
		}
		sink := newMemory()
		stats, err := NewUnpacker(SHA1, limits).Unpack(bytes.NewReader(pack), sink)
		if sink.created > limits.TotalSize {
			t.Errorf("%d bytes were asked for", sink.created)
		}
		for id, o := range sink.objects {
			if naiveID(SHA1, o.kind, o.data) != id {
				t.Errorf("%s is not the id of its content", id)
			}
		}
		if err != nil {
			if c := godwit.CodeOf(err); c != godwit.CodeBadObject && c != godwit.CodeLimit {
				t.Errorf("%v has code %s", err, c)
			}
		} else if stats.Objects != int64(binary.BigEndian.Uint32(pack[8:])) {
			t.Errorf("%+v", stats)
		}
	})
}

func BenchmarkUnpackLargeText(b *testing.B) {
	var text bytes.Buffer
	rnd := rand.New(rand.NewSource(1))
	for text.Len() < 32<<20 {
		fmt.Fprintf(&text, "line %d of value %x and sensor%d\n", rnd.Intn(100000), rnd.Intn(1<<30), rnd.Intn(50))
	}
	p := new(packer)
	p.blob(text.String())
	pack := p.pack()
	u := NewUnpacker(SHA1, Limits{})
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		if _, err := u.Unpack(bytes.NewReader(pack), &dropSink{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnpackSmall(b *testing.B) {
	p := new(packer)
	for i := range 5000 {
		p.blob(strings.Repeat(fmt.Sprint("blob ", i), 50))
	}
	pack := p.pack()
	u := NewUnpacker(SHA1, Limits{})
	for b.Loop() {
		if _, err := u.Unpack(bytes.NewReader(pack), &dropSink{}); err != nil {
			b.Fatal(err)
		}
	}
}
