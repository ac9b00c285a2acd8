// Command arcp is the client of the runtime: it invokes tools, shows what they say, and measures. It also carries the
// runtime itself, so that "arcp demo" needs no other file.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})) }
