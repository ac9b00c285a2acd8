package edge

import (
	"errors"
	"time"

	"github.com/arcp-nats/arcp/edge/dialect"
	"github.com/arcp-nats/arcp/envelope"
)

// maxStrikes is how many undecodable or gated messages a connection may send before its session is open.
const maxStrikes = 16

// receive handles one text frame: decode, dedup, gate, dispatch. It returns what became of it.
func (c *conn) receive(data []byte) (outcome string) {
	s := c.session.Load()
	if s != nil {
		s.route.RLock()
		defer s.route.RUnlock()
		if s.leaseOver(time.Now()) {
			return frameEarly
		}
	}
	msg, err := c.decode(s, data)
	if s != nil && c.tooSoon(s, msg, err) {
		return frameOverRate
	}
	if c.tooLarge(len(data), msg, err) {
		c.close(closeTooBig, "the envelope is too large")
		return frameUndecodable
	}
	if err != nil {
		c.receiveBad(s, err)
		return frameUndecodable
	}
	if c.dedup.repeated(msg.ID) {
		c.codec.Repeated()
		return frameRepeated // open dialect TR-2
	}
	row, known := envelope.Lookup(msg.Type)
	if s == nil {
		return c.receiveUnopened(row, msg)
	}
	s.confirm()
	nameTrace(msg)
	if s.gate(msg) {
		return frameUnsupported
	}
	switch handle := handlers[msg.Type]; {
	case handle != nil:
		handle(c, s, msg)
		return frameHandled
	case !known: // an extension that the session has negotiated
		handleExtension(c, s, msg)
		return frameHandled
	case row.Direction == envelope.RuntimeToClient:
		s.nack(msg, envelope.CodeInvalidArgument, "type: "+string(msg.Type)+" is sent by the runtime only")
	default:
		s.nack(msg, envelope.CodeUnimplemented, "type: "+string(msg.Type)+" is not implemented by this runtime")
	}
	return frameUnsupported
}

// decode reads an envelope. Which extensions are known is the session's to say (open dialect EX-3).
func (c *conn) decode(s *session, data []byte) (*envelope.Envelope, error) {
	if c.codec == nil {
		c.codec = dialect.Of(data).NewCodec(dialect.Settings{ResumeWindow: c.srv.cfg.ResumeWindow, Heartbeat: c.srv.cfg.IdlePing})
	}
	if s == nil || len(s.capabilities.Extensions) == 0 {
		return c.codec.Decode(data, c.srv.limits, nil)
	}
	return c.codec.Decode(data, c.srv.limits, s.speaks)
}

// nameTrace gives a message that has its trace in extensions only (open dialect EX-5) the ids of it, so that what is said
// because of the message names it too.
func nameTrace(msg *envelope.Envelope) {
	if msg.TraceID != "" || len(msg.Extensions) == 0 {
		return
	}
	if trace, span, ok := msg.TraceContext().IDs(); ok {
		msg.TraceID, msg.SpanID = trace, span
	}
}

// tooSoon counts a message and refuses one over the session's rate, before its id is remembered: sent again it is not
// a repeat. What does not decode, as err says, counts too.
func (c *conn) tooSoon(s *session, msg *envelope.Envelope, err error) bool {
	wait := s.pace.take(c.ctx, time.Now())
	if wait == 0 {
		return false
	}
	var bad *envelope.DecodeError
	switch {
	case err == nil && neverRefused[msg.Type]:
		return false
	case err == nil:
		s.overRate(msg.ID, wait)
	case errors.As(err, &bad):
		s.overRate(bad.ID, wait)
	}
	return true
}

// receiveBad answers a message that does not decode, and the session goes on. Before there is a session nothing is
// answered.
func (c *conn) receiveBad(s *session, err error) {
	var bad *envelope.DecodeError
	if !errors.As(err, &bad) {
		bad = &envelope.DecodeError{Code: envelope.CodeInvalidArgument, Reason: "not an envelope"}
	}
	traits := c.codec.Traits()
	switch {
	case s == nil && traits.OneTry:
		c.reject(&envelope.Envelope{ID: bad.ID}, bad.Code, bad.Answer().Message)
	case s == nil:
		c.strike()
	case bad.Silent: // open dialect EX-3
	case traits.RefusesFirst && bad.Type == string(envelope.TypeToolInvoke) && bad.ID != "":
		s.inTurn(&envelope.Envelope{ID: bad.ID}, false, func() {
			s.srv.metrics.jobs["refused"].Inc()
			s.reply(s.newInvocation(&envelope.Envelope{ID: bad.ID}, new(envelope.ToolInvoke)).fail(envelope.Errorf(bad.Code, "%s", bad.Answer().Message))...)
		})
	default:
		s.nackID(bad.ID, bad.Code, bad.Answer().Message)
	}
}

// receiveUnopened is the gate (open dialect HS-8): until the session is open only the handshake is answered.
func (c *conn) receiveUnopened(row envelope.Row, msg *envelope.Envelope) (outcome string) {
	if !row.Handshake || row.Direction == envelope.RuntimeToClient {
		if c.codec.Traits().OneTry {
			c.reject(msg, envelope.CodeInvalidRequest, "a session has to be opened first")
		}
		c.strike()
		return frameEarly
	}
	switch msg.Type {
	case envelope.TypeSessionOpen:
		c.handleOpen(msg)
	case envelope.TypeSessionAuthenticate:
		c.handleAuthenticate(msg)
	case envelope.TypeSessionResume:
		c.handleResume(msg)
	default:
		c.strike()
		return frameEarly
	}
	return frameHandled
}

// strike counts a message that came too early or made no sense, and ends a connection that sends nothing else.
func (c *conn) strike() {
	c.strikes++
	if c.strikes >= maxStrikes {
		c.close(closePolicy, "too many messages before a session")
	}
}

// handlers is what the edge does with each type once the session is open. A type without a row here is refused with
// UNIMPLEMENTED. It is filled in by init because a handler may look types up here itself.
var handlers map[envelope.Type]func(*conn, *session, *envelope.Envelope)

func init() {
	handlers = map[envelope.Type]func(*conn, *session, *envelope.Envelope){
		envelope.TypeSessionOpen:         handleSecondOpen,
		envelope.TypeSessionAuthenticate: handleRenewal,
		envelope.TypeSessionResume:       func(c *conn, _ *session, msg *envelope.Envelope) { c.handleResume(msg) },
		envelope.TypeSessionPing:         handleSessionPing,
		envelope.TypeSessionPong:         ignore,
		envelope.TypeSessionAck:          handleSessionAck,
		envelope.TypeSessionClose:        handleSessionClose,
		envelope.TypeSessionListJobs:     handleListJobs,
		envelope.TypePing:                handlePing,
		envelope.TypePong:                ignore,
		envelope.TypeAck:                 ignore,
		envelope.TypeNack:                ignore,
		envelope.TypeCancel:              handleCancel,
		envelope.TypeInterrupt:           handleInterrupt,
		envelope.TypeResume:              handleReplay,
		envelope.TypeBackpressure:        handleBackpressure,
		envelope.TypeToolInvoke:          handleInvoke,
		envelope.TypeJobSubscribe:        handleJobSubscribe,
		envelope.TypeJobUnsubscribe:      handleJobUnsubscribe,
		envelope.TypeJobSchedule:         handleSchedule,
		envelope.TypeSubscribe:           handleSubscribe,
		envelope.TypeUnsubscribe:         handleUnsubscribe,
		envelope.TypeEventEmit:           handleTelemetry,
		envelope.TypeLog:                 handleTelemetry,
		envelope.TypeMetric:              handleTelemetry,
		envelope.TypeTraceSpan:           handleTelemetry,
		envelope.TypePermissionGrant:     handlePermission,
		envelope.TypePermissionDeny:      handlePermission,
		envelope.TypeLeaseRefresh:        handlePermission,
		envelope.TypeStreamOpen:          handleStream,
		envelope.TypeStreamChunk:         handleStream,
		envelope.TypeStreamClose:         handleStream,
		envelope.TypeStreamError:         handleStream,
		envelope.TypeArtifactPut:         handleArtifactPut,
		envelope.TypeArtifactFetch:       handleArtifactFetch,
		envelope.TypeArtifactRelease:     handleArtifactRelease,
	}
}

// Handles reports whether the edge acts on a type that a client sends.
func Handles(typ envelope.Type) bool { return handlers[typ] != nil }

// ignore is for what asks for no answer; the frame was a sign of life.
func ignore(*conn, *session, *envelope.Envelope) {}
