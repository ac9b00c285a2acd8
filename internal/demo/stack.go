package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/internal/children"
	"github.com/arcp-nats/arcp/internal/offered"
)

const (
	startTimeout = time.Minute
	stopTimeout  = 10 * time.Second
)

// stack is the processes of the demonstration and their files.
type stack struct {
	dir   string
	token string
	log   io.Writer
	edges []*children.Child
	all   []*children.Child // in the order of their start
}

// startStack starts a NATS server, two workers and two edges. On failure nothing is left behind.
func startStack(ctx context.Context, o Options) (_ *stack, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "arcp-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	s := &stack{dir: dir, token: rand.Text(), log: o.Stderr}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	// A file, since command lines can be read by everybody on the machine.
	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, []byte(s.token+" demo\n"), 0o600); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	nats, err := s.start(ctx, o.Self, "nats", "__nats", "--dir", filepath.Join(dir, "nats"))
	if err != nil {
		return nil, err
	}
	// The first edge makes the log that the workers read.
	for _, name := range []string{"edge-1", "edge-2"} {
		edge, err := s.start(ctx, o.Self, name, "__edge", "--nats", nats.Ready("nats"), "--name", name,
			"--listen", "127.0.0.1:0", "--token-file", tokens)
		if err != nil {
			return nil, err
		}
		s.edges = append(s.edges, edge)
	}
	exec := tool + "=" + quote(o.Self) + " __wordcount"
	for _, name := range []string{"worker-1", "worker-2"} {
		if _, err := s.start(ctx, o.Self, name, "__worker", "--nats", nats.Ready("nats"), "--name", name, "--exec", exec); err != nil {
			return nil, err
		}
	}
	return s, offered.Wait(ctx, client.Config{URLs: s.urls(), Token: s.token}, tool, startTimeout)
}

func (s *stack) start(ctx context.Context, file, name string, args ...string) (*children.Child, error) {
	c, err := children.Start(ctx, children.Spec{Name: name, File: file, Args: args, Stderr: s.log})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	s.all = append(s.all, c)
	return c, nil
}

// urls returns the addresses of the edges.
func (s *stack) urls() []string {
	var urls []string
	for _, e := range s.edges {
		urls = append(urls, e.Ready("edge"))
	}
	return urls
}

// nameOf returns which edge has an address.
func (s *stack) nameOf(url string) string {
	for _, e := range s.edges {
		if e.Ready("edge") == url {
			return e.Name()
		}
	}
	return url
}

// stop ends the processes, the server last, and removes the files. Processes that were killed on purpose are no error.
func (s *stack) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var failures []error
	for _, c := range slices.Backward(s.all) {
		select {
		case <-c.Gone():
		default:
			if err := c.Stop(ctx); err != nil {
				failures = append(failures, err)
			}
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		failures = append(failures, err)
	}
	return errors.Join(failures...)
}

// quote writes a word for the command line of a tool program.
func quote(word string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(word) + `"`
}
