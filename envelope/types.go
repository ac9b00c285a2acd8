package envelope

// Type is the discriminator of an envelope, such as "tool.invoke".
type Type string

// The 67 message types in the order of open dialect section 2: its 65, and two
// of its reserved names, job.checkpoint and job.schedule.
const (
	// Session group.
	TypeSessionOpen            Type = "session.open"
	TypeSessionChallenge       Type = "session.challenge"
	TypeSessionAuthenticate    Type = "session.authenticate"
	TypeSessionAccepted        Type = "session.accepted"
	TypeSessionUnauthenticated Type = "session.unauthenticated"
	TypeSessionRejected        Type = "session.rejected"
	TypeSessionRefresh         Type = "session.refresh"
	TypeSessionEvicted         Type = "session.evicted"
	TypeSessionClose           Type = "session.close"
	TypeSessionClosed          Type = "session.closed"
	TypeSessionResume          Type = "session.resume"
	TypeSessionResumed         Type = "session.resumed"
	TypeSessionPing            Type = "session.ping"
	TypeSessionPong            Type = "session.pong"
	TypeSessionAck             Type = "session.ack"
	TypeSessionListJobs        Type = "session.list_jobs"
	TypeSessionJobs            Type = "session.jobs"

	// Control group.
	TypePing           Type = "ping"
	TypePong           Type = "pong"
	TypeAck            Type = "ack"
	TypeNack           Type = "nack"
	TypeCancel         Type = "cancel"
	TypeCancelAccepted Type = "cancel.accepted"
	TypeCancelRefused  Type = "cancel.refused"
	TypeInterrupt      Type = "interrupt"
	TypeResume         Type = "resume"
	TypeBackpressure   Type = "backpressure"

	// Tool group.
	TypeToolInvoke Type = "tool.invoke"
	TypeToolResult Type = "tool.result"
	TypeToolError  Type = "tool.error"

	// Job group.
	TypeJobAccepted    Type = "job.accepted"
	TypeJobStarted     Type = "job.started"
	TypeJobProgress    Type = "job.progress"
	TypeJobHeartbeat   Type = "job.heartbeat"
	TypeJobCompleted   Type = "job.completed"
	TypeJobFailed      Type = "job.failed"
	TypeJobCancelled   Type = "job.cancelled"
	TypeJobResultChunk Type = "job.result_chunk"
	TypeJobCheckpoint  Type = "job.checkpoint"
	TypeJobSchedule    Type = "job.schedule"

	// Stream group.
	TypeStreamOpen  Type = "stream.open"
	TypeStreamChunk Type = "stream.chunk"
	TypeStreamClose Type = "stream.close"
	TypeStreamError Type = "stream.error"

	// Permission group.
	TypePermissionRequest Type = "permission.request"
	TypePermissionGrant   Type = "permission.grant"
	TypePermissionDeny    Type = "permission.deny"
	TypeLeaseGranted      Type = "lease.granted"
	TypeLeaseExtended     Type = "lease.extended"
	TypeLeaseRevoked      Type = "lease.revoked"
	TypeLeaseRefresh      Type = "lease.refresh"

	// Subscription group.
	TypeSubscribe         Type = "subscribe"
	TypeSubscribeAccepted Type = "subscribe.accepted"
	TypeSubscribeEvent    Type = "subscribe.event"
	TypeUnsubscribe       Type = "unsubscribe"
	TypeSubscribeClosed   Type = "subscribe.closed"
	TypeJobSubscribe      Type = "job.subscribe"
	TypeJobSubscribed     Type = "job.subscribed"
	TypeJobUnsubscribe    Type = "job.unsubscribe"

	// Artifact group.
	TypeArtifactPut     Type = "artifact.put"
	TypeArtifactFetch   Type = "artifact.fetch"
	TypeArtifactRef     Type = "artifact.ref"
	TypeArtifactRelease Type = "artifact.release"

	// Telemetry group.
	TypeEventEmit Type = "event.emit"
	TypeLog       Type = "log"
	TypeMetric    Type = "metric"
	TypeTraceSpan Type = "trace.span"
)

// reservedNames are in the core name list of EX-2 but have no wire form here.
var reservedNames = []string{
	"checkpoint.create",
	"checkpoint.restore",
	"workflow.start",
	"workflow.complete",
	"agent.delegate",
	"agent.handoff",
}

// Reserved lists the core names without a wire form. A message of such a type
// is answered with UNIMPLEMENTED.
func Reserved() []string { return append([]string(nil), reservedNames...) }
