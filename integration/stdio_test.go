package integration_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/hello"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// stdio is an edge that is a child of the test.
type stdio struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startStdio(t *testing.T, args ...string) *stdio {
	t.Helper()
	path, err := binary()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), wstest.Wait)
	t.Cleanup(cancel)
	s := &stdio{t: t, cmd: exec.CommandContext(ctx, path, append([]string{"__edge", "--stdio"}, args...)...)}
	s.in, err = s.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	s.out = bufio.NewScanner(out)
	require.NoError(t, s.cmd.Start())
	return s
}

func (s *stdio) say(line string) {
	s.t.Helper()
	_, err := io.WriteString(s.in, line+"\n")
	require.NoError(s.t, err)
}

// until reads lines until a message of a type comes, and returns all.
func (s *stdio) until(typ string) (all []wstest.Message) {
	s.t.Helper()
	for s.out.Scan() {
		var m wstest.Message
		require.NoError(s.t, json.Unmarshal(s.out.Bytes(), &m))
		if all = append(all, m); m.Type() == typ {
			return all
		}
	}
	require.Fail(s.t, "no "+typ, "%v", all)
	return nil
}

// end closes standard input, and the process ends well.
func (s *stdio) end() {
	s.t.Helper()
	require.NoError(s.t, s.in.Close())
	for s.out.Scan() { // what it still says
	}
	require.NoError(s.t, s.cmd.Wait())
}

func TestStdioServesASessionOfEitherDialect(t *testing.T) {
	s := startStdio(t)
	s.say(`{"arcp":"1.1","id":"q-1","type":"session.hello","payload":{"client":{"name":"parent"},"auth":{"scheme":"bearer"},"capabilities":{}}}`)
	s.say("")
	s.say(`{"id":"q-2","type":"job.submit","payload":{"agent":"echo","input":[1]}}`)
	var linter hello.Linter
	linter.Connected(false, 0)
	linter.Sent([]byte(`{"id":"q-2","type":"job.submit"}`))
	for _, m := range s.until("job.result") {
		text, err := json.Marshal(m)
		require.NoError(t, err)
		require.NoError(t, linter.Received(text))
	}
	s.end()

	s = startStdio(t)
	s.say(`{"arcp":"1.1","id":"msg_1","timestamp":"2026-01-01T00:00:00Z","type":"session.open","payload":{"auth":{"scheme":"none"},"client":{"kind":"parent","version":"1"},"capabilities":{"anonymous":true}}}`)
	s.until("session.accepted")
	s.say(`{"arcp":"1.1","id":"msg_2","timestamp":"2026-01-01T00:00:00Z","type":"tool.invoke","payload":{"tool":"echo","arguments":[1]}}`)
	s.until("job.completed")
	s.end()
}

// TestStdioIsAnEdgeOfTheCluster: with --nats, what it is told to do any worker does, and its session can be resumed on another
// edge.
func TestStdioIsAnEdgeOfTheCluster(t *testing.T) {
	c := startProcesses(t)
	e := c.edge("edge-1")
	c.worker("worker-1")
	untilServed(t, e.ready["edge"], "sleep")
	s := startStdio(t, "--nats", c.nats, "--token-file", c.tokens)
	s.say(`{"arcp":"1.1","id":"msg_1","timestamp":"2026-01-01T00:00:00Z","type":"session.open","payload":{"auth":{"scheme":"bearer","token":"` + aliceToken + `"},"client":{"kind":"parent","version":"1"},"capabilities":{}}}`)
	accepted := s.until("session.accepted")[0]
	s.say(`{"arcp":"1.1","id":"msg_2","timestamp":"2026-01-01T00:00:00Z","type":"tool.invoke","payload":{"tool":"sleep","arguments":{"ms":1000}}}`)
	s.until("job.started")
	s.end()
	p := wstest.Dial(t, e.ready["edge"])
	p.Resume(token(accepted), 2)
	p.Until("job.completed")
}
