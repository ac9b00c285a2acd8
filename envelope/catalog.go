package envelope

// Direction says who sends a type.
type Direction uint8

// The directions of section 2.
const (
	ClientToRuntime Direction = iota + 1
	RuntimeToClient
	Both
)

// String is "c>r", "r>c" or "both", as in section 2.
func (d Direction) String() string {
	switch d {
	case ClientToRuntime:
		return "c>r"
	case RuntimeToClient:
		return "r>c"
	case Both:
		return "both"
	default:
		return "?"
	}
}

// FromClient reports whether a client may send the type.
func (d Direction) FromClient() bool { return d == ClientToRuntime || d == Both }

// FromRuntime reports whether a runtime may send the type.
func (d Direction) FromRuntime() bool { return d == RuntimeToClient || d == Both }

// Support says what this runtime does with a type.
type Support uint8

const (
	// Wire is the zero value: the shape is known, and that is all so far.
	Wire Support = iota
	// Implemented types do what the open dialect says.
	Implemented
	// Unimplemented types are answered with nack UNIMPLEMENTED.
	Unimplemented
)

// String is the name in lower case.
func (s Support) String() string {
	switch s {
	case Implemented:
		return "implemented"
	case Unimplemented:
		return "unimplemented"
	default:
		return "wire"
	}
}

// Group is a chapter of the message types.
type Group string

// The groups, in the order of section 3.
const (
	GroupSession      Group = "session"
	GroupControl      Group = "control"
	GroupTool         Group = "tool"
	GroupJob          Group = "job"
	GroupStream       Group = "stream"
	GroupPermission   Group = "permission"
	GroupSubscription Group = "subscription"
	GroupArtifact     Group = "artifact"
	GroupTelemetry    Group = "telemetry"
)

// Row is all that the rest of the system knows about a message type.
type Row struct {
	Type      Type
	Group     Group
	Direction Direction
	// Countable types take part in event_seq (FC-1).
	Countable bool
	// Handshake types pass the gate before the session is accepted (HS-8).
	Handshake bool
	// Later types are unknown to 2.0.0 clients.
	Later bool
	// Terminal types end a job.
	Terminal bool
	// MaxBytes is the type's own limit on the whole envelope; 0 is the
	// default of [Limits].
	MaxBytes int
	// New makes a pointer to an empty payload struct.
	New func() any
	// Support, Proof and Note say how far the type is built, which test shows
	// it, and what a reader should know.
	Support Support
	Proof   string
	Note    string
}

func payload[T any]() any { return new(T) }

// catalogue is the one table of message types, in the order of section 2.
var catalogue = [...]Row{
	{Type: TypeSessionOpen, Group: GroupSession, Direction: ClientToRuntime, Handshake: true, New: payload[SessionOpen], Support: Implemented, Proof: "TestHS1OpenMintsASession"},
	{Type: TypeSessionChallenge, Group: GroupSession, Direction: RuntimeToClient, Handshake: true, New: payload[SessionChallenge], Support: Implemented, Proof: "TestHS3ChallengeHasTheFinalSessionID"},
	{Type: TypeSessionAuthenticate, Group: GroupSession, Direction: ClientToRuntime, Handshake: true, New: payload[SessionAuthenticate], Support: Implemented, Proof: "TestHS5TheChallengeStaysOpen"},
	{Type: TypeSessionAccepted, Group: GroupSession, Direction: RuntimeToClient, Handshake: true, New: payload[SessionAccepted], Support: Implemented, Proof: "TestHS12AcceptedCarriesAResumeToken"},
	{Type: TypeSessionUnauthenticated, Group: GroupSession, Direction: RuntimeToClient, Handshake: true, New: payload[SessionUnauthenticated], Support: Implemented, Proof: "TestHS5WrongAnswersAreBounded"},
	{Type: TypeSessionRejected, Group: GroupSession, Direction: RuntimeToClient, Handshake: true, New: payload[SessionRejected], Support: Implemented, Proof: "TestHS2UnknownSchemeIsRejected"},
	{Type: TypeSessionRefresh, Group: GroupSession, Direction: RuntimeToClient, New: payload[SessionRefresh], Support: Implemented, Proof: "TestHS9AFreshProofRenewsTheLease", Note: "answered by session.authenticate"},
	{Type: TypeSessionEvicted, Group: GroupSession, Direction: RuntimeToClient, New: payload[SessionEvicted], Support: Implemented, Proof: "TestResumeOnAnotherEdgeEvictsTheHolder", Note: "when another connection holds the session, its lease has ended, or the log lost what comes next"},
	{Type: TypeSessionClose, Group: GroupSession, Direction: ClientToRuntime, New: payload[SessionClose], Support: Implemented, Proof: "TestSC1CloseCancelsTheJobsAndDeliversTheirEnd", Note: "cancels the jobs of the session, or lets them live on, by --on-session-close"},
	{Type: TypeSessionClosed, Group: GroupSession, Direction: RuntimeToClient, Later: true, New: payload[SessionClosed], Support: Implemented, Proof: "TestSC2CloseCanLetTheJobsLive", Note: "with --on-session-close detach"},
	{Type: TypeSessionResume, Group: GroupSession, Direction: ClientToRuntime, Handshake: true, Later: true, New: payload[SessionResume], Support: Implemented, Proof: "TestRE6ReplayIsTheSameBytes"},
	{Type: TypeSessionResumed, Group: GroupSession, Direction: RuntimeToClient, Handshake: true, Later: true, New: payload[SessionResumed], Support: Implemented, Proof: "TestRE1TokensAreMintedByAcceptedAndResumed"},
	{Type: TypeSessionPing, Group: GroupSession, Direction: Both, New: payload[SessionPing], Support: Implemented, Proof: "TestHB2SessionPing"},
	{Type: TypeSessionPong, Group: GroupSession, Direction: Both, New: payload[SessionPong], Support: Implemented, Proof: "TestHB3SilentPeersAreAsked"},
	{Type: TypeSessionAck, Group: GroupSession, Direction: ClientToRuntime, New: payload[SessionAck], Support: Implemented, Proof: "TestCheckpointAfterAcks"},
	{Type: TypeSessionListJobs, Group: GroupSession, Direction: ClientToRuntime, New: payload[SessionListJobs], Support: Implemented, Proof: "TestLJ1JobsOfThePrincipal", Note: "by --list-scope also of the session only"},
	{Type: TypeSessionJobs, Group: GroupSession, Direction: RuntimeToClient, New: payload[SessionJobs], Support: Implemented, Proof: "TestLJ4PagesWhileJobsAreAdded"},
	{Type: TypePing, Group: GroupControl, Direction: Both, New: payload[Ping], Support: Implemented, Proof: "TestHB1PingEchoesTheNonce"},
	{Type: TypePong, Group: GroupControl, Direction: Both, New: payload[Pong], Support: Implemented, Proof: "TestHB1PingEchoesTheNonce"},
	{Type: TypeAck, Group: GroupControl, Direction: Both, Countable: true, New: payload[Ack], Support: Implemented, Proof: "TestTR6WhatHasNoHandlerIsRefused", Note: "accepted, asks for no answer; never sent"},
	{Type: TypeNack, Group: GroupControl, Direction: Both, Countable: true, New: payload[Nack], Support: Implemented, Proof: "TestNackNamesTheMemberAndTheMessage", Note: "from a client: no answer"},
	{Type: TypeCancel, Group: GroupControl, Direction: ClientToRuntime, Countable: true, New: payload[Cancel], Support: Implemented, Proof: "TestCX1CancelOfARunningJob", Note: "targets job, session and stream"},
	{Type: TypeCancelAccepted, Group: GroupControl, Direction: RuntimeToClient, Countable: true, New: payload[CancelAccepted], Support: Implemented, Proof: "TestCX1CancelOfARunningJob"},
	{Type: TypeCancelRefused, Group: GroupControl, Direction: RuntimeToClient, Countable: true, New: payload[CancelRefused], Support: Implemented, Proof: "TestCX1Refusals"},
	{Type: TypeInterrupt, Group: GroupControl, Direction: ClientToRuntime, Countable: true, New: payload[Interrupt], Support: Implemented, Proof: "TestInterruptsReachTheJob", Note: "target job; not answered unless refused"},
	{Type: TypeResume, Group: GroupControl, Direction: ClientToRuntime, Countable: true, New: payload[Resume], Support: Implemented, Proof: "TestRE10TheOlderResumeShowsAgainWhatWasShown", Note: "in an open session; the later envelopes again with their own numbers, then event.emit `subscription.backfill_complete`"},
	{Type: TypeBackpressure, Group: GroupControl, Direction: Both, Countable: true, New: payload[Backpressure], Support: Implemented, Proof: "TestBackpressureFromAClient", Note: "sent out of band when the log goes and comes back, and to a client that is behind; from a client: how fast it wants its events"},
	{Type: TypeToolInvoke, Group: GroupTool, Direction: ClientToRuntime, Countable: true, New: payload[ToolInvoke], Support: Implemented, Proof: "TestJB1TheMainJob"},
	{Type: TypeToolResult, Group: GroupTool, Direction: RuntimeToClient, Countable: true, New: payload[ToolResult], Support: Implemented, Proof: "TestJB7NestedToolCalls", Note: "of a tool that a job has called; it ends nothing"},
	{Type: TypeToolError, Group: GroupTool, Direction: RuntimeToClient, Countable: true, New: payload[ToolError], Support: Implemented, Proof: "TestJB7NestedToolCalls", Note: "of a tool that a job has called; it ends nothing"},
	{Type: TypeJobAccepted, Group: GroupJob, Direction: RuntimeToClient, Countable: true, New: payload[JobAccepted], Support: Implemented, Proof: "TestJB1TheMainJob"},
	{Type: TypeJobStarted, Group: GroupJob, Direction: RuntimeToClient, Countable: true, New: payload[JobStarted], Support: Implemented, Proof: "TestJB1TheMainJob"},
	{Type: TypeJobProgress, Group: GroupJob, Direction: RuntimeToClient, Countable: true, New: payload[JobProgress], Support: Implemented, Proof: "TestJB7HandlersCanSpeak"},
	{Type: TypeJobHeartbeat, Group: GroupJob, Direction: RuntimeToClient, Countable: true, New: payload[JobHeartbeat], Support: Implemented, Proof: "TestSignsOfLifeAndHeartbeats"},
	{Type: TypeJobCompleted, Group: GroupJob, Direction: RuntimeToClient, Countable: true, Terminal: true, New: payload[JobCompleted], Support: Implemented, Proof: "TestJB2OneTerminalEnvelope"},
	{Type: TypeJobFailed, Group: GroupJob, Direction: RuntimeToClient, Countable: true, Terminal: true, New: payload[JobFailed], Support: Implemented, Proof: "TestJB3HandlerErrors"},
	{Type: TypeJobCancelled, Group: GroupJob, Direction: RuntimeToClient, Countable: true, Terminal: true, New: payload[JobCancelled], Support: Implemented, Proof: "TestSC1CloseCancelsTheJobsAndDeliversTheirEnd"},
	{Type: TypeJobResultChunk, Group: GroupJob, Direction: RuntimeToClient, Countable: true, New: payload[JobResultChunk], Support: Implemented, Proof: "TestRS3ChunksInOrderThenTheEnd"},
	{Type: TypeJobCheckpoint, Group: GroupJob, Direction: RuntimeToClient, Countable: true, Later: true, New: payload[JobCheckpoint], Support: Implemented, Proof: "TestCheckpointsAreShownToWhoNegotiatedThem", Note: "sent to clients that list the extension `arcpx.job.checkpoint.v1`"},
	{Type: TypeJobSchedule, Group: GroupJob, Direction: ClientToRuntime, Countable: true, Later: true, New: payload[JobSchedule], Support: Implemented, Proof: "TestScheduledJobsStartWhenDue", Note: "at and after; every is refused with nack UNIMPLEMENTED"},
	{Type: TypeStreamOpen, Group: GroupStream, Direction: Both, Countable: true, New: payload[StreamOpen], Support: Implemented, Proof: "TestStreamsOfJobs", Note: "from clients to a job or to subscribers, too; not answered unless refused"},
	{Type: TypeStreamChunk, Group: GroupStream, Direction: Both, Countable: true, New: payload[StreamChunk], Support: Implemented, Proof: "TestStreamsOfJobs", Note: "from clients to a job or to subscribers, too"},
	{Type: TypeStreamClose, Group: GroupStream, Direction: Both, Countable: true, New: payload[StreamClose], Support: Implemented, Proof: "TestStreamsOfJobs", Note: "from clients to a job or to subscribers, too"},
	{Type: TypeStreamError, Group: GroupStream, Direction: Both, Countable: true, New: payload[StreamError], Support: Implemented, Proof: "TestCX6CancelOfAStream", Note: "from clients to a job or to subscribers, too"},
	{Type: TypePermissionRequest, Group: GroupPermission, Direction: RuntimeToClient, Countable: true, New: payload[PermissionRequest], Support: Implemented, Proof: "TestLE5ABlockedJobIsGrantedItsPermission"},
	{Type: TypePermissionGrant, Group: GroupPermission, Direction: ClientToRuntime, Countable: true, New: payload[PermissionGrant], Support: Implemented, Proof: "TestLE5ABlockedJobIsGrantedItsPermission", Note: "not answered unless refused; lease.granted follows"},
	{Type: TypePermissionDeny, Group: GroupPermission, Direction: ClientToRuntime, Countable: true, New: payload[PermissionDeny], Support: Implemented, Proof: "TestLE5ADenialReachesTheTool", Note: "not answered unless refused"},
	{Type: TypeLeaseGranted, Group: GroupPermission, Direction: RuntimeToClient, Countable: true, New: payload[LeaseGranted], Support: Implemented, Proof: "TestLE5ABlockedJobIsGrantedItsPermission"},
	{Type: TypeLeaseExtended, Group: GroupPermission, Direction: RuntimeToClient, Countable: true, New: payload[LeaseExtended], Support: Implemented, Proof: "TestLE5AGrantIsProlongedAndEnds"},
	{Type: TypeLeaseRevoked, Group: GroupPermission, Direction: RuntimeToClient, Countable: true, New: payload[LeaseRevoked], Support: Implemented, Proof: "TestLE5AGrantIsProlongedAndEnds", Note: "when its time is over"},
	{Type: TypeLeaseRefresh, Group: GroupPermission, Direction: ClientToRuntime, Countable: true, New: payload[LeaseRefresh], Support: Implemented, Proof: "TestLE5AGrantIsProlongedAndEnds", Note: "answered by lease.extended"},
	{Type: TypeSubscribe, Group: GroupSubscription, Direction: ClientToRuntime, Countable: true, New: payload[Subscribe], Support: Implemented, Proof: "TestBF1HistoryThenItsEndThenWhatComes"},
	{Type: TypeSubscribeAccepted, Group: GroupSubscription, Direction: RuntimeToClient, Countable: true, New: payload[SubscribeAccepted], Support: Implemented, Proof: "TestSB3WhatIsPublished"},
	{Type: TypeSubscribeEvent, Group: GroupSubscription, Direction: RuntimeToClient, Countable: true, New: payload[SubscribeEvent], Support: Implemented, Proof: "TestSB6TheWholeEnvelopeInAWrapperOfItsOwn", Note: "the wrapped envelope has no event_seq"},
	{Type: TypeUnsubscribe, Group: GroupSubscription, Direction: ClientToRuntime, Countable: true, New: payload[Unsubscribe], Support: Implemented, Proof: "TestSB8Unsubscribe", Note: "not answered"},
	{Type: TypeSubscribeClosed, Group: GroupSubscription, Direction: RuntimeToClient, Countable: true, New: payload[SubscribeClosed], Support: Implemented, Proof: "TestSubscribeClosedWhenTheLogHasLostWhatComesNext"},
	{Type: TypeJobSubscribe, Group: GroupSubscription, Direction: ClientToRuntime, Countable: true, New: payload[JobSubscribe], Support: Implemented, Proof: "TestJS6HistoryAndThenWhatComes"},
	{Type: TypeJobSubscribed, Group: GroupSubscription, Direction: RuntimeToClient, Countable: true, New: payload[JobSubscribed], Support: Implemented, Proof: "TestJS3WhatIsAnswered"},
	{Type: TypeJobUnsubscribe, Group: GroupSubscription, Direction: ClientToRuntime, Countable: true, New: payload[JobUnsubscribe], Support: Implemented, Proof: "TestJS9Unsubscribe", Note: "not answered"},
	{Type: TypeArtifactPut, Group: GroupArtifact, Direction: Both, Countable: true, MaxBytes: 6 << 20, New: payload[ArtifactPut], Support: Implemented, Proof: "TestAR1PutFetchRelease", Note: "4 MiB decoded, by --max-artifact-bytes; the answer to a fetch is in the log without its content"},
	{Type: TypeArtifactFetch, Group: GroupArtifact, Direction: ClientToRuntime, Countable: true, New: payload[ArtifactFetch], Support: Implemented, Proof: "TestAR1PutFetchRelease", Note: "larger ones over HTTP"},
	{Type: TypeArtifactRef, Group: GroupArtifact, Direction: RuntimeToClient, Countable: true, New: payload[ArtifactRefMessage], Support: Implemented, Proof: "TestAR1PutFetchRelease"},
	{Type: TypeArtifactRelease, Group: GroupArtifact, Direction: ClientToRuntime, Countable: true, New: payload[ArtifactRelease], Support: Implemented, Proof: "TestAR6ArtifactsAreTheirPrincipals", Note: "never answered"},
	{Type: TypeEventEmit, Group: GroupTelemetry, Direction: Both, Countable: true, New: payload[EventEmit], Support: Implemented, Proof: "TestTelemetryOfClients", Note: "from clients to the subscribers of their principal; not answered unless refused"},
	{Type: TypeLog, Group: GroupTelemetry, Direction: Both, Countable: true, New: payload[Log], Support: Implemented, Proof: "TestJB7HandlersCanSpeak", Note: "from jobs, and from clients to subscribers"},
	{Type: TypeMetric, Group: GroupTelemetry, Direction: Both, Countable: true, New: payload[Metric], Support: Implemented, Proof: "TestJobEvents", Note: "from jobs, and from clients to subscribers"},
	{Type: TypeTraceSpan, Group: GroupTelemetry, Direction: Both, Countable: true, New: payload[TraceSpan], Support: Implemented, Proof: "TestSpansAreTold", Note: "from jobs, and from clients to subscribers"},
}

var catalogueIndex = func() map[string]*Row {
	index := make(map[string]*Row, len(catalogue))
	for i := range catalogue {
		index[string(catalogue[i].Type)] = &catalogue[i]
	}
	return index
}()

// largestMaxBytes is the greatest limit that any row carries.
var largestMaxBytes = func() int {
	largest := 0
	for _, row := range catalogue {
		largest = max(largest, row.MaxBytes)
	}
	return largest
}()

// Catalogue is a copy of the table of message types, in the order of section 2
// of the open dialect.
func Catalogue() []Row { return append([]Row(nil), catalogue[:]...) }

// Lookup finds the row of a type.
func Lookup(t Type) (Row, bool) {
	row, ok := catalogueIndex[string(t)]
	if !ok {
		return Row{}, false
	}
	return *row, true
}

// LargestMaxBytes is the size in bytes of the largest envelope that any type
// may have under the given limits: what a transport must be ready to read.
func LargestMaxBytes(lim Limits) int { return max(lim.withDefaults().MaxBytes, largestMaxBytes) }
