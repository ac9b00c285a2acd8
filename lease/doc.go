// Package lease holds the rules of leases: what matches a model pattern, and when a lease is no wider than another one
// (open dialect 3.8, 4.13, 4.14). It is pure: no I/O, no clock.
package lease
