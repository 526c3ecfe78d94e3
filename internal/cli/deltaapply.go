package cli

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/godwit-ota/godwit"
	"github.com/godwit-ota/godwit/delta"
	"github.com/godwit-ota/godwit/delta/inplace"
	"github.com/godwit-ota/godwit/plan"
)

// patchBuffer is how much of a patch is read at once.
const patchBuffer = 4 << 10

// applyStep is how much is written between two looks at the progress.
const applyStep = 256 << 10

// deltaApply makes a new file of an old one and a patch.
func (c *command) deltaApply(ctx context.Context, o *patching) error {
	oldName, patchName, err := c.pair("apply", "PATCH")
	if err != nil {
		return err
	}
	switch {
	case o.out == "" && !o.within:
		return usageText("say where to write the new file: -o FILE", "delta")
	case o.out != "" && o.within:
		return usageText("with --in-place OLD itself becomes the new file, and there is no -o", "delta")
	}
	limit := int64(-1)
	if o.memory != "" {
		if limit, err = parseSize(o.memory, "memory"); err != nil {
			return err
		}
	}
	patch, err := openFile(patchName)
	if err != nil {
		return err
	}
	defer patch.Close()
	switch ofTree, folder := isTreePatch(patch), isFolder(oldName); {
	case ofTree && o.within:
		return usageText("--in-place is for files, and "+patchName+" is a patch for a folder", "delta")
	case ofTree && folder:
		return c.deltaApplyTree(ctx, o, oldName, patchName, patch, limit)
	case ofTree:
		return usageText(patchName+" is a patch for a folder, and "+oldName+" is none", "delta")
	case folder:
		return usageText(oldName+" is a folder, and "+patchName+" is no patch for one", "delta")
	case o.manifest != "":
		return usageText("--manifest is for patches of folders", "delta")
	}
	h, err := delta.ReadHeader(patch)
	if err != nil {
		return patchError(err, patchName, oldName, h)
	}
	need := delta.Tier.Memory
	if o.within {
		need = inplace.Memory
	}
	if limit >= 0 && int64(need(h.Tier)) > limit {
		return tooLarge(patchName, h.Tier, need, limit)
	}
	if o.within {
		return c.deltaTurn(ctx, o, oldName, patchName, patch, h)
	}
	old, err := openFile(oldName)
	if err != nil {
		return err
	}
	defer old.Close()
	info, err := old.Stat()
	if err != nil {
		return godwit.Fail(godwit.CodeIO, err, oldName+" cannot be read", "")
	}
	// A patch is of contents; the rights are those of the old file.
	d, err := newDraft(o.out, info.Mode().Perm())
	if err != nil {
		return err
	}
	defer d.drop()
	begun := time.Now()
	if _, err := patch.Seek(0, io.SeekStart); err != nil {
		return godwit.Fail(godwit.CodeIO, err, patchName+" cannot be read", "")
	}
	dec, err := delta.NewDecoder(make([]byte, h.Tier.Memory()), bufio.NewReaderSize(patch, patchBuffer), old, info.Size(), d)
	show := c.progress(stageApply, o.out)
	for done, at := false, int64(0); err == nil && !done; at = min(at+applyStep, h.NewSize) {
		if err = ctx.Err(); err == nil {
			show(at, h.NewSize)
			done, err = dec.Decode(applyStep)
		}
	}
	if err == nil {
		err = d.keep()
	}
	if err != nil {
		return patchError(err, patchName, oldName, h)
	}
	p := c.printer()
	line := begin("applied")
	line.text("out", o.out)
	line.headerFields(h)
	line.number("milliseconds", time.Since(begun).Milliseconds())
	p.Emit(line.done())
	p.Printf("%s: %s, as the patch says\n", o.out, plan.Bytes(h.NewSize))
	return nil
}

func openFile(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err == nil {
		if info, e := f.Stat(); e == nil && info.IsDir() {
			f.Close()
			return nil, godwit.Fail(godwit.CodeUsage, nil, name+" is a folder", "name a file")
		}
		return f, nil
	}
	return nil, godwit.Fail(godwit.CodeUsage, err, name+" cannot be read", "name a file that is there")
}

// tooLarge refuses a patch that needs more memory than there may be. need is what
// a patch of a tier takes, in bytes.
func tooLarge(patch string, t delta.Tier, need func(delta.Tier) int, limit int64) error {
	hint := "there are no such patches for less than " + binarySize(int64(need(delta.Tiny)))
	for t := delta.Tiny; t <= delta.Large && int64(need(t)) <= limit; t++ {
		hint = "make the patch anew with --tier " + t.String()
	}
	return godwit.Fail(godwit.CodeLimit, nil, patch+" needs "+binarySize(int64(need(t)))+" of memory, and --memory allows "+binarySize(limit), hint)
}

// patchError words what can be wrong with a patch.
func patchError(err error, patch, old string, h delta.Header) error {
	const anew = "copy or download it again, or make it anew with this version of Godwit"
	var ours *godwit.Error
	switch {
	case errors.As(err, &ours), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, delta.ErrNoPatch):
		return godwit.Fail(godwit.CodeBadObject, nil, patch+" is no patch that this version of Godwit knows", anew)
	case errors.Is(err, delta.ErrWrongOld):
		return godwit.Fail(godwit.CodeWrongOld, nil, patch+" was made for another file than "+old,
			"it is for one of "+plan.Bytes(h.OldSize)+" whose SHA-256 begins with "+hexSum(h.OldSum)+"; `godwit delta info` shows what a patch is for")
	case errors.Is(err, delta.ErrDamaged):
		return godwit.Fail(godwit.CodeBadObject, nil, patch+" is damaged", anew)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return godwit.Fail(godwit.CodeBadObject, nil, patch+" ends too early", anew)
	case errors.Is(err, delta.ErrMemory):
		return godwit.Fail(godwit.CodeLimit, err, patch+" cannot be applied", "")
	}
	return writeError(err, "the new file")
}
