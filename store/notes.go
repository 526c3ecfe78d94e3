package store

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/godwit-ota/godwit/vfs"
)

// notesName is the file in the state folder for what is good to know and not
// needed to run: the last check, the last error, the output of hooks.
const (
	notesName = "notes"
	maxNotes  = 256 << 10
)

// Notes returns the remarks that SetNotes left. A file that is missing or
// damaged has none.
func (s *Store) Notes() map[string]string {
	notes := map[string]string{}
	b, err := vfs.ReadFile(s.fs, s.state(notesName), maxNotes)
	if err != nil {
		return notes
	}
	for l := range strings.Lines(string(b)) {
		k, v, ok := strings.Cut(strings.TrimSuffix(l, "\n"), " ")
		if v, err := strconv.Unquote(v); ok && err == nil {
			notes[k] = v
		}
	}
	return notes
}

// SetNotes changes some remarks; an empty value removes one. Nothing is written
// when nothing changes. Keys hold no spaces.
func (s *Store) SetNotes(change map[string]string) error {
	s.mustHold()
	old := s.Notes()
	notes := maps.Clone(old)
	for k, v := range change {
		if v == "" {
			delete(notes, k)
		} else {
			notes[k] = v
		}
	}
	if maps.Equal(old, notes) {
		return nil
	}
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(notes)) {
		b = append(b, k...)
		b = append(b, ' ')
		b = strconv.AppendQuote(b, notes[k])
		b = append(b, '\n')
	}
	if len(b) > maxNotes {
		return errors.Join(errors.New("store: notes are too large"), fs.ErrInvalid)
	}
	return diskError(vfs.WriteFile(s.fs, s.state(notesName), b), "the notes cannot be written")
}
