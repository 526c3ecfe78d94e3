package delta_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/address"
	"github.com/godwit-ota/godwit/delta/model"
)

var writeVectors = flag.Bool("write-vectors", false, "write docs/vectors/patch.json anew")

const vectorFile = "../docs/vectors/patch.json"

type vectorCase struct {
	Name     string `json:"name"`
	Old      string `json:"old"`
	New      string `json:"new"`
	Method   string `json:"method"`
	Tier     string `json:"tier"`
	InPlace  bool   `json:"in_place"`
	ReadBack bool   `json:"read_back"`
	Patch    string `json:"patch"`
}

type vectorRefusal struct {
	Name  string `json:"name"`
	Old   string `json:"old"`
	Patch string `json:"patch"`
	Why   string `json:"why"`
}

type vectors struct {
	About    string            `json:"about"`
	Contents map[string]string `json:"contents"`
	Cases    []vectorCase      `json:"cases"`
	Refused  []vectorRefusal   `json:"refused"`

	raw map[string]string
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func header(method delta.Method, tier delta.Tier, old, new string) delta.Header {
	return delta.Header{Method: method, Tier: tier, OldSize: int64(len(old)), NewSize: int64(len(new)),
		OldSum: delta.SumOf(sha256.Sum256([]byte(old))), NewSum: delta.SumOf(sha256.Sum256([]byte(new)))}
}

// modelled codes new by a given way through old, so that it depends on nothing
// but the model.
func modelled(h delta.Header, old, new string, jumps []model.Jump) []byte {
	h.Method = delta.Modelled
	for _, j := range jumps {
		h.ReadBack = h.ReadBack || j.Source >= h.OldSize
	}
	t := model.Task{Tier: int(h.Tier), Old: strings.NewReader(old), OldSize: h.OldSize, NewSize: h.NewSize,
		Slack: h.Slack, Block: h.Block, Code: h.Code, Recipe: &h.Recipe}
	if h.ReadBack {
		t.Back = strings.NewReader(new)
	}
	var w model.Walk
	w.Init(make([]byte, model.Memory(t.Tier)), t)
	w.Encode([]byte(new), jumps, nil)
	w.EncodeTo(h.NewSize)
	return append(h.Append(nil), w.Finish()...)
}

// content names a content.
func (v *vectors) content(name, b string) {
	v.raw[name] = b
	v.Contents[name] = encode64([]byte(b))
}

func (v *vectors) add(name, old, new string, patch []byte) {
	h, err := delta.ReadHeader(bytes.NewReader(patch))
	if err != nil {
		panic(name + ": " + err.Error())
	}
	v.Cases = append(v.Cases, vectorCase{name, old, new, h.Method.String(), h.Tier.String(), h.Block > 0, h.ReadBack, encode64(patch)})
}

// model adds a case for each tier. fit changes the header.
func (v *vectors) model(name, old, new string, jumps []model.Jump, fit func(*delta.Header)) {
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		v.one(tier, name, old, new, jumps, fit)
	}
}

func (v *vectors) one(tier delta.Tier, name, old, new string, jumps []model.Jump, fit func(*delta.Header)) {
	h := header(delta.Modelled, tier, v.raw[old], v.raw[new])
	if fit != nil {
		fit(&h)
	}
	v.add(name+", "+tier.String(), old, new, modelled(h, v.raw[old], v.raw[new], jumps))
}

func makeVectors() *vectors {
	v := &vectors{
		About:    "Test vectors for docs/patch-format.md. contents: by name, in base64. cases: each patch gives new from old. refused: what no decoder takes, and why.",
		Contents: map[string]string{}, raw: map[string]string{},
	}
	v.plain()
	v.texts()
	v.inPlace()
	for _, p := range programs() {
		old, new := p.name+", old", p.name+", new"
		v.content(old, p.old)
		v.content(new, p.new)
		v.model(p.name, old, new, p.jumps, func(h *delta.Header) { h.Code, h.Recipe = true, p.recipe })
	}
	v.addresses()
	v.anything()
	v.refusals()
	return v
}

func (v *vectors) plain() {
	v.content("nothing", "")
	v.content("one line", "VERSION = 1\n")
	v.content("another line", "VERSION = 2, after which something follows\n")
	for tier := delta.Tiny; tier <= delta.Large; tier++ {
		for _, c := range [][2]string{{"one line", "another line"}, {"another line", "one line"}, {"nothing", "one line"}, {"one line", "nothing"}} {
			h := header(delta.Stored, tier, v.raw[c[0]], v.raw[c[1]])
			v.add("stored, "+c[0]+" to "+c[1]+", "+tier.String(), c[0], c[1], append(h.Append(nil), v.raw[c[1]]...))
		}
		h := header(delta.Same, tier, v.raw["one line"], v.raw["one line"])
		v.add("same, "+tier.String(), "one line", "one line", h.Append(nil))
	}
	v.model("a line", "one line", "another line", nil, nil)
	v.model("to nothing", "one line", "nothing", nil, nil)
	v.model("from nothing", "nothing", "another line", nil, nil)
	v.model("from nothing, as code", "nothing", "another line", nil, func(h *delta.Header) { h.Code = true })
}

func (v *vectors) texts() {
	r := rand.New(rand.NewPCG(1, 1))
	words := strings.Fields("if err return nil func string byte range for switch case the device of and größe 0x1f 42 = := ( ) { }")
	var b strings.Builder
	for b.Len() < 2500 {
		b.WriteString(words[r.IntN(len(words))] + " \n"[r.IntN(2):][:1])
	}
	old := b.String()
	// Three changes, a part left out, one moved, one twice, of which the second is
	// read from the new content.
	new := old[:300] + "something that is new here" + old[320:700] + "\nfunc (d *Device) other() string { return \"other\" }\n" + old[900:1800] + old[500:680] + old[1800:]
	at := len(new)
	new += new[300:420] + new[320:350] + "the end"
	n := int64(len(old))
	jumps := []model.Jump{{New: 326, Source: 320}, {New: 706 + 52, Source: 900}, {New: 706 + 52 + 900, Source: 500}, {New: 706 + 52 + 1080, Source: 1800},
		{New: int64(at), Source: n + 300}, {New: int64(at) + 120, Source: n + 320}}
	v.content("text, old", old)
	v.content("text, new", new)
	v.model("text", "text, old", "text, new", jumps, nil)
	v.model("text, without the way", "text, old", "text, new", nil, nil)
	v.model("text, as code", "text, old", "text, new", jumps, func(h *delta.Header) { h.Code = true })
	// Far back and forth, so that sources that were left count.
	var back []model.Jump
	var weave strings.Builder
	for k := 0; k < 40; k++ {
		from := []int{100, 2300, 1200, 700}[k%4] + k*7
		from = min(from, len(old)-10)
		back = append(back, model.Jump{New: int64(weave.Len()), Source: int64(from)})
		weave.WriteString(old[from : from+6+k%3])
	}
	v.content("weave", weave.String())
	v.model("back and forth", "text, old", "weave", back, nil)
}

func (v *vectors) inPlace() {
	old := v.raw["text, old"]
	for _, c := range []struct {
		name         string
		slack, block int64
	}{{"in place", 640, 256}, {"in place, much is gone", 0, 100}} {
		v.model(c.name, "text, old", "text, new", []model.Jump{{New: 326, Source: 320}, {New: 758, Source: 900}, {New: 1658, Source: 500}, {New: 1838, Source: 1800}, {New: 2500, Source: int64(len(old)) + 300}},
			func(h *delta.Header) { h.Slack, h.Block = c.slack, c.block })
	}
}

// addresses are a table of more of them than tier 1 can remember, all moved by
// something else.
func (v *vectors) addresses() {
	const base = 0x20000000
	r := rand.New(rand.NewPCG(3, 3))
	var old, new []byte
	for i := range 270 {
		k := uint32(i*37%90) * 0x200
		v := base + k + uint32(i/90)*8
		old = binary.LittleEndian.AppendUint32(old, v)
		if r.IntN(40) == 0 {
			v += 4
		}
		new = binary.LittleEndian.AppendUint32(new, v+0x1000+k>>9*k>>9%29*4)
	}
	v.content("addresses, old", string(old))
	v.content("addresses, new", string(new))
	v.model("addresses", "addresses, old", "addresses, new", nil, func(h *delta.Header) {
		h.Code = true
		h.Recipe.Add(model.Range{End: uint32(len(old)), Words: true, Old: base, New: base})
		h.Recipe.Extra = 1 << 17
	})
}

// anything is no program at all, taken for code of each instruction set, from
// beginning to end and with sources in the new content.
func (v *vectors) anything() {
	r := rand.New(rand.NewPCG(2, 2))
	old := make([]byte, 2403)
	for i := range old {
		if old[i] = byte(r.IntN(256)); r.IntN(3) > 0 {
			old[i] = "\x94\x97\xeb\xf0\xe8\x0f\x05\x10\x41\x0c\x00\x90\x91\xf9\x37\x13"[r.IntN(16)]
		}
	}
	new := bytes.Clone(old[:len(old)-7])
	for range 60 {
		new[r.IntN(len(new))]++
	}
	n := int64(len(old))
	copy(new[1700:1950], new[100:350])
	copy(new[1987:], "\x01\x00\x00\x90\x21\x00\x00\x91")
	copy(new[1995:2200], new[1987:]) // from what has hardly been written
	for i := 2003; i < 2200; i++ {
		new[i] = new[i-8]
	}
	jumps := []model.Jump{{New: 500, Source: 700}, {New: 540, Source: n + 100}, {New: 600, Source: 0}, {New: 640, Source: 640}, {New: 700, Source: 701}, {New: 760, Source: 760}, {New: 900, Source: 898}, {New: 960, Source: 960}, {New: 1300, Source: 2300},
		{New: 1350, Source: 1350}, {New: 1700, Source: n + 100}, {New: 1950, Source: 1850}, {New: 1995, Source: n + 1987}, {New: 2100, Source: n + 2070}, {New: 2150, Source: n + 2148}}
	v.content("noise, old", string(old))
	v.content("noise, new", string(new))
	for isa := address.None; isa < address.ISAs; isa++ {
		v.one(delta.Tiny+delta.Tier(isa%3), "noise as "+isaNames[isa], "noise, old", "noise, new", jumps, func(h *delta.Header) {
			h.Code = true
			h.Recipe.Add(model.Range{End: 100})
			h.Recipe.Add(model.Range{End: 1900, ISA: isa, Words: isa%2 == 0, Big: isa%3 == 1, Old: 1<<20 - uint32(isa), New: 1<<20 - uint32(isa) + 8})
			h.Recipe.Add(model.Range{End: 2200, Words: true, Old: 1 << 20, New: 1<<20 + 4})
			h.Recipe.Extra, h.Recipe.Other = 40, model.Span{Lo: 0xf0000000, Size: 1 << 24}
		})
	}
}

func (v *vectors) refusals() {
	const one, other = "one line", "another line"
	refuse := func(name, old string, b []byte, why string) {
		v.Refused = append(v.Refused, vectorRefusal{name, old, encode64(b), why})
	}
	h := header(delta.Stored, delta.Small, v.raw[one], v.raw[other])
	good := append(h.Append(nil), v.raw[other]...)
	change := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	refuse("another magic word", one, change(0, 'G'), "no patch")
	refuse("a later version", one, change(2, good[2]^0xc0), "no patch")
	refuse("method 3", one, change(2, good[2]|0x30), "no patch")
	refuse("tier 0", one, change(2, good[2]&^0x0c), "no patch")
	refuse("a size that is longer than it need be", one, append(append(bytes.Clone(good[:3]), 0x8c, 0), good[4:]...), "no patch")
	refuse("a size of ten bytes", one, append(append(bytes.Clone(good[:3]), 0x8c, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1), good[4:]...), "no patch")
	refuse("an old size above 2^40", one, append(append(bytes.Clone(good[:3]), 0x81, 0x80, 0x80, 0x80, 0x80, 0x20), good[4:]...), "no patch")
	refuse("a new size below 0", one, change(8, 2*13-1), "no patch")
	refuse("nothing", one, nil, "too short")
	refuse("the header ends", one, good[:10], "too short")
	refuse("the stored content ends", one, good[:len(good)-1], "too short")
	refuse("another old content", "text, old", good, "wrong old")
	refuse("another sum of the old content", one, change(4, good[4]^1), "wrong old")
	refuse("another sum of the new content", one, change(9, good[9]^1), "damaged")
	refuse("another byte", one, change(len(good)-1, 'x'), "damaged")
	p := header(delta.Stored, delta.Small, v.raw[one], v.raw[other])
	p.Block = 1
	b := p.Append(nil)
	b[len(b)-1] = 0
	refuse("a block of 0", one, b, "no patch")

	m := header(delta.Modelled, delta.Tiny, v.raw["text, old"], v.raw["text, new"])
	head := m.Append(nil)
	for _, c := range []struct{ name, recipe string }{
		{"13 ranges", "\x0d"}, {"a range without length", "\x01\x10\x00\x00\x00"}, {"instruction set 11", "\x01\x0b\x10\x00\x00"}, {"the recipe ends early", "\x01\x10\x10\x00"},
		{"the recipe ends late", "\x01\x10\x10\x00\x00\x00"}, {"no change of an address", "\x01\x50\x10\x00\x00\x00"}, {"a change with more factors", "\x01\x50\x10\x80\x02\x00\x00"},
		{"a length that is longer than it need be", "\x01\x10\x90\x00\x00\x00"}, {"ranges end above 2^32", "\x02\x10\x80\x80\x80\x80\x08\x10\x80\x80\x80\x80\x08\x00\x00"}, {"an empty recipe and more", "\x00\x00"},
	} {
		refuse("recipe: "+c.name, "text, old", append(append(bytes.Clone(head[:len(head)-1]), byte(len(c.recipe))), c.recipe...), "no patch")
	}
	refuse("a recipe of 201 bytes", "text, old", append(bytes.Clone(head[:len(head)-1]), append([]byte{0xc9, 1}, make([]byte, 201)...)...), "no patch")
	l := header(delta.Modelled, delta.Tiny, v.raw[one], v.raw[other])
	code := modelled(l, v.raw[one], v.raw[other], nil)
	refuse("half of the code", one, code[:len(code)-len(code[len(l.Append(nil)):])/2], "damaged")
	refuse("no code", one, l.Append(nil), "damaged")
	refuse("a jump out of the old content", "text, old", modelled(m, v.raw["text, old"], v.raw["text, new"], []model.Jump{{New: 100, Source: -1}}), "damaged")
	refuse("a jump to what is not written", "text, old", modelled(m, v.raw["text, old"], v.raw["text, new"], []model.Jump{{New: 100, Source: m.OldSize + 100}}), "damaged")
	m.NewSum[0] ^= 1
	refuse("another sum of a modelled content", "text, old", modelled(m, v.raw["text, old"], v.raw["text, new"], nil), "damaged")
}

// The file in docs/vectors is what patch-format.md promises to others.
func TestPatchVectors(t *testing.T) {
	v := makeVectors()
	want, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *writeVectors {
		if err := os.WriteFile(vectorFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what this package says: if the priors were trained anew, write it with -write-vectors", vectorFile)
	}
	var f vectors
	if err := json.Unmarshal(got, &f); err != nil {
		t.Fatal(err)
	}
	contents := maps.Clone(f.Contents)
	decode := func(s string) []byte {
		b, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	apply := func(patch, old string) ([]byte, error) {
		var out pad
		p, o := decode(patch), decode(contents[old])
		err := delta.Apply(make([]byte, delta.Large.Memory()), bytes.NewReader(p), bytes.NewReader(o), int64(len(o)), &out)
		return out.b, err
	}
	for _, c := range f.Cases {
		new, err := apply(c.Patch, c.Old)
		if err != nil || encode64(new) != contents[c.New] {
			t.Errorf("%s: %v", c.Name, err)
		}
	}
	for _, c := range f.Refused {
		why := map[string]error{"no patch": delta.ErrNoPatch, "too short": io.ErrUnexpectedEOF, "wrong old": delta.ErrWrongOld, "damaged": delta.ErrDamaged}[c.Why]
		if _, err := apply(c.Patch, c.Old); !errors.Is(err, why) || why == nil {
			t.Errorf("%s: %v, want %s", c.Name, err, c.Why)
		}
	}
}

// A decoder in another language, written by the description of the format alone,
// agrees.
func TestPythonDecoder(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed (apt install python3)")
	}
	out, err := exec.Command("python3", "-B", "../docs/decoder/patch.py", "--vectors", vectorFile).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
