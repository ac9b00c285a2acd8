package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/internal/demo"
)

type demoCommand struct {
	Folder  string `arg:"" optional:"" type:"existingdir" help:"Folder whose Go files are counted. Default: the module around the current folder."`
	Verbose bool   `help:"Print what the processes log."`
}

// Run shows the demonstration.
func (c *demoCommand) Run(p *program, std streams, signals interrupt) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("own program file: %w", err)
	}
	if c.Folder == "" {
		if c.Folder, err = moduleRoot(); err != nil {
			return err
		}
	}
	o := demo.Options{
		Folder: c.Folder, JSON: p.JSON, Terminal: isTerminal(std.out), Stdout: std.out, Self: self, Dialect: client.Dialect(p.Dialect),
	}
	if c.Verbose {
		o.Stderr = std.err
	}
	return demo.Run(signals.work, o)
}

// moduleRoot returns the nearest folder upwards that holds a go.mod, or the current one if there is none.
func moduleRoot() (string, error) {
	here, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return here, nil
		}
	}
}
