// Package workercmd is the command of arcp-worker: its flags, and the wiring
// of a worker to NATS.
package workercmd
