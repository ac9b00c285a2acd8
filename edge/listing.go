package edge

import (
	"context"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/edge/view"
	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
)

// The work for one page. A filter that matches little gets a short page, maybe an empty one, and a cursor to go on with.
const (
	listExamined  = 10_000      // jobs
	listTime      = time.Second // after which no more jobs are looked at
	listStates    = 64          // least number of jobs whose events are asked for together
	listPageBytes = 128 << 10   // about; so that a page fits what may wait for a socket
)

// listing makes one page.
type listing struct {
	log    Jobs
	query  listQuery
	limit  int
	begun  time.Time
	queues *jobQueues
	// known says what a live view knows of a job: the event_seq of its last envelope, and how it ended.
	known func(invocation *record.Record) (last uint64, ended envelope.JobState)
	// tellsAll: entries have the tool as it was resolved, the lease, and why a job has failed; and a filter by a tool without a
	// version lets all versions through.
	tellsAll bool

	examined, bytes int
	jobs            []envelope.JobListEntry
}

// candidate is a job that the filter lets through as far as its invocation tells.
type candidate struct {
	rec    *record.Record
	entry  envelope.JobListEntry
	status view.Status
}

// page fills the page and returns where the next one begins, nil if there is none.
func (l *listing) page(ctx context.Context) (listCursor, error) {
	l.jobs = []envelope.JobListEntry{}
	for !l.full() {
		batch, err := l.gather(ctx, max(l.limit-len(l.jobs), listStates))
		if err != nil {
			return nil, err
		}
		if err := l.judge(ctx, batch); err != nil {
			return nil, err
		}
		for i := range batch {
			if l.full() {
				for _, c := range slices.Backward(batch[i:]) {
					l.queues.giveBack(c.rec)
				}
				break
			}
			l.add(&batch[i])
		}
		if len(batch) == 0 || l.tired() {
			break
		}
	}
	next, err := l.queues.head(ctx)
	if err != nil || next == nil {
		return nil, err
	}
	return l.queues.cursor(), nil
}

func (l *listing) full() bool { return len(l.jobs) >= l.limit || l.bytes >= listPageBytes }

func (l *listing) tired() bool {
	return l.examined >= listExamined || l.examined > 0 && time.Since(l.begun) >= listTime
}

// gather takes the next candidates, in the order of their creation.
func (l *listing) gather(ctx context.Context, limit int) ([]candidate, error) {
	var batch []candidate
	for len(batch) < limit && !l.tired() {
		rec, err := l.queues.head(ctx)
		if err != nil {
			return nil, err
		}
		if rec == nil {
			break
		}
		l.queues.take(rec)
		l.examined++
		entry := entryOf(rec)
		lease := entry.Lease
		entry.Lease = nil
		if l.tellsAll {
			entry.Agent, entry.Lease = rec.Subject.Tool, lease
		}
		if !l.wants(entry.Agent) || !rec.Time.After(l.query.After) {
			continue
		}
		place := *rec // without the arguments, which may be large
		place.Types, place.Body = nil, nil
		batch = append(batch, candidate{rec: &place, entry: entry})
	}
	return batch, nil
}

// wants reports whether the filter lets a tool through.
func (l *listing) wants(agent string) bool {
	name, _, _ := strings.Cut(agent, "@")
	return l.query.Agent == "" || l.query.Agent == agent || l.tellsAll && l.query.Agent == name
}

// entryOf is what the invocation alone says of a job. The agent is the reference as the client wrote it (LJ-5).
func entryOf(rec *record.Record) envelope.JobListEntry {
	entry := envelope.JobListEntry{
		JobID: envelope.JobID(rec.Subject.Job), Agent: rec.Subject.Tool, CreatedAt: envelope.At(rec.Time),
		ParentJobID: envelope.JobID(rec.Parent),
	}
	for typ, line := range rec.Lines() {
		var command struct {
			TraceID string `json:"trace_id"`
			Payload struct {
				Tool  string          `json:"tool"`
				Lease *envelope.Lease `json:"lease_request"`
			} `json:"payload"`
		}
		if typ == envelope.TypeToolInvoke && jsonv2.Unmarshal(line, &command) == nil {
			entry.Agent, entry.TraceID, entry.Lease = command.Payload.Tool, command.TraceID, command.Payload.Lease
		}
	}
	return entry
}

// judge finds out where the candidates stand: by the session's view, if it has seen them end, or else by their events.
func (l *listing) judge(ctx context.Context, batch []candidate) error {
	var unknown []*record.Record
	var of []*candidate
	for i := range batch {
		c := &batch[i]
		c.entry.LastEventSeq, c.entry.Status = l.known(c.rec)
		if c.entry.Status == "" || l.tellsAll && c.entry.Status == envelope.JobStateFailed {
			unknown, of = append(unknown, c.rec), append(of, c)
		}
	}
	err := l.log.ReadEvents(ctx, unknown, func(job int, rec *record.Record) bool {
		of[job].status.Apply(rec)
		return !of[job].status.State().Terminal()
	})
	if err != nil {
		return err
	}
	for _, c := range of {
		c.entry.Status = c.status.State()
		if l.tellsAll {
			c.entry.Code = c.status.Code()
		}
	}
	return nil
}

// add puts a job on the page, if it stands where the filter wants it.
func (l *listing) add(c *candidate) {
	const others = 200 // bytes of an entry beside these two
	if len(l.query.Status) == 0 || slices.Contains(l.query.Status, string(c.entry.Status)) {
		l.jobs = append(l.jobs, c.entry)
		l.bytes += others + len(c.entry.Agent) + len(c.entry.TraceID) + len(c.entry.ParentJobID)
	}
}
