// Package edgecmd is the arcp-edge program: its flags, and how the parts are put together. It is a package and not a
// main so that other programs of this module can start an edge as a process of their own.
package edgecmd
