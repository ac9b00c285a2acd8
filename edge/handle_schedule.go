package edge

import (
	"math"
	"strconv"
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// handleSchedule takes a job that is to start later. The invocation is stored at once, which is the acceptance, and says
// when it is due; workers that are given it before that give it back to the queue for as long as is left. So it survives
// what every accepted job survives, and is listed and cancelled like one that waits for a worker.
func handleSchedule(c *conn, s *session, msg *envelope.Envelope) {
	payload, err := envelope.DecodePayload[envelope.JobSchedule](msg)
	if err != nil {
		c.receiveBad(s, err)
		return
	}
	inv := s.newInvocation(msg, &payload.Job)
	if err := inv.schedule(&payload.When, s.srv.cfg.MaxSchedule); err != nil {
		s.nack(msg, envelope.CodeOf(err), errorText(err))
		return
	}
	s.invoke(inv)
}

// schedule sets when the invocation is due. The error names the member at fault.
func (inv *invocation) schedule(when *envelope.When, furthest time.Duration) error {
	given := 0
	for _, there := range []bool{when.At != nil, when.After != nil, when.Every != nil} {
		if there {
			given++
		}
	}
	switch {
	case given != 1:
		return envelope.Errorf(envelope.CodeInvalidArgument, "payload.when: exactly one of at, after and every is to be given")
	case when.Every != nil:
		return envelope.Errorf(envelope.CodeUnimplemented, "payload.when.every: recurrence is not implemented by this runtime")
	case when.At != nil:
		inv.when = "at " + when.At.String()
		return inv.dueAfter("at", when.At.Sub(inv.now).Seconds(), furthest)
	}
	if *when.After < 0 {
		return envelope.Errorf(envelope.CodeInvalidArgument, "payload.when.after: must not be negative")
	}
	inv.when = "after " + strconv.FormatFloat(*when.After, 'g', -1, 64)
	return inv.dueAfter("after", *when.After, furthest)
}

// dueAfter makes the invocation due in a number of seconds; what is past is due now.
func (inv *invocation) dueAfter(member string, seconds float64, furthest time.Duration) error {
	switch {
	case math.IsNaN(seconds) || seconds > furthest.Seconds():
		return envelope.Errorf(envelope.CodeInvalidArgument, "payload.when.%s: is further off than %s, the limit", member, furthest)
	case seconds > 0:
		// To whole milliseconds, upwards: never early.
		ms := math.Ceil(seconds * 1000)
		inv.due = inv.now.Add(time.Duration(ms) * time.Millisecond).Truncate(time.Millisecond).Add(time.Millisecond)
	}
	return nil
}

// begin is the earliest moment at which a worker may start the job.
func (inv *invocation) begin() time.Time {
	if inv.due.After(inv.now) {
		return inv.due
	}
	return inv.now
}
