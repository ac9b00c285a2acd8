// Command arcp-edge holds client connections: an edge node of the ARCP runtime. Run it with --help for its flags.
package main

import (
	"os"

	"github.com/arcp-nats/arcp/internal/edgecmd"
)

func main() { os.Exit(edgecmd.Main(os.Args[1:], os.Stdout, os.Stderr)) }
