package worker

import "time"

// dueSoon is how long before it is due a job is kept here, rather than given
// back to come again.
const dueSoon = 50 * time.Millisecond

// scheduled tells whether the job was to start later than it was accepted.
func (inv invocation) scheduled() bool { return !inv.rec.NotBefore.IsZero() }

// ready is when the job could have been started first.
func (inv invocation) ready() time.Time {
	if inv.rec.NotBefore.After(inv.rec.Time) {
		return inv.rec.NotBefore
	}
	return inv.rec.Time
}

// isDue tells whether the job may start now. One that is due later goes back to
// the queue, which hands it out again when it is due: so the wait costs no
// worker anything, and outlives them all.
func (a *attempt) isDue() bool {
	left := time.Until(a.d.Record.NotBefore)
	if !a.job.inv.scheduled() || left <= 0 {
		return true
	}
	if left > dueSoon {
		a.log.Debug("job is not due yet, it goes back to the queue", "left", left)
		a.giveBack(left)
		return false
	}
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.ctx.Done():
		a.giveBack(0)
		return false
	}
}
