package worker

import (
	"context"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

// maxUnread bounds what a reader of the input lane keeps for a handler that has
// not taken it yet. What is over it is read from the log again.
const maxUnread = 256

// inputReader hands a handler, in order and each once, what clients have said
// to its job: what is in the log already, and then the rest as it comes. The
// log is the buffer: a handler that takes nothing costs nothing, and loses
// nothing. The zero value with pick set is ready; all methods are safe for
// concurrent use.
type inputReader[T any] struct {
	// pick returns what a record of the input lane has for this reader.
	pick func(*record.Record) []T

	filling sync.Mutex // one reads the log

	mu      sync.Mutex
	unread  []T
	read    uint64        // the last record that was looked at
	heard   uint64        // the last one that has come
	follows bool          // what comes is taken: nothing between read and it is missing
	news    chan struct{} // closed when something has come; nil while nobody waits
}

// offer takes a record of the job's input lane as it comes.
func (r *inputReader[T]) offer(rec *record.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = max(r.heard, rec.Seq)
	switch {
	case rec.Seq <= r.read:
	case r.follows && len(r.unread) < maxUnread:
		r.unread = append(r.unread, r.pick(rec)...)
		r.read = rec.Seq
	default:
		r.follows = false
	}
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

// missed says that something may have come and was not offered.
func (r *inputReader[T]) missed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.follows = false
	if r.news != nil {
		close(r.news)
		r.news = nil
	}
}

// next returns what was said next, and waits for it, and for the log while that
// is away, until ctx ends. The error is ctx's cause, or one of the log's that no
// waiting mends.
func (r *inputReader[T]) next(ctx context.Context, bus Bus, lane subjects.Subject) (T, error) {
	for {
		r.mu.Lock()
		if len(r.unread) > 0 {
			first := r.unread[0]
			r.unread = r.unread[1:]
			r.mu.Unlock()
			return first, nil
		}
		if !r.follows {
			r.mu.Unlock()
			if err := r.fill(ctx, bus, lane); err != nil {
				var none T
				return none, err
			}
			continue
		}
		if r.news == nil {
			r.news = make(chan struct{})
		}
		news := r.news
		r.mu.Unlock()
		select {
		case <-news:
		case <-ctx.Done():
			var none T
			return none, context.Cause(ctx)
		}
	}
}

// fill reads on in the log, as far as there is room, and follows what comes if
// that was all.
func (r *inputReader[T]) fill(ctx context.Context, bus Bus, lane subjects.Subject) error {
	r.filling.Lock()
	defer r.filling.Unlock()
	for {
		r.mu.Lock()
		done, read := r.follows || len(r.unread) > 0, r.read
		r.mu.Unlock()
		if done {
			return nil // somebody else has filled it
		}
		var found []T
		more := false
		err := retry(ctx, func() error {
			err := bus.ReadJob(ctx, lane, func(rec *record.Record) bool {
				switch {
				case rec.Seq <= read: // a read that failed goes on where it was
				case len(found) >= maxUnread:
					more = true
				default:
					found = append(found, r.pick(rec)...)
					read = rec.Seq
				}
				return !more
			})
			if err != nil && !worthAnotherTry(err) {
				return backoff.Permanent(err)
			}
			return err
		})
		if err != nil {
			return err
		}
		r.mu.Lock()
		r.unread, r.read = append(r.unread, found...), read
		r.follows = !more && read >= r.heard
		done = r.follows || len(r.unread) > 0
		r.mu.Unlock()
		if done {
			return nil
		}
		select { // what has come is in the log, but not yet on the server that was asked
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
