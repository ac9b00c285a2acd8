package edge

import (
	"container/heap"
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// deadlineSpread is the time in which the edges come to a deadline, each at a moment of its own: mostly one does the work.
	deadlineSpread = 500 * time.Millisecond
	// deadlineGrace is what a worker has to end a job with its lease, and a job that was accepted at the last moment to get
	// into the log.
	deadlineGrace = 10 * time.Second
	// deadlineAgain is when a look is taken again that has failed.
	deadlineAgain = time.Second
	// maxJudged bounds the jobs that are looked at at once: many leases may end together.
	maxJudged = 16
	// maxOver bounds the jobs of which it is remembered that they have ended: a deadline may be heard of after that.
	maxOver = 4096
)

// deadlines ends the jobs whose lease ends while no worker has them (open dialect LE-3): a worker ends what it runs by
// itself. The deadlines of all jobs stand in a bucket, written before the invocation is, so that they outlive every edge; all
// edges know them, and what several do the log takes once.
type deadlines struct {
	srv    *Server
	bucket WatchedBucket
	logger *slog.Logger

	wake chan struct{}

	mu    sync.Mutex
	table map[string]*deadline // by job
	queue deadlineQueue
	over  map[string]bool // jobs that have ended, as far as this edge has heard, and whose deadline it does not know
	ended []string        // them, in the order in which they did; one that is known by now may be among them
}

// deadline is a job whose lease ends.
type deadline struct {
	record.Deadline
	look  time.Time // when to look at the job
	ended bool      // this edge has heard that it has ended
	index int       // in the queue
}

func newDeadlines(srv *Server, bucket WatchedBucket) *deadlines {
	return &deadlines{
		srv: srv, bucket: bucket, logger: srv.logger, wake: make(chan struct{}, 1),
		table: make(map[string]*deadline), over: make(map[string]bool),
	}
}

// write stores the deadline of a job that is about to be submitted, if it has one that counts: the runtime lets no job live
// for as long as longest.
func (d *deadlines) write(ctx context.Context, job subjects.Subject, lease *envelope.Lease, longest time.Duration) error {
	if lease == nil || lease.ExpiresAt == nil || time.Until(lease.ExpiresAt.Time) > longest {
		return nil
	}
	entry := record.Deadline{Invocation: job, At: lease.ExpiresAt.Time}
	data, err := entry.Encode()
	if err != nil {
		return err
	}
	_, err = d.bucket.Create(ctx, entry.Key(), data)
	if envelope.CodeOf(err) == envelope.CodeAlreadyExists { // the submission is a repeated one
		return nil
	}
	return err
}

// run watches the bucket and looks at what is due, until ctx ends.
func (d *deadlines) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { d.watch(ctx) })
	turns := make(chan struct{}, maxJudged)
	look := func(job string) {
		select {
		case turns <- struct{}{}:
			wg.Go(func() {
				defer func() { <-turns }()
				d.lookAt(ctx, job)
			})
		case <-ctx.Done():
		}
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.wake:
		}
		for ctx.Err() == nil {
			job, left := d.next(time.Now())
			if job == "" {
				timer.Reset(left)
				break
			}
			look(job)
		}
	}
}

// watch keeps the table until ctx ends, through failures of the bucket.
func (d *deadlines) watch(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	for ctx.Err() == nil {
		err := d.bucket.Watch(ctx, wait.Reset, func(key string, value []byte, _ time.Time) {
			parts, err := subjects.ParseKey(key)
			if err != nil || len(parts) != 1 {
				return
			}
			d.note(parts[0], value)
		})
		if ctx.Err() != nil {
			return
		}
		d.logger.Warn("the ends of leases are not watched, trying again", "error", err)
		select {
		case <-time.After(wait.NextBackOff()):
		case <-ctx.Done():
		}
	}
}

// note takes a change of the bucket.
func (d *deadlines) note(job string, value []byte) {
	entry, err := record.ParseDeadline(value)
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.table[job]
	switch {
	case value == nil || err != nil || entry.Invocation.Job != job:
		if known != nil {
			heap.Remove(&d.queue, known.index)
			delete(d.table, job)
		}
		return
	case known != nil:
		return
	}
	added := &deadline{Deadline: entry, look: entry.At.Add(rand.N(deadlineSpread))}
	if d.over[job] {
		delete(d.over, job)
		added.look, added.ended = time.Now(), true
	}
	d.table[job] = added
	heap.Push(&d.queue, added)
	d.nudge(added)
}

// nudge has the next look planned anew if it is at this deadline. It needs the lock.
func (d *deadlines) nudge(changed *deadline) {
	if changed.index != 0 {
		return
	}
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// next returns a job to look at now, or how long there is none. It does not return it again until the look has had its time.
func (d *deadlines) next(now time.Time) (job string, left time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return "", time.Hour
	}
	first := d.queue[0]
	if left = first.look.Sub(now); left > 0 {
		return "", left
	}
	first.look = now.Add(2 * storeTimeout)
	heap.Fix(&d.queue, first.index)
	return first.Invocation.Job, 0
}

// later has a job looked at again at a time, or soon, if it is said to have ended: whoever was asked is behind.
func (d *deadlines) later(job string, at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.table[job]; known != nil {
		if soon := time.Now().Add(deadlineAgain); known.ended && at.After(soon) {
			at = soon
		}
		known.look = at
		heap.Fix(&d.queue, known.index)
		d.nudge(known)
	}
}

// hear takes a record of a feed that this edge reads: the deadline of a job that has ended is to be forgotten.
func (d *deadlines) hear(rec *record.Record) {
	if rec.Subject.Lane != subjects.Event || rec.Subject.Job == "" || !ends(rec) {
		return
	}
	job := rec.Subject.Job
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.table[job]; known != nil {
		known.look, known.ended = time.Now(), true
		heap.Fix(&d.queue, known.index)
		d.nudge(known)
		return
	}
	if d.over[job] {
		return
	}
	d.over[job] = true
	d.ended = append(d.ended, job)
	if len(d.ended) > maxOver {
		delete(d.over, d.ended[0])
		d.ended = d.ended[1:]
	}
}

// lookAt ends a job if its time has come and nobody else has ended it, and forgets its deadline when it has ended.
func (d *deadlines) lookAt(ctx context.Context, job string) {
	d.mu.Lock()
	known := d.table[job]
	d.mu.Unlock()
	if known == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	again, err := d.judge(ctx, known.Deadline, time.Now())
	if err == nil && again.IsZero() {
		if err = d.bucket.Delete(ctx, known.Key()); err == nil {
			d.note(job, nil)
			return
		}
	}
	if err != nil {
		d.logger.Warn("the end of a lease could not be looked at", "job", job, "error", err)
		again = time.Now().Add(deadlineAgain)
	}
	d.later(job, again)
}

// judge looks at one job. It returns when to look again, zero if there is nothing more to do.
func (d *deadlines) judge(ctx context.Context, entry record.Deadline, now time.Time) (again time.Time, err error) {
	log := d.srv.log
	invocation, err := log.LastOf(ctx, entry.Invocation)
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		// The edge that wrote the entry may have died before it stored the job, and a retry from another session has done so.
		invocation, err = log.FindInvocation(ctx, "", envelope.JobID(entry.Invocation.Job))
	}
	if envelope.CodeOf(err) == envelope.CodeNotFound {
		if due := entry.At.Add(deadlineGrace); now.Before(due) {
			return due, nil
		}
		return time.Time{}, nil // it was never submitted, or is no longer in the log
	}
	if err != nil {
		return time.Time{}, err
	}
	last, err := log.LastOf(ctx, subjects.JobEvents(invocation.Subject))
	switch {
	case envelope.CodeOf(err) == envelope.CodeNotFound:
		if now.Before(entry.At) {
			return entry.At.Add(rand.N(deadlineSpread)), nil
		}
	case err != nil:
		return time.Time{}, err
	default:
		ended, err := jobEnded(ctx, log, last)
		if ended || err != nil {
			return time.Time{}, err
		}
		if due := entry.At.Add(deadlineGrace); now.Before(due) {
			return due, nil // whoever runs it ends it, and else whoever gets it next
		}
	}
	d.logger.Info("job failed: its lease has expired", "job", invocation.Subject.Job, "principal", invocation.Principal)
	retryable := false
	return time.Time{}, d.srv.endJob(ctx, invocation, "lease", &envelope.JobFailed{
		Code: invocation.Codes.Code(envelope.CodeLeaseExpired), Retryable: &retryable, Message: "the lease of the job has expired",
	})
}

// deadlineQueue orders deadlines by when to look.
type deadlineQueue []*deadline

func (q deadlineQueue) Len() int           { return len(q) }
func (q deadlineQueue) Less(i, j int) bool { return q[i].look.Before(q[j].look) }
func (q deadlineQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements [heap.Interface].
func (q *deadlineQueue) Push(x any) {
	d, _ := x.(*deadline) // nothing else is pushed
	d.index = len(*q)
	*q = append(*q, d)
}

// Pop implements [heap.Interface].
func (q *deadlineQueue) Pop() any {
	last := len(*q) - 1
	d := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return d
}
