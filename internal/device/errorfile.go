package device

import (
	"bytes"
	"errors"
	"io"
	"io/fs"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/internal/jsontext"
	"github.com/godwit-ota/godwit/vfs"
)

// leaveError makes the error file say how an update ended, in the reference
// updater's form {"errors": […]}: there is none after a success, and
// it stays as it is while an update has to wait. It passes err on. Flash wears:
// what is there already is not written again.
func (d *Device) leaveError(err error) error {
	name := d.cfg.Tree.ErrorFile
	if name == "" || godwit.CodeOf(err).Deferral() || godwit.CodeOf(err) == godwit.CodeBusy {
		return err
	}
	if err == nil {
		e := d.fs.Remove(name)
		if errors.Is(e, fs.ErrNotExist) {
			return nil
		}
		if e == nil {
			e = d.fs.Sync()
		}
		if e != nil {
			return godwit.Fail(godwit.CodeIO, e, "the update worked, and "+name+" of an earlier one cannot be removed", "remove it")
		}
		return nil
	}
	b := append(jsontext.Append(nil, jsontext.Fields{{Name: "errors", Value: sentences(err)}}), '\n')
	if d.holds(name, b) {
		return err
	}
	if e := vfs.WriteFile(d.fs, name, b); e != nil {
		return errors.Join(err, godwit.Fail(godwit.CodeIO, e, name+" cannot be written", ""))
	}
	return err
}

// Ended passes on how something ended that only goes on with an update, such as
// its confirmation, and leaves a failure in the error file. That it worked says
// nothing of the update.
func (d *Device) Ended(err error) error {
	if err == nil {
		return nil
	}
	return d.leaveError(err)
}

// sentences are the errors that were joined to err, or err alone.
func sentences(err error) []string {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		var all []string
		for _, e := range j.Unwrap() {
			all = append(all, sentences(e)...)
		}
		return all
	}
	return []string{err.Error()}
}

// holds reports whether the file name has exactly the content b.
func (d *Device) holds(name string, b []byte) bool {
	f, err := d.fs.Open(name, vfs.Read)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size != int64(len(b)) {
		return false
	}
	old := make([]byte, len(b))
	_, err = io.ReadFull(io.NewSectionReader(f, 0, size), old)
	return err == nil && bytes.Equal(old, b)
}
