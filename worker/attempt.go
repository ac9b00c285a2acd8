package worker

import (
	"bytes"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/lease"
	"github.com/arcp-nats/arcp/record"
)

// Markers that a worker writes among the events of a job, for later attempts.
// Types that begin with an underscore are never shown to clients.
const (
	typeHandedBack envelope.Type = "_job.handed_back"
	typeCharged    envelope.Type = "_job.charged" // payload charged
)

// history is what the attempts at a job left in the log, folded from its event
// records in order. It hears whom every reader of the log hears (package
// edge/view): the latest attempt that has spoken, until the job ends; and of
// two workers with the same attempt the one that started last.
type history struct {
	hearing
	handedBack int    // attempts that a draining worker gave back
	terminal   bool   // the job has its end
	checkpoint []byte // the last one's line, or nil
	spent      []envelope.Amount
	end        []byte // the terminal event's line, or nil
	endType    envelope.Type
	delegated  [][]byte // the marks of all children
	permits    lease.Book

	scheduled bool // the job was to start later: there were deliveries before
	first     int  // the attempt that spoke first; 0: none
}

// hearing is who is heard of those that speak about a job. Two workers can have
// the same attempt if the broker forgets a delivery: the one that started last
// is heard then.
type hearing struct {
	attempt int // 0: no worker has spoken
	sender  string
}

// hear takes the job's next record and tells whether it is heard. What has no
// attempt is the runtime's own, and always is.
func (h *hearing) hear(r *record.Record) bool {
	switch {
	case len(r.Types) == 0 || r.Attempt != 0 && r.Attempt < h.attempt:
		return false
	case r.Attempt == 0:
		return true
	case r.Attempt == h.attempt && r.Sender != h.sender && r.Types[0] != envelope.TypeJobStarted:
		return false
	}
	h.attempt, h.sender = r.Attempt, r.Sender
	return true
}

func newHistory(inv invocation) *history { return &history{scheduled: inv.scheduled()} }

// before is how many deliveries of a scheduled job came before the first that
// started it, as far as this attempt can tell. Each start of such a job is in
// the log before its handler runs.
func (h *history) before(attempt int) int {
	switch {
	case !h.scheduled:
		return 0
	case h.first > 0 && h.first < attempt:
		return h.first - 1
	}
	return attempt - 1
}

func (h *history) add(r *record.Record) {
	if h.terminal || !h.hear(r) {
		return
	}
	if h.first == 0 {
		h.first = r.Attempt
	}
	for t, line := range r.Lines() {
		switch {
		case t == envelope.TypePermissionRequest, t == envelope.TypeJobStarted:
			if e, err := envelope.DecodeStored(line); err == nil {
				h.permits.Event(e)
			}
		case t == typeHandedBack:
			h.handedBack++
		case t == envelope.TypeJobCheckpoint:
			h.checkpoint = bytes.Clone(line)
		case t == typeCharged:
			h.spent = append(h.spent, readCharged(line)...)
		case t == record.TypeDelegated:
			h.delegated = append(h.delegated, bytes.Clone(line))
			h.spent = append(h.spent, takenBy(line)...)
		case terminal(t):
			h.terminal, h.end, h.endType = true, bytes.Clone(line), t
			return
		}
	}
}

// terminal tells whether an event of this type ends its job.
func terminal(t envelope.Type) bool {
	row, known := envelope.Lookup(t)
	return known && row.Terminal
}

// verdict is what becomes of a delivery before its handler is thought of.
type verdict int

const (
	runIt      verdict = iota // start the handler
	alreadyEnd                // the job has its terminal event: only acknowledge
	usedUp                    // no attempt is left: fail with ABORTED
)

// judge decides about attempt number attempt of a tool that may be started
// limit times.
//
// The number counts deliveries, so that it always rises. The limit counts
// starts: an attempt that a draining worker handed back is not held against
// the job, unless its tool must not run twice. When nothing was ever recorded,
// nothing was ever started, however often the job was delivered; see
// mustRecordStart.
func (h *history) judge(attempt, limit int) verdict {
	started := attempt - 1 - h.before(attempt)
	if limit > 1 {
		started -= h.handedBack
	}
	switch {
	case h.terminal:
		return alreadyEnd
	case h.attempt > 0 && started >= limit:
		return usedUp
	default:
		return runIt
	}
}

// mustRecordStart tells whether job.started has to be in the log before the
// handler runs. From the last permitted attempt on it must: that record is
// what stops the next one, even if this process dies in the handler's first
// instruction.
func mustRecordStart(attempt, limit int) bool { return attempt >= limit }

// needsHistory tells whether all that was said about a job must be read for the
// verdict on this attempt, and not just the last record. A second attempt
// follows one worker, whose last word decides; that is nearly all of them.
// Later on, an end may stand behind a later start, and then it is none.
func needsHistory(attempt, limit int) bool { return attempt > 2 || attempt > limit }
