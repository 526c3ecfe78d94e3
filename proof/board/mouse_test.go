package board_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godwit-ota/godwit/board"
)

// The numbers of linux/uhid.h: a process that is a HID device.
const (
	uhidDestroy        = 1
	uhidGetReport      = 9
	uhidGetReportReply = 10
	uhidCreate2        = 11
	uhidEventSize      = 4380
	busBluetooth       = 5
)

// mouse describes a mouse whose battery is at 50: usage 0x20 of the page
// "Generic Device Controls" in the HID usage tables, alone in report 2.
var mouse = []byte{
	0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x85, 0x01,
	0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02,
	0x95, 0x01, 0x75, 0x05, 0x81, 0x03, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x81, 0x25, 0x7f, 0x75, 0x08, 0x95, 0x02, 0x81, 0x06, 0xc0,
	0x85, 0x02, 0x05, 0x06, 0x09, 0x20, 0x15, 0x00, 0x25, 0x64, 0x75, 0x08, 0x95, 0x01, 0x81, 0x02, 0xc0,
}

// plugMouse connects the mouse until the test ends.
func plugMouse(t *testing.T) {
	f, err := os.OpenFile("/dev/uhid", os.O_RDWR, 0)
	if err != nil {
		t.Skip("no uhid: ", err)
	}
	le := binary.LittleEndian
	e := make([]byte, uhidEventSize)
	le.PutUint32(e, uhidCreate2)
	copy(e[4:], "A mouse")
	copy(e[4+128+64:], "00:11:22:33:44:55")
	info := e[4+128+64+64:]
	le.PutUint16(info, uint16(len(mouse)))
	le.PutUint16(info[2:], busBluetooth)
	le.PutUint32(info[4:], 0x1234)
	le.PutUint32(info[8:], 0x5678)
	copy(info[20:], mouse)
	if _, err := f.Write(e); err != nil {
		f.Close()
		t.Skip("no uhid: ", err)
	}
	done := make(chan struct{})
	go func() { // what the kernel asks
		defer close(done)
		ask := make([]byte, uhidEventSize)
		for {
			if _, err := f.Read(ask); err != nil {
				return
			}
			if le.Uint32(ask) != uhidGetReport {
				continue
			}
			answer := make([]byte, uhidEventSize)
			le.PutUint32(answer, uhidGetReportReply)
			copy(answer[4:8], ask[4:8]) // its number
			le.PutUint16(answer[10:], 2)
			copy(answer[12:], []byte{2, 50})
			f.Write(answer)
		}
	}()
	t.Cleanup(func() {
		end := make([]byte, 4)
		le.PutUint32(end, uhidDestroy)
		f.Write(end)
		f.Close()
		<-done
	})
}

// The battery of a mouse is one to the kernel, and not the device's.
func TestBatteryOfAMouse(t *testing.T) {
	want(t, "real")
	b := open(t, board.Config{})
	before, _ := b.Battery()
	plugMouse(t)
	var found []string
	for range 50 {
		if found, _ = filepath.Glob("/sys/class/power_supply/hid-*"); len(found) > 0 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if len(found) == 0 {
		t.Skip("this kernel shows no battery of it")
	}
	t.Logf("%s: %s", found[0], strings.ReplaceAll(text(found[0]+"/uevent"), "\n", " "))
	if r, err := b.Battery(); r != before {
		t.Errorf("the device's battery is now %+v, %v", r, err)
	}
	r, err := open(t, board.Config{Battery: board.BatteryConfig{Supply: filepath.Base(found[0])}}).Battery()
	t.Logf("%+v, %v", r, err)
	if err != nil || r.Percent != 50 || r.External != before.External {
		t.Errorf("%+v, %v", r, err)
	}
}
