package git

import (
	"github.com/godwit-ota/godwit/vfs"
)

// notes is the wire's memory: small files in the state folder.
type notes struct {
	fsys   vfs.FS
	folder string
}

const maxNote = 64 << 10

func (n notes) Load(name string) ([]byte, error) {
	return vfs.ReadFile(n.fsys, n.folder+"/"+name, maxNote)
}

func (n notes) Save(name string, b []byte) error {
	if _, err := n.fsys.Lstat(n.folder); err != nil {
		return err // the store makes it, durably; until then nothing is remembered
	}
	return vfs.WriteFile(n.fsys, n.folder+"/"+name, b)
}
