package chaos

import (
	"context"
	"fmt"
	"time"
)

// maxFed bounds the chunks that a client streams to a job.
const maxFed = 40

// feeding streams to the client's own jobs that collect it. It says all of it again when the connection was lost, when
// something was refused for want of the log, or when the job does not end.
type feeding struct {
	open map[string]*feed // by job
	link *Link
}

// feed is a stream to a job.
type feed struct {
	job     string
	opening string // the id of the message that opens it
	chunks  int
	next    int // what to say: the opening, each chunk, and the close
	again   time.Time
}

func newFeeding() *feeding { return &feeding{open: make(map[string]*feed)} }

// begin does nothing: the jobs are begun as others are.
func (*feeding) begin(context.Context, *client) error { return nil }

func (f *feeding) due(ctx context.Context, c *client, now time.Time) (bool, error) {
	if f.link != c.link {
		f.link = c.link
		f.restart(now)
	}
	for _, one := range f.open {
		switch {
		case one.next <= one.chunks+1:
		case now.After(one.again):
			one.next = 0
		default:
			continue
		}
		// Some at a time, so that the stream gets on.
		for n := 1 + c.random.IntN(8); n > 0 && one.next <= one.chunks+1; n-- {
			if err := one.say(ctx, c); err != nil {
				return true, err
			}
		}
		one.again = now.Add(askAgain)
		return true, nil
	}
	return false, nil
}

func (f *feeding) restart(now time.Time) {
	for _, one := range f.open {
		one.next, one.again = 0, now
	}
}

// say says what comes next.
func (f *feed) say(ctx context.Context, c *client) error {
	r := Request{Type: "stream.chunk", Job: f.job, Stream: "str_" + f.job}
	var body map[string]any
	switch f.next {
	case 0:
		r.Type, r.ID = "stream.open", f.opening
		body = map[string]any{"kind": "text"}
	case f.chunks + 1:
		r.Type = "stream.close"
		body = map[string]any{"final_sequence": f.chunks - 1}
	default:
		body = map[string]any{"sequence": f.next - 1, "data": fmt.Sprint(f.next - 1)}
	}
	f.next++
	return c.sendOne(ctx, r, body)
}

func (f *feeding) learn(c *client, e *frame) {
	switch {
	case e.Type == "job.accepted" && c.work.feeds[e.CorrelationID] > 0 && e.IdempotencyKey == "":
		f.open[e.JobID] = &feed{job: e.JobID, opening: c.newID(), chunks: c.work.feeds[e.CorrelationID]}
	case e.Type == "nack" && e.EventSeq == 0:
		f.restart(time.Now()) // it may be about one of these
	case e.terminal():
		delete(f.open, e.JobID)
	}
}

func (*feeding) settled() bool { return true } // the jobs are waited for
