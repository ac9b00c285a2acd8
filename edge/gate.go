package edge

import "github.com/arcp-nats/arcp/envelope"

// capability is one that gates something, and what a session has of it.
type capability struct {
	name string
	of   func(*envelope.Capabilities) *bool
}

var (
	canStream      = capability{"streaming", func(c *envelope.Capabilities) *bool { return c.Streaming }}
	canInterrupt   = capability{"interrupt", func(c *envelope.Capabilities) *bool { return c.Interrupt }}
	canSubscribe   = capability{"subscriptions", func(c *envelope.Capabilities) *bool { return c.Subscriptions }}
	canUseArtifact = capability{"artifacts", func(c *envelope.Capabilities) *bool { return c.Artifacts }}
	canSchedule    = capability{"scheduled_jobs", func(c *envelope.Capabilities) *bool { return c.ScheduledJobs }}
	canBoundModels = capability{"model_use", func(c *envelope.Capabilities) *bool { return c.ModelUse }}
)

// gated are the types that a client may send only with a capability, where what was negotiated counts.
var gated = map[envelope.Type]capability{
	envelope.TypeInterrupt:       canInterrupt,
	envelope.TypeStreamOpen:      canStream,
	envelope.TypeStreamChunk:     canStream,
	envelope.TypeStreamClose:     canStream,
	envelope.TypeStreamError:     canStream,
	envelope.TypeSubscribe:       canSubscribe,
	envelope.TypeUnsubscribe:     canSubscribe,
	envelope.TypeJobSubscribe:    canSubscribe,
	envelope.TypeJobUnsubscribe:  canSubscribe,
	envelope.TypeArtifactPut:     canUseArtifact,
	envelope.TypeArtifactFetch:   canUseArtifact,
	envelope.TypeArtifactRelease: canUseArtifact,
	envelope.TypeJobSchedule:     canSchedule,
}

// gate refuses, where Config.EnforceCapabilities says so, a message that needs a capability which was not negotiated, and
// reports whether it did (open dialect CP-4, which has none of this).
func (s *session) gate(msg *envelope.Envelope) (refused bool) {
	if !s.srv.cfg.EnforceCapabilities {
		return false
	}
	if need, ok := gated[msg.Type]; ok && !isTrue(need.of(&s.capabilities)) {
		s.nack(msg, envelope.CodeUnimplemented, "type: "+string(msg.Type)+" needs the capability "+need.name+", which was not negotiated")
		return true
	}
	return false
}

// gateLease is gate for what an invocation asks for.
func (s *session) gateLease(inv *invocation) []*envelope.Envelope {
	if !s.srv.cfg.EnforceCapabilities || inv.enforced == nil || inv.enforced.ModelUse == nil || isTrue(canBoundModels.of(&s.capabilities)) {
		return nil
	}
	return inv.fail(envelope.Errorf(envelope.CodeUnimplemented,
		"payload.lease_request.model_use needs the capability %s, which was not negotiated", canBoundModels.name))
}
