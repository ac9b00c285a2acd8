// Package demo holds the built-in tools that show what a worker can do. Each
// is version 1 of its name.
//
//	echo     any arguments; they are the result
//	sleep    {ms}; ends at once when cancelled
//	count    {to, every_ms}; a progress event per step
//	log      {lines, level}; a log event per line
//	fail     {code, message}; fails the job with that code
//	panic    no arguments; panics
//	attempt  {to, every_ms, checkpoint_every}; counts like count, and a later
//	         attempt goes on from the last checkpoint
package demo
