package demo

import (
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/arcp-nats/arcp/client"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/eventline"
)

// show writes what happens: lines, with a bar below them on a terminal, or envelopes. Its methods may be called from
// several goroutines at once.
type show struct {
	json bool
	bars *mpb.Progress
	bar  *mpb.Bar

	direct io.Writer

	mu  sync.Mutex
	out io.Writer // direct, or above the bar
}

func newShow(o Options, files int) *show {
	s := &show{json: o.JSON, direct: o.Stdout, out: o.Stdout}
	if o.Terminal && !o.JSON {
		s.bars = mpb.New(mpb.WithOutput(o.Stdout), mpb.WithWidth(60), mpb.WithAutoRefresh())
		s.bar = s.bars.AddBar(int64(files),
			mpb.PrependDecorators(decor.CountersNoUnit("%d / %d files")),
			mpb.AppendDecorators(decor.Percentage()))
		s.out = s.bars // lines go above the bar
	}
	return s
}

// close leaves the bar as it is; what is written after it goes below. Only the first call counts.
func (s *show) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bars == nil {
		return
	}
	if !s.bar.Completed() {
		s.bar.Abort(false)
	}
	s.bars.Wait()
	s.bars, s.out = nil, s.direct
}

// say writes a line about the demonstration itself.
func (s *show) say(format string, args ...any) {
	if !s.json {
		s.line("-- " + fmt.Sprintf(format, args...))
	}
}

func (s *show) line(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A reader that has gone away does not stop the demonstration; it ends with it.
	_, _ = io.WriteString(s.out, text+"\n")
}

// envelope is the client's hook.
func (s *show) envelope(raw []byte, _ *envelope.Envelope) {
	if s.json {
		s.line(string(raw))
	}
}

// state is the client's hook.
func (s *show) state(at *stack, st client.State) {
	switch st.Change {
	case client.Lost:
		s.say("lost the connection to %s", at.nameOf(st.URL))
	case client.Resumed:
		s.say("resumed the session on %s", at.nameOf(st.URL))
	case client.Connected:
		s.say("opened a session on %s", at.nameOf(st.URL))
	}
}

// event shows an event of the job, and returns the progress if it is one.
func (s *show) event(e *envelope.Envelope) *envelope.JobProgress {
	if !s.json {
		s.line(eventline.Format(e))
	}
	if e.Type != envelope.TypeJobProgress {
		return nil
	}
	p, err := envelope.DecodePayload[envelope.JobProgress](e)
	if err != nil {
		return nil
	}
	if s.bar != nil {
		s.bar.SetCurrent(int64(p.Current))
	}
	return p
}

// summary writes the last lines.
func (s *show) summary(sum Summary) error {
	s.close()
	if s.json {
		line, err := json.Marshal(map[string]Summary{"summary": sum})
		if err != nil {
			return fmt.Errorf("demo: summary: %w", err)
		}
		s.line(string(line))
		return nil
	}
	result, err := json.Marshal(sum.Result)
	if err != nil {
		return fmt.Errorf("demo: result: %w", err)
	}
	s.line(string(result))
	verdict := "without a gap or a repeat"
	if sum.Gaps+sum.Repeats > 0 {
		verdict = fmt.Sprintf("with %d gaps and %d repeats", sum.Gaps, sum.Repeats)
	}
	s.line(strconv.FormatUint(sum.Events, 10) + " events, numbered 1.." + strconv.FormatUint(sum.Events, 10) + " " + verdict +
		", over " + strconv.FormatUint(sum.Resumed+1, 10) + " connections")
	return nil
}

func unmarshal(data []byte, into any) error { return json.Unmarshal(data, into) }
