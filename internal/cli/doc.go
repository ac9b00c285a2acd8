// Package cli holds what the binaries share around their work: flags with
// their environment variables, the logger, the ready line, signals and exit
// codes. It knows nothing of sessions, jobs or NATS.
package cli

// Exit codes of every binary of the project.
const (
	ExitOK     = 0 // done
	ExitFailed = 1 // the work failed
	ExitUsage  = 2 // flags or configuration cannot be used; nothing was started
)
