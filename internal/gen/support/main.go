// Command support writes docs/protocol-support.md, the table of message types, from the catalogue in package envelope.
// It is run by go generate at the root of the module.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	out := flag.String("o", "", "file to write; standard output if empty")
	flag.Parse()
	if err := write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "support:", err)
		os.Exit(1)
	}
}

func write(path string) error {
	page := render()
	if path == "" {
		_, err := os.Stdout.Write(page)
		return err
	}
	return os.WriteFile(path, page, 0o644)
}
