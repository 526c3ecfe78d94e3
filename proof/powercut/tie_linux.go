package main

import (
	"os/exec"
	"syscall"
)

// tie has a program end with this one.
func tie(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
