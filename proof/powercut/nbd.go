package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// The Network Block Device protocol, as far as QEMU needs it to use a Disk:
// fixed newstyle negotiation with NBD_OPT_GO, simple replies, one export.
// https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md
const (
	nbdMagic      = "NBDMAGIC" + "IHAVEOPT"
	nbdOptReply   = 0x3e889045565a9
	nbdRequest    = 0x25609513
	nbdReply      = 0x67446698
	nbdHandshake  = 1 | 2     // fixed newstyle, no zeroes
	nbdExport     = 1 | 4 | 8 // has flags, flush, force unit access
	nbdForce      = 1         // command flag: force unit access
	nbdLargest    = 64 << 20
	optExportName = 1
	optAbort      = 2
	optInfo       = 6
	optGo         = 7
	repAck        = 1
	repInfo       = 3
	repUnknown    = 1<<31 + 1
	cmdRead       = 0
	cmdWrite      = 1
	cmdDisconnect = 2
	cmdFlush      = 3
)

// Serve lets machines that connect to l use the disk, until l is closed.
func (d *Disk) Serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			d.serve(c)
		}()
	}
}

func (d *Disk) serve(c net.Conn) error {
	in, out := bufio.NewReaderSize(c, 1<<16), bufio.NewWriterSize(c, 1<<16)
	if err := d.negotiate(in, out); err != nil {
		return err
	}
	for {
		var q struct {
			Magic       uint32
			Flags, Kind uint16
			Cookie      uint64
			At          uint64
			Length      uint32
		}
		if err := binary.Read(in, binary.BigEndian, &q); err != nil {
			return err
		}
		inside := q.At <= uint64(d.Size()) && uint64(q.Length) <= uint64(d.Size())-q.At
		if q.Magic != nbdRequest || q.Length > nbdLargest || (q.Kind <= cmdWrite && !inside) {
			return fmt.Errorf("nbd: bad request %+v", q)
		}
		var answer []byte
		switch q.Kind {
		case cmdRead:
			answer = make([]byte, q.Length)
			d.Read(answer, int64(q.At))
		case cmdWrite:
			p := make([]byte, q.Length)
			if _, err := io.ReadFull(in, p); err != nil {
				return err
			}
			if !d.Write(p, int64(q.At), q.Flags&nbdForce != 0) {
				continue // no power, no answer
			}
		case cmdFlush:
			if !d.Flush() {
				continue
			}
		case cmdDisconnect:
			return nil
		default:
			return fmt.Errorf("nbd: command %d was never offered", q.Kind)
		}
		send(out, uint32(nbdReply), uint32(0), q.Cookie, answer)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func (d *Disk) negotiate(in *bufio.Reader, out *bufio.Writer) error {
	send(out, []byte(nbdMagic), uint16(nbdHandshake))
	if err := out.Flush(); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(in, binary.BigEndian, &flags); err != nil {
		return err
	}
	for {
		var o struct {
			Magic        [8]byte
			Kind, Length uint32
		}
		if err := binary.Read(in, binary.BigEndian, &o); err != nil {
			return err
		}
		if o.Length > 1<<16 {
			return fmt.Errorf("nbd: option of %d bytes", o.Length)
		}
		if _, err := io.CopyN(io.Discard, in, int64(o.Length)); err != nil {
			return err
		}
		reply := func(kind uint32, body ...any) {
			length := 0
			for _, b := range body {
				length += binary.Size(b)
			}
			send(out, uint64(nbdOptReply), o.Kind, kind, uint32(length))
			send(out, body...)
		}
		done := false
		switch o.Kind {
		case optExportName:
			send(out, uint64(d.Size()), uint16(nbdExport))
			done = true
		case optInfo, optGo:
			reply(repInfo, uint16(0), uint64(d.Size()), uint16(nbdExport))
			reply(repAck)
			done = o.Kind == optGo
		case optAbort:
			reply(repAck)
			out.Flush()
			return io.EOF
		default:
			reply(repUnknown)
		}
		if err := out.Flush(); err != nil || done {
			return err
		}
	}
}

// send writes values in network order; out remembers an error until it is flushed.
func send(out *bufio.Writer, values ...any) {
	for _, v := range values {
		binary.Write(out, binary.BigEndian, v)
	}
}
