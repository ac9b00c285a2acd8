package jetstream

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// The size of direct gets. The broker finishes a message that begins below a bound in bytes, so an answer is at most one
// message larger.
const (
	probeRecords = 128     // of a look at what the log holds at a position
	probeFew     = 2       // jobs among them below which there may be few in all
	oneInDense   = 16      // of the records of a stretch are jobs of the set: everything is read
	readMost     = 2048    // records to read without a filter at a time
	chunkBytes   = 1 << 20 // of an answer

	askedAtOnce = 32       // jobs whose events are asked for
	firstEvents = 8        // of a job: most have fewer
	firstBytes  = 32 << 10 //
	moreEvents  = 512      // of one that has more, at a time
	moreBytes   = 128 << 10
	eventsRead  = 16 << 10 // records of a job that are read one by one
)

// Invocations returns invocations of jobs of a set, in log order: those from position from on, at most limit, which must
// be above 0, and fewer where they are large. next is where to go on; end says that there were no more when the broker was asked. In a cluster the answer
// may come from a replica that is a moment behind.
//
// How many of the log's records are of the set decides what is cheap, so it looks first at what is there. Where many are,
// everything is read: a filter makes the broker count all that match, 10 ms for 100,000. Where they are few in all, the
// last record of every subject is asked for, as each invocation has its own, and the broker finds those by its index;
// it does so for up to 1024. Otherwise the next matches are.
func (c *Client) Invocations(ctx context.Context, set subjects.JobSet, from uint64, limit int) (found []*record.Record, next uint64, end bool, err error) {
	op, cancel := c.bounded(ctx)
	defer cancel()
	f := finding{c: c, set: set, next: max(from, 1), limit: limit}
	err = f.run(op)
	return f.found, f.next, f.end, failed(ctx, "reading invocations", err)
}

// finding is the state of Invocations.
type finding struct {
	c     *Client
	set   subjects.JobSet
	limit int

	found []*record.Record
	bytes int // of their bodies
	next  uint64
	end   bool
}

func (f *finding) run(ctx context.Context) error {
	from := f.next
	near, err := f.ask(ctx, &directGet{Seq: from, Batch: probeRecords, MaxBytes: chunkBytes})
	if err != nil || f.done() {
		return err
	}
	if near.dense() {
		return f.readAll(ctx, near)
	}
	// What the look has found is found again, so that there is one position.
	after := f.next
	filter := f.set.Filter()
	f.found, f.bytes, f.next = nil, 0, from
	if near.matched < probeFew {
		all, err := f.ask(ctx, &directGet{Seq: from, MultiLast: []string{filter}, Batch: f.limit, MaxBytes: chunkBytes})
		if !errors.Is(err, errTooManySubjects) {
			if f.end {
				f.next = max(f.next, all.upTo+1)
			}
			if near.matched == 0 {
				f.next = max(f.next, after)
			}
			return err
		}
	}
	_, err = f.ask(ctx, &directGet{Seq: from, Next: filter, Batch: f.limit, MaxBytes: chunkBytes})
	return err
}

// readAll reads on without a filter, as long as enough of it is wanted.
func (f *finding) readAll(ctx context.Context, got stretch) (err error) {
	for err == nil && !f.done() && got.dense() {
		want := (f.limit-len(f.found))*got.records/got.matched + probeRecords
		got, err = f.ask(ctx, &directGet{Seq: f.next, Batch: min(want, readMost), MaxBytes: chunkBytes})
	}
	return err
}

func (f *finding) done() bool { return f.end || len(f.found) >= f.limit || f.bytes >= chunkBytes }

// stretch is what a request brought.
type stretch struct {
	records, matched int
	upTo             uint64 // the end of the log as the answering replica has it, if it says so
}

// dense tells whether so much of it was wanted that searching for the next match is dearer than reading everything.
func (s stretch) dense() bool {
	return s.records >= probeRecords/2 && s.matched*oneInDense >= s.records
}

// ask adds what a request brings to what was found.
func (f *finding) ask(ctx context.Context, req *directGet) (got stretch, err error) {
	cut := false
	end, err := f.c.get(ctx, subjects.StreamName(f.set.Shard), req, func(m *nats.Msg) {
		got.records++
		s, err := subjects.Parse(m.Header.Get(headerSubject))
		wanted := err == nil && f.set.Holds(s)
		if cut = cut || wanted && len(f.found) == f.limit; cut {
			return
		}
		f.next = number(m, headerSeq) + 1
		if !wanted {
			return
		}
		got.matched++
		if rec := f.c.parseDirect(m); rec != nil {
			f.found = append(f.found, rec)
			f.bytes += len(rec.Body)
		}
	})
	f.end = err == nil && end.pending == 0 && !cut
	got.upTo = end.upTo
	return got, err
}

// ReadEvents passes the events of each of some jobs, given by their invocations, to fn: those of one job, named by its
// index, in log order; those of several jobs come mixed. fn returns false when it has heard enough of a job. It is called
// from the calling goroutine. Of a job with more than 16,384 records the first ones are passed, and the last. In a cluster
// an answer may come from a replica that is a moment behind.
func (c *Client) ReadEvents(ctx context.Context, jobs []*record.Record, fn func(job int, rec *record.Record) (more bool)) error {
	return failed(ctx, "reading the events of jobs", c.readEvents(ctx, jobs, fn))
}

func (c *Client) readEvents(ctx context.Context, jobs []*record.Record, fn func(int, *record.Record) bool) error {
	if len(jobs) == 0 {
		return nil
	}
	inbox := nats.NewInbox()
	messages, unsubscribe, err := c.subscribe(inbox + ".*")
	if err != nil {
		return err
	}
	defer unsubscribe()
	asked, left := 0, len(jobs)
	reads := make([]eventsOf, len(jobs))
	ask := func(i int) error {
		return c.ask(subjects.StreamName(jobs[i].Subject.Shard), reads[i].request(jobs[i]), inbox+"."+strconv.Itoa(i))
	}
	silent := time.NewTimer(apiTimeout)
	defer silent.Stop()
	for left > 0 {
		for ; asked < len(jobs) && asked-(len(jobs)-left) < askedAtOnce; asked++ {
			if err := ask(asked); err != nil {
				return err
			}
		}
		silent.Reset(apiTimeout)
		select {
		case m := <-messages:
			i, err := strconv.Atoi(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:])
			if err != nil || i < 0 || i >= asked {
				continue
			}
			over, err := reads[i].receive(c, m, func(rec *record.Record) bool { return fn(i, rec) })
			switch {
			case err != nil:
				return err
			case over && reads[i].enough:
				left--
			case over:
				if err := ask(i); err != nil {
					return err
				}
			}
		case <-silent.C:
			return nats.ErrTimeout
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// eventsOf is how far the reading of a job's events has come.
type eventsOf struct {
	answer answering
	read   int
	enough bool // nothing more is wanted, or there is nothing more
}

// request asks for what comes next, and at last for the last event.
func (e *eventsOf) request(job *record.Record) *directGet {
	events := subjects.JobEvents(job.Subject).String()
	from := e.answer.last + 1
	e.answer = answering{single: e.read >= eventsRead}
	switch {
	case e.answer.single:
		return &directGet{Last: events}
	case e.read == 0:
		// From the start of the log, although a job has no event before its invocation: there the broker knows how many
		// there are without counting.
		return &directGet{Next: events, Batch: firstEvents, MaxBytes: firstBytes}
	}
	return &directGet{Seq: from, Next: events, Batch: moreEvents, MaxBytes: moreBytes}
}

func (e *eventsOf) receive(c *Client, m *nats.Msg, fn func(*record.Record) bool) (over bool, err error) {
	rec, over, end, err := e.answer.receive(m)
	if err != nil {
		return true, err
	}
	if rec != nil {
		e.read++
		if r := c.parseDirect(rec); r != nil && !e.enough {
			e.enough = !fn(r)
		}
	}
	e.enough = e.enough || over && end.pending == 0
	return over, nil
}
