// Package client speaks the open dialect to an edge: it opens a session over a WebSocket, invokes tools, and keeps
// the session alive across lost connections and lost edges.
//
//	s, err := client.Dial(ctx, client.Config{URLs: []string{"ws://127.0.0.1:7777/arcp"}, Token: token})
//	if err != nil { ... }
//	defer s.Close(ctx)
//	job, err := s.Invoke(ctx, "echo", map[string]any{"hello": "world"})
//	if err != nil { ... }
//	for event, err := range job.Events(ctx) { ... }
//	result, err := job.Wait(ctx)
//
// # What a session promises
//
// Every countable envelope is handed over once and in the order of its event_seq, which must rise by exactly one each
// time, whatever happens to connections in between (open dialect FC-1, RE-6). A repeated number is dropped and counted;
// a number that is missing ends the session with a [*GapError]: what came after it would be out of order.
//
// When a connection is lost the session dials the addresses of its configuration in turn, from the one that it last
// used, and resumes. A request whose answer had not arrived by then is decided after the replay: if the replay did not
// bring the answer, it is sent again where that cannot do harm (a tool.invoke with an idempotency key, a cancel), and
// else fails with [ErrOutcomeUnknown].
//
// # Goroutines
//
// A session owns two goroutines, one that reads and reconnects and one that writes. Close and Detach wait for them. All
// methods of Session and Job may be called from several goroutines at once.
package client
