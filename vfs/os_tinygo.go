//go:build tinygo

package vfs

func isFull(error) bool        { return false }
func isReadOnly(error) bool    { return false }
func isNameTooLong(error) bool { return false }
