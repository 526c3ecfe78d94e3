// Command godwit updates the files of a device from a Git repository. All it
// does is in internal/cli; this is where it meets the process.
package main

import (
	"context"
	"os"

	"github.com/godwit-ota/godwit/internal/cli"
	"github.com/godwit-ota/godwit/internal/demo"
)

func main() {
	cli.Frugal()
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv, demo.Run))
}
