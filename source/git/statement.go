package git

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/source/git/object"
	"github.com/godwit-ota/godwit/source/git/wire"
	"github.com/godwit-ota/godwit/vfs"
)

// Release brings what a gate needs to judge the release: its tag object, where
// releases are signed, and otherwise nothing, which asks nobody.
func (s *Source) Release(ctx context.Context, tip godwit.Tip) (godwit.Release, error) {
	rel := godwit.Release{Tip: tip, Version: shortRef(tip.Ref)}
	if !s.cfg.Signed || tip.Tag == "" {
		return rel, nil
	}
	var err error
	rel.Statement, err = s.statement(ctx, tip, "statement.release")
	return rel, err
}

// Channel brings the tag object of the channel that tip names.
func (s *Source) Channel(ctx context.Context, tip godwit.Tip) (godwit.Statement, error) {
	if tip.Tag == "" {
		return godwit.Statement{}, nil
	}
	return s.statement(ctx, tip, "statement.channel")
}

// maxStatement bounds a tag object that is a statement.
const maxStatement = vfs.MaxNote - 128

// statement gives the tag object of a tip. The last one is kept in a note, so
// that one nobody believes costs no more than that, however often it changes.
func (s *Source) statement(ctx context.Context, tip godwit.Tip, note string) (godwit.Statement, error) {
	id, err := object.ParseID(tip.Tag)
	if err != nil {
		return godwit.Statement{}, err
	}
	kept, _ := s.cfg.Remote.State.Load(note)
	head, body, ok := bytes.Cut(kept, []byte("\n"))
	if !ok || string(head) != id.String() || !isTag(body, id) {
		if body, err = s.bringTag(ctx, tip, id); err != nil {
			return godwit.Statement{}, err
		}
		// Without the note the next run asks again, and that is all.
		_ = s.cfg.Remote.State.Save(note, append([]byte(id.String()+"\n"), body...))
	}
	return godwit.Statement{Form: godwit.TagStatement, Body: bytes.NewReader(body), Size: int64(len(body))}, nil
}

// isTag reports whether id is the id of the tag object body.
func isTag(body []byte, id object.ID) bool {
	h := object.NewHasher(id.Format())
	h.Reset(object.Tag, int64(len(body)))
	h.Write(body)
	got, err := h.ID()
	return err == nil && got == id
}

// bringTag fetches a tag object and nothing else. A server that cannot leave the
// rest out is not listened to any further once the tag has come.
func (s *Source) bringTag(ctx context.Context, tip godwit.Tip, id object.ID) ([]byte, error) {
	caps, err := s.remote.Capabilities(ctx)
	if err != nil {
		return nil, err
	}
	if caps.ObjectFormat != id.Format().String() {
		return nil, wrongFormat(caps.ObjectFormat)
	}
	req := wire.FetchRequest{Want: []string{tip.Tag}}
	if caps.Shallow {
		req.Depth = 1
	}
	if caps.Filter {
		req.Filter = "tree:0"
	}
	pack, _, err := s.remote.Fetch(ctx, req)
	if errors.Is(err, wire.ErrNoFilter) {
		req.Filter = ""
		pack, _, err = s.remote.Fetch(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	defer pack.Close()
	sink := &tagSink{want: id}
	_, err = object.NewUnpacker(id.Format(), s.cfg.Limits.Limits).Unpack(pack, sink)
	if sink.body != nil {
		if req.Filter != "" {
			// The end of the pack, so that the connection can be used again.
			io.CopyN(io.Discard, pack, 4<<10)
		}
		return sink.body, nil
	}
	if err == nil {
		err = godwit.Fail(godwit.CodeMissingObject, fs.ErrNotExist, "the host did not send the tag object of "+shortRef(tip.Ref), "try again; if it stays, the repository is damaged: run git fsck on it")
	}
	return nil, err
}

// tagSink keeps one tag of a pack, in memory, and ends the pack with it.
type tagSink struct {
	want object.ID
	buf  []byte
	body []byte
}

func (t *tagSink) Base(object.ID) (object.Base, object.Type, error) { return nil, 0, fs.ErrNotExist }

func (t *tagSink) Create(kind object.Type, size int64) (object.Writer, error) {
	if kind != object.Tag {
		return nil, nil
	}
	if size > maxStatement {
		return nil, tooMuch("the release has a tag of more than 64 KiB", "")
	}
	t.buf = make([]byte, 0, size)
	return t, nil
}

func (t *tagSink) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	return len(p), nil
}

func (t *tagSink) Commit(id object.ID) error {
	if id != t.want {
		return nil
	}
	t.body = t.buf
	return errStop
}

func (t *tagSink) Abort() {}

// Discard drops contents that came along with a release and were not fetched.
func (s *Source) Discard() {
	if s.cache != nil {
		for _, name := range s.cache.spools {
			s.cache.remove(name)
		}
		s.cache.spools = nil
	}
}
