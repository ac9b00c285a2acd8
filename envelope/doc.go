// Package envelope is the wire of the open dialect: the envelope, its 65
// message types with their payloads, identifiers, timestamps, error codes,
// capabilities, leases and amounts.
//
// Everything here is a plain value. The package opens nothing, starts no
// goroutine and keeps no state but the random source of new identifiers, so
// every function may be called from any goroutine.
//
// A message is read in two steps. [Decode] reads the envelope and leaves the
// payload raw; [Envelope.Decode] or [DecodePayload] reads the payload when its
// handler wants it. Both say what is wrong by a [*DecodeError] that names the
// member and carries the code to answer with. Writing is [New] followed by
// [Envelope.Append].
//
// [DecodeStored] reads back what the runtime itself has written.
//
// The table of message types is [Catalogue]: direction, whether the type takes
// part in event_seq, its own size limit, and the constructor of its payload.
// Adding a message type means adding a payload struct and one row.
//
// # Payload structs
//
// A payload struct has one field for each member of open dialect section 3.
// Three kinds of member are told apart by tags:
//
//	f: T !     `json:"f" arcp:"!"`             must be present and not null
//	f: T ?     `json:"f,omitzero"`             null means absent
//	f: T ?=v   `json:"f,omitempty" arcp:"="`   left out when default, null refused
//
// An optional string that is empty counts as absent. An optional number or
// boolean is a pointer, since 0 and false differ from absent on the wire.
package envelope
