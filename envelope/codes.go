package envelope

import "fmt"

// Code is an error code of open dialect section 5.
type Code string

// The thirty codes. The comment says default retryability where it is yes, and
// which codes a 2.0.0 client cannot read.
const (
	CodeOK                   Code = "OK"
	CodeCancelled            Code = "CANCELLED"
	CodeUnknown              Code = "UNKNOWN"
	CodeInvalidArgument      Code = "INVALID_ARGUMENT"
	CodeInvalidRequest       Code = "INVALID_REQUEST"   // not in 2.0
	CodeDeadlineExceeded     Code = "DEADLINE_EXCEEDED" // retryable
	CodeTimeout              Code = "TIMEOUT"           // not in 2.0
	CodeNotFound             Code = "NOT_FOUND"
	CodeJobNotFound          Code = "JOB_NOT_FOUND" // not in 2.0
	CodeAlreadyExists        Code = "ALREADY_EXISTS"
	CodeDuplicateKey         Code = "DUPLICATE_KEY" // not in 2.0
	CodePermissionDenied     Code = "PERMISSION_DENIED"
	CodeResourceExhausted    Code = "RESOURCE_EXHAUSTED" // retryable
	CodeFailedPrecondition   Code = "FAILED_PRECONDITION"
	CodeAborted              Code = "ABORTED" // retryable
	CodeOutOfRange           Code = "OUT_OF_RANGE"
	CodeUnimplemented        Code = "UNIMPLEMENTED"
	CodeInternal             Code = "INTERNAL"    // retryable
	CodeUnavailable          Code = "UNAVAILABLE" // retryable
	CodeDataLoss             Code = "DATA_LOSS"
	CodeUnauthenticated      Code = "UNAUTHENTICATED"
	CodeHeartbeatLost        Code = "HEARTBEAT_LOST"
	CodeResumeWindowExpired  Code = "RESUME_WINDOW_EXPIRED" // not in 2.0
	CodeLeaseExpired         Code = "LEASE_EXPIRED"
	CodeLeaseRevoked         Code = "LEASE_REVOKED"
	CodeBackpressureOverflow Code = "BACKPRESSURE_OVERFLOW"
	CodeBudgetExhausted      Code = "BUDGET_EXHAUSTED"
	CodeLeaseSubsetViolation Code = "LEASE_SUBSET_VIOLATION"
	CodeAgentNotAvailable    Code = "AGENT_NOT_AVAILABLE" // not in 2.0

	CodeAgentVersionNotAvailable Code = "AGENT_VERSION_NOT_AVAILABLE"
)

type codeRow struct {
	code      Code
	retryable bool
	in20      Code // what a peer of the 2.0 vocabulary is told instead; "" is the code itself
}

// codeTable is in the order of section 5.
var codeTable = []codeRow{
	{code: CodeOK},
	{code: CodeCancelled},
	{code: CodeUnknown},
	{code: CodeInvalidArgument},
	{code: CodeInvalidRequest, in20: CodeInvalidArgument},
	{code: CodeDeadlineExceeded, retryable: true},
	{code: CodeTimeout, in20: CodeDeadlineExceeded},
	{code: CodeNotFound},
	{code: CodeJobNotFound, in20: CodeNotFound},
	{code: CodeAlreadyExists},
	{code: CodeDuplicateKey, in20: CodeFailedPrecondition},
	{code: CodePermissionDenied},
	{code: CodeResourceExhausted, retryable: true},
	{code: CodeFailedPrecondition},
	{code: CodeAborted, retryable: true},
	{code: CodeOutOfRange},
	{code: CodeUnimplemented},
	{code: CodeInternal, retryable: true},
	{code: CodeUnavailable, retryable: true},
	{code: CodeDataLoss},
	{code: CodeUnauthenticated},
	{code: CodeHeartbeatLost},
	{code: CodeResumeWindowExpired, in20: CodeDataLoss},
	{code: CodeLeaseExpired},
	{code: CodeLeaseRevoked},
	{code: CodeBackpressureOverflow},
	{code: CodeBudgetExhausted},
	{code: CodeLeaseSubsetViolation},
	{code: CodeAgentNotAvailable, in20: CodeNotFound},
	{code: CodeAgentVersionNotAvailable},
}

// codeAliases are read and never written.
var codeAliases = map[string]Code{
	"RATE_LIMITED":   CodeResourceExhausted,
	"INTERNAL_ERROR": CodeInternal,
}

var codeIndex = func() map[Code]codeRow {
	index := make(map[Code]codeRow, len(codeTable))
	for _, row := range codeTable {
		index[row.code] = row
	}
	return index
}()

// Codes lists every code in the order of section 5.
func Codes() []Code {
	codes := make([]Code, len(codeTable))
	for i, row := range codeTable {
		codes[i] = row.code
	}
	return codes
}

// ParseCode reads a code or one of the aliases RATE_LIMITED and
// INTERNAL_ERROR. Any other string is an error, as section 5 asks (EX-4).
func ParseCode(s string) (Code, error) {
	if row, ok := codeIndex[Code(s)]; ok {
		return row.code, nil
	}
	if code, ok := codeAliases[s]; ok {
		return code, nil
	}
	return "", fmt.Errorf("no error code")
}

// Retryable is the default retryability: what an answer says when nothing
// overrides it. It is false for unknown codes.
func (c Code) Retryable() bool { return codeIndex[c].retryable }

func (c *Code) fromWire(s string) (err error) { *c, err = ParseCode(s); return }

// Vocabulary says which codes a peer can read.
type Vocabulary string

const (
	// Vocabulary20 holds the 24 codes that 2.0.0 clients can read. The empty
	// vocabulary means this one.
	Vocabulary20 Vocabulary = "2.0"
	// Vocabulary11 holds all thirty.
	Vocabulary11 Vocabulary = "1.1"
)

// ParseVocabulary reads "2.0" or "1.1".
func ParseVocabulary(s string) (Vocabulary, error) {
	switch v := Vocabulary(s); v {
	case Vocabulary20, Vocabulary11:
		return v, nil
	}
	return "", fmt.Errorf("no code vocabulary %q: want %q or %q", s, Vocabulary20, Vocabulary11)
}

// Code is the code of the vocabulary that says the same as c. In the 2.0
// vocabulary RESUME_WINDOW_EXPIRED becomes DATA_LOSS; the one place that keeps
// it, session.rejected to a session.resume, does not ask.
func (v Vocabulary) Code(c Code) Code {
	if v == Vocabulary11 {
		return c
	}
	if in20 := codeIndex[c].in20; in20 != "" {
		return in20
	}
	return c
}
