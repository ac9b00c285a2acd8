// Command arcp-worker runs tools; see its --help.
package main

import (
	"os"

	"github.com/arcp-nats/arcp/internal/workercmd"
)

func main() { os.Exit(workercmd.Main(os.Args[1:], os.Stdout, os.Stderr)) }
