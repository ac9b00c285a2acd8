// Package hello is the wire form of the protocol draft 1.1, which begins with session.hello, as values: its envelope, its
// payloads, its event kinds, its codes. Most clients of the protocol speak it. What it says is mapped to the open dialect of
// package envelope, in which everything is stored; the mapping of single values is here, that of messages belongs to those
// who have a connection.
//
// Rules named here as "annex A, 7" are those of docs/hello-dialect.md: what breaks a client of one of the official
// libraries. [Check] finds most of them in a frame.
package hello
