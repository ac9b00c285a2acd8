package client

import (
	"time"

	"github.com/arcp-nats/arcp/envelope"
)

// write is the only writer of data frames on l. It ends with l, or ends l when a write fails. fenceID is the id
// of the message to send first, "" for none.
func (s *Session) write(l *link, fenceID envelope.MessageID) {
	defer l.close()
	if fenceID != "" && s.writeFence(l, fenceID) != nil {
		return
	}
	ack := time.NewTicker(s.cfg.AckInterval)
	defer ack.Stop()
	keepAlive := time.NewTicker(s.cfg.KeepAlive)
	defer keepAlive.Stop()
	for {
		var err error
		select {
		case <-l.gone:
			return
		case r := <-s.out:
			err = s.writeRequest(l, r)
		case again := <-l.resend:
			for _, r := range again {
				if err = s.writeRequest(l, r); err != nil {
					break
				}
			}
		case frame := <-s.pongs:
			err = l.write(frame)
		case frame := <-l.proofs:
			err = l.write(frame)
		case <-s.ackDue:
			err = s.writeAck(l)
		case <-ack.C:
			err = s.writeAck(l)
		case <-keepAlive.C:
			err = l.ping()
		}
		if err != nil {
			return // the reader reports it: its socket is closed now
		}
	}
}

func (s *Session) writeRequest(l *link, r *request) error {
	if !s.outgoing(r, l.epoch) {
		return nil
	}
	err := l.write(r.frame)
	if err == nil && r.mute && s.take(r.id) != nil {
		r.answer(nil, time.Now())
	}
	return err
}

// fence asks for something whose answer is numbered and changes nothing: the end of a job that cannot exist (open dialect
// CX-1). An edge may answer pings ahead of the log; a number it cannot give out ahead.
var fence = envelope.Cancel{Target: envelope.TargetJob, TargetID: "fence"}

// writeFence asks for what comes after the whole replay.
func (s *Session) writeFence(l *link, id envelope.MessageID) error {
	e, err := envelope.New(envelope.TypeCancel, fence)
	if err != nil {
		return err
	}
	e.ID, e.SessionID = id, s.id
	frame, err := e.Encode()
	if err != nil {
		return err
	}
	return l.write(frame)
}

// writeAck sends session.ack if there is something new to acknowledge (open dialect FC-4).
func (s *Session) writeAck(l *link) error {
	s.mu.Lock()
	last := s.stats.LastEventSeq
	due := last > s.acked
	s.acked = last
	s.mu.Unlock()
	if !due {
		return nil
	}
	e, err := envelope.New(envelope.TypeSessionAck, envelope.SessionAck{LastProcessedSeq: last})
	if err != nil {
		return err
	}
	e.SessionID = s.id
	frame, err := e.Encode()
	if err != nil {
		return err
	}
	return l.write(frame)
}
