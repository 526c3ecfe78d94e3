package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/diff"
	"github.com/godwit-ota/godwit/delta/inplace"
	"github.com/godwit-ota/godwit/plan"
	"github.com/godwit-ota/godwit/vfs"
)

// journalSuffix names the journal of a file that is turned in place.
const journalSuffix = ".godwit-journal"

// inPlace reads --slack and --block.
func (o *patching) inPlace() (slack, block int64, err error) {
	if slack, err = parseSize(o.slack, "slack"); err != nil {
		return 0, 0, err
	}
	if block, err = parseSize(o.block, "block"); err != nil {
		return 0, 0, err
	}
	if slack%inplace.Grain != 0 || block%inplace.Grain != 0 || block == 0 {
		return 0, 0, usageText("--slack and --block are multiples of "+binarySize(inplace.Grain)+", and --block is not 0", "delta")
	}
	return slack, block, nil
}

// rehearsed makes sure that a patch turns the file as it should: one that does
// not would ruin it.
func rehearsed(o diff.Options, patch, old, new []byte) error {
	if o.Block == 0 {
		return nil
	}
	got, err := inplace.Rehearse(patch, old)
	if err == nil && !bytes.Equal(got, new) {
		err = delta.ErrDamaged
	}
	if err != nil {
		return godwit.Fail(godwit.CodeFailed, err, "a patch in place could not be made", "make one without --in-place")
	}
	return nil
}

// deltaTurn turns a file within itself.
func (c *command) deltaTurn(ctx context.Context, o *patching, name, patchName string, patch *os.File, h delta.Header) error {
	f, err := openFile(name)
	if err != nil {
		return err
	}
	f.Close()
	info, err := patch.Stat()
	if err != nil {
		return godwit.Fail(godwit.CodeIO, err, patchName+" cannot be read", "")
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(patch, 0, info.Size())); err != nil {
		return godwit.Fail(godwit.CodeIO, err, patchName+" cannot be read", "")
	}
	fsys, err := vfs.OS(filepath.Dir(name))
	if err != nil {
		return godwit.Fail(godwit.CodeUsage, err, name+" cannot be read", "name a file that is there")
	}
	defer fsys.Close()
	job := inplace.Job{FS: fsys, File: filepath.Base(name), Journal: filepath.Base(name) + journalSuffix, Patch: patch, PatchSize: info.Size(),
		PatchSum: [sha256.Size]byte(sum.Sum(nil)), Progress: c.progress(stageApply, name)}
	if job.New, err = newDigest(o, &job, name, patch); err != nil {
		return turnError(err, name, patchName, h)
	}
	begun := time.Now()
	if err := job.Run(ctx, make([]byte, inplace.Memory(h.Tier))); err != nil {
		return turnError(err, name, patchName, h)
	}
	p := c.printer()
	line := begin("applied")
	line.text("out", name)
	line.headerFields(h)
	line.number("milliseconds", time.Since(begun).Milliseconds())
	p.Emit(line.done())
	p.Printf("%s: %s, as the patch says\n", name, plan.Bytes(h.NewSize))
	return nil
}

// newDigest is the digest of what the file becomes: as somebody says, as the
// journal of a run that was cut says, or as the patch gives it in memory. Once the
// file is being changed a patch that is no good is found out too late.
func newDigest(o *patching, job *inplace.Job, name string, patch io.ReaderAt) (d godwit.Digest, err error) {
	if o.sha256 != "" {
		if d, err = godwit.ParseDigest("sha256:" + o.sha256); err != nil {
			err = usageText("--sha256 takes 64 hexadecimal digits", "delta")
		}
		return d, err
	}
	s, err := inplace.Look(job.FS, job.Journal)
	if err != nil || s.Begun && s.Patch == job.PatchSum {
		return s.New, err
	}
	content, err := readFile(name)
	if err != nil {
		return d, err
	}
	b, err := io.ReadAll(io.NewSectionReader(patch, 0, job.PatchSize))
	if err != nil {
		return d, err
	}
	h, err := delta.ReadHeader(bytes.NewReader(b))
	if err != nil {
		return d, err
	}
	if int64(len(content)) == h.NewSize && delta.SumOf(sha256.Sum256(content)) == h.NewSum {
		return diff.Sum(content), nil // it is there already
	}
	new, err := inplace.Rehearse(b, content)
	return diff.Sum(new), err
}

// turnError words what keeps a file from being turned.
func turnError(err error, name, patch string, h delta.Header) error {
	switch {
	case errors.Is(err, inplace.ErrUnfit):
		return godwit.Fail(godwit.CodeUsage, nil, patch+" is not for turning a file in place", "make it with --in-place, or apply it with -o FILE")
	case errors.Is(err, inplace.ErrOther):
		return godwit.Fail(godwit.CodeBusy, nil, name+" is being turned into another version, and that is not finished", "apply the patch that was begun again; it goes on from there")
	case errors.Is(err, inplace.ErrLost):
		return godwit.Fail(godwit.CodeDamaged, err, name+" was damaged while it was turned into its new version", "the disk may be failing: copy the whole new file, and remove "+name+journalSuffix)
	case vfs.Full(err):
		return godwit.Fail(godwit.CodeDiskFull, nil, "there is no room for turning "+name, "make room for what the new file is longer, the slack and the journal; nothing was changed")
	case errors.Is(err, context.Canceled):
		return err
	}
	return patchError(err, patch, name, h)
}
