package main

import (
	"fmt"
	"runtime/debug"

	"github.com/arcp-nats/arcp/envelope"
)

type versionCommand struct{}

// Run prints the version of this build and of the protocol.
func (versionCommand) Run(std streams) error {
	_, err := fmt.Fprintf(std.out, "arcp %s, protocol %s\n", version(), envelope.ProtocolVersion)
	return err
}

// version is what the build knows about itself: a module version, or else the revision.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}
