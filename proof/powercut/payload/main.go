//go:build linux

// Command payload is a stand-in.
package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/godwit-ota/godwit/proof/powercut/wire"
)

func main() {
	dir, sync := os.Args[1], os.Args[3] == "sync=yes"
	b, err := os.ReadFile(dir + "/n")
	n := 0
	if err == nil {
		if c, e := fmt.Sscanf(string(b), "%d.", &n); c != 1 || e != nil || !strings.HasSuffix(string(b), ".") {
			wire.Say(wire.Broken, fmt.Sprintf("%q", b))
			time.Sleep(time.Hour)
		}
	}
	wire.Say(wire.Check, fmt.Sprint(n))
	for {
		n++
		wire.Say(wire.May, fmt.Sprint(n))
		f, _ := os.Create(dir + "/new")
		fmt.Fprintf(f, "%d.", n)
		if sync {
			f.Sync()
		}
		f.Close()
		os.Rename(dir+"/new", dir+"/n")
		if sync {
			f, _ := os.Open(dir + "/n")
			f.Sync()
			f.Close()
			d, _ := os.Open(dir)
			d.Sync()
			d.Close()
		}
		wire.Say(wire.Ack, fmt.Sprint(n))
		wire.Say(wire.Did, "update")
	}
}
