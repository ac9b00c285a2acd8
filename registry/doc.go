// Package registry is what the workers of a cluster offer, and how a reference to a tool is resolved with it.
//
// Workers write two kinds of entries into the tools bucket: one a queue, which stays, and says which tools the queue
// serves; and one a worker, its presence, which goes when it is not renewed. So a tool whose workers are all away is
// still known, and its jobs queue, while a name that nobody ever offered fails at once.
//
// The package is pure: a Table is fed with the entries as they are read, and answers from memory.
package registry
