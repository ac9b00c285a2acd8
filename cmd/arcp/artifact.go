package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/arcp-nats/arcp/artifact"
	"github.com/arcp-nats/arcp/client"
)

// maxPut bounds the file that put reads; what fits is the edge's to say.
const maxPut = 64 << 20

type putCommand struct {
	File      string        `arg:"" help:"File to store; - reads standard input."`
	MediaType string        `help:"What it is. Default: by the file's name, or else by its content." placeholder:"TYPE"`
	Keep      time.Duration `help:"How long to keep it, at most what the runtime allows. Default: the runtime's." placeholder:"DURATION"`
}

// Run stores a file.
func (c *putCommand) Run(p *program, std streams, signals interrupt) error {
	content, err := c.read(std.in)
	if err != nil {
		return err
	}
	return withSession(p, std, signals, func(ctx context.Context, session *client.Session) error {
		ref, err := session.PutArtifact(ctx, c.mediaType(content), content, c.Keep)
		if err == nil && !p.JSON {
			_, err = fmt.Fprintln(std.out, ref.ArtifactID)
		}
		return err
	})
}

func (c *putCommand) read(stdin io.Reader) ([]byte, error) {
	if c.Keep < 0 {
		return nil, usageError{fmt.Errorf("--keep %s: must not be negative", c.Keep)}
	}
	from, name := stdin, "standard input"
	if c.File != "-" {
		file, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }() // it is only read
		from, name = file, c.File
	}
	content, err := io.ReadAll(io.LimitReader(from, maxPut+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(content) > maxPut {
		return nil, fmt.Errorf("%s: more than %d bytes; larger artifacts are made by jobs", name, maxPut)
	}
	return content, nil
}

func (c *putCommand) mediaType(content []byte) string {
	if c.MediaType != "" {
		return c.MediaType
	}
	if byName := mime.TypeByExtension(filepath.Ext(c.File)); byName != "" {
		return byName
	}
	return http.DetectContentType(content)
}

type getCommand struct {
	ID     string `arg:"" help:"Id of the artifact, or its URI."`
	Output string `short:"o" help:"File to write; it appears when it is complete. Default: standard output." placeholder:"FILE"`
}

// Run writes an artifact, of any size.
func (c *getCommand) Run(p *program, std streams, signals interrupt) error {
	id, err := artifact.ParseRef(c.ID)
	if err != nil {
		return usageError{fmt.Errorf("ID: %w", err)}
	}
	return withSession(p, std, signals, func(ctx context.Context, session *client.Session) error {
		content, err := session.OpenArtifact(ctx, id)
		if err != nil {
			return err
		}
		defer func() { _ = content.Close() }() // the hash has told whether all came
		shown, finish := progressOf(std.err, content)
		defer finish()
		if c.Output == "" {
			out := bufio.NewWriter(std.out)
			if p.JSON {
				out = bufio.NewWriter(io.Discard) // the envelopes are what is printed
			}
			_, err = io.Copy(out, shown)
			return errors.Join(err, out.Flush())
		}
		return writeWhole(c.Output, shown)
	})
}

// progressOf shows on a terminal how much of an artifact has come.
func progressOf(errs io.Writer, content *client.Artifact) (shown io.Reader, finish func()) {
	if content.Size <= 0 || !isTerminal(errs) {
		return content, func() {}
	}
	bars := mpb.New(mpb.WithOutput(errs), mpb.WithWidth(60))
	bar := bars.AddBar(content.Size, mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.CountersKibiByte("% .1f / % .1f")), mpb.AppendDecorators(decor.Percentage()))
	return bar.ProxyReader(content), func() {
		bar.Abort(true)
		bars.Wait()
	}
}

// writeWhole writes a file that is there when it is complete, and not before.
func writeWhole(name string, content io.Reader) error {
	file, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}

// withSession opens a session for some work and closes it.
func withSession(p *program, std streams, signals interrupt, work func(context.Context, *client.Session) error) error {
	session, err := p.dial(signals.work, std)
	if err != nil {
		return err
	}
	defer session.Detach()
	if err := work(signals.work, session); err != nil {
		return err
	}
	closing, cancel := context.WithTimeout(signals.cleanup, closeTimeout)
	defer cancel()
	return session.Close(closing)
}
