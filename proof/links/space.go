//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// A space is a network of its own: a namespace with one TUN device, whose other
// end is the file. It needs no name and nothing has to be cleaned up: it is gone
// with the thread that lives in it.
type space struct {
	wire *os.File
	jobs chan func()
}

// newSpace makes a network in which this machine is called own and everything
// else is peer.
func newSpace(own, peer string, mtu int) (*space, error) {
	s := &space{jobs: make(chan func())}
	made := make(chan error)
	go func() {
		// Never unlocked: the thread ends with this function.
		runtime.LockOSThread()
		var err error
		s.wire, err = enter(own, peer, mtu)
		made <- err
		if err != nil {
			return
		}
		for job := range s.jobs {
			job()
		}
	}()
	return s, <-made
}

// do runs work in the network: sockets that it opens and programs that it starts
// belong there, wherever they are used later.
func (s *space) do(work func() error) error {
	done := make(chan error)
	s.jobs <- func() { done <- work() }
	return <-done
}

func (s *space) close() {
	s.wire.Close()
	close(s.jobs)
}

// enter takes the calling thread to a new network and gives the end of its wire.
func enter(own, peer string, mtu int) (*os.File, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, fmt.Errorf("a network of its own: %w", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	if err := attach(fd, own, peer, mtu); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "wire"), nil
}

const tunName = "wire0"

// attach makes the TUN device of fd, gives it its addresses and starts it.
func attach(fd int, own, peer string, mtu int) error {
	r, err := unix.NewIfreq(tunName)
	if err != nil {
		return err
	}
	r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, r); err != nil {
		return fmt.Errorf("a TUN device: %w", err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	set := func(what uint, fill func(*unix.Ifreq) error) {
		r, e := unix.NewIfreq(tunName)
		if e == nil {
			e = fill(r)
		}
		if e == nil {
			e = unix.IoctlIfreq(s, what, r)
		}
		err = errors.Join(err, e)
	}
	address := func(a string) func(*unix.Ifreq) error {
		return func(r *unix.Ifreq) error { return r.SetInet4Addr(ip4(a)) }
	}
	set(unix.SIOCSIFADDR, address(own))
	set(unix.SIOCSIFDSTADDR, address(peer))
	set(unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(uint32(mtu)); return nil })
	set(unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error {
		r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_POINTOPOINT)
		return nil
	})
	return err
}

// able says what is missing for all this here, "" for nothing.
func able() string {
	if os.Geteuid() != 0 {
		return "it makes networks of its own, and only root may"
	}
	f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0)
	if err != nil {
		return "there is no /dev/net/tun to make links of (" + err.Error() + ")"
	}
	f.Close()
	s, err := newSpace("10.9.0.1", "10.9.0.2", 1400)
	if err != nil {
		return err.Error()
	}
	s.close()
	return ""
}

func ip4(s string) []byte { return net.ParseIP(s).To4() }
