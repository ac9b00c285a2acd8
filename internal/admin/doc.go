// Package admin is the address at which operators look at a process: whether it lives, whether it can take work, its
// metrics and, if asked for, its profiles. It knows nothing of sessions, jobs or NATS; what it tells is handed to it.
package admin
