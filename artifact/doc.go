// Package artifact says what stored content is, wherever it is stored: its description, its limits and its names. It does
// no I/O. Package jetstream keeps artifacts in a store; edges and workers put them there and read them.
//
// An artifact belongs to a principal. A [Store] is asked with the principal and the id, and an id of another one's is not
// there: nothing can be told apart from an artifact that never was.
package artifact
