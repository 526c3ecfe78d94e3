package model

import (
	"testing"
	"unsafe"
)

func TestSizes(t *testing.T) {
	t.Log("walk", unsafe.Sizeof(Walk{}), "refs", unsafe.Sizeof(refs{}), "ref", unsafe.Sizeof(ref{}), "recipe", unsafe.Sizeof(Recipe{}), "task", unsafe.Sizeof(Task{}), "mixer", unsafe.Sizeof(mixer{}))
	t.Log(Memory(1), Memory(2), Memory(3))
}
