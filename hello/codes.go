package hello

import (
	"encoding/json"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcp-nats/arcp/envelope"
)

// Code is an error code of the dialect. A client of one of the libraries drops a message with any other (annex A, 13).
type Code string

// The fifteen codes.
const (
	CodePermissionDenied         Code = "PERMISSION_DENIED"
	CodeLeaseSubsetViolation     Code = "LEASE_SUBSET_VIOLATION"
	CodeJobNotFound              Code = "JOB_NOT_FOUND"
	CodeDuplicateKey             Code = "DUPLICATE_KEY"
	CodeAgentNotAvailable        Code = "AGENT_NOT_AVAILABLE"
	CodeAgentVersionNotAvailable Code = "AGENT_VERSION_NOT_AVAILABLE"
	CodeCancelled                Code = "CANCELLED"
	CodeResumeWindowExpired      Code = "RESUME_WINDOW_EXPIRED"
	CodeInvalidRequest           Code = "INVALID_REQUEST"
	CodeUnauthenticated          Code = "UNAUTHENTICATED"
	CodeLeaseExpired             Code = "LEASE_EXPIRED"
	CodeBudgetExhausted          Code = "BUDGET_EXHAUSTED"
	CodeInternalError            Code = "INTERNAL_ERROR"
	CodeTimeout                  Code = "TIMEOUT"
	CodeHeartbeatLost            Code = "HEARTBEAT_LOST"
)

// codes are those that there are, and whether what they say can be mended by trying again (rule 104).
var codes = map[Code]bool{
	CodePermissionDenied: false, CodeLeaseSubsetViolation: false, CodeJobNotFound: false, CodeDuplicateKey: false,
	CodeAgentNotAvailable: false, CodeAgentVersionNotAvailable: false, CodeCancelled: false, CodeResumeWindowExpired: false,
	CodeInvalidRequest: false, CodeUnauthenticated: false, CodeLeaseExpired: false, CodeBudgetExhausted: false,
	CodeInternalError: true, CodeTimeout: false, CodeHeartbeatLost: true,
}

// Retryable reports whether what a code says can be mended by trying again. It follows from the code.
func (c Code) Retryable() bool { return codes[c] }

// others are the codes of the open dialect that have another name here. What is not here and not of the fifteen is
// INTERNAL_ERROR.
var others = map[envelope.Code]Code{
	envelope.CodeInvalidArgument: CodeInvalidRequest, envelope.CodeOutOfRange: CodeInvalidRequest,
	envelope.CodeFailedPrecondition: CodeInvalidRequest, envelope.CodeUnimplemented: CodeInvalidRequest,
	envelope.CodeDeadlineExceeded: CodeTimeout, envelope.CodeNotFound: CodeInvalidRequest,
	envelope.CodeAlreadyExists: CodeDuplicateKey, envelope.CodeLeaseRevoked: CodePermissionDenied,
}

// CodeOf is what an error of the open dialect is called here.
func CodeOf(code envelope.Code) Code {
	if _, same := codes[Code(code)]; same {
		return Code(code)
	}
	if other, known := others[code]; known {
		return other
	}
	return CodeInternalError
}

// ProblemOf is an error of the open dialect. details, if it is an object, and the code, if it has another name here, are kept
// in the details. The message is never empty.
func ProblemOf(code envelope.Code, message string, details json.RawMessage) Problem {
	p := Problem{Code: CodeOf(code), Message: message}
	p.Retryable = p.Code.Retryable()
	if p.Message == "" {
		p.Message = string(p.Code)
	}
	members := make(map[string]json.RawMessage)
	if len(details) > 0 && jsonv2.Unmarshal(details, &members) != nil {
		members = map[string]json.RawMessage{"value": details}
	}
	if Code(code) != p.Code {
		members["open_code"] = quoted(string(code))
	}
	if len(members) > 0 {
		if raw, err := jsonv2.Marshal(members, jsonv2.Deterministic(true)); err == nil {
			p.Details = raw
		}
	}
	return p
}

func quoted(s string) json.RawMessage {
	raw, err := jsonv2.Marshal(s, writing)
	if err != nil {
		return json.RawMessage(`""`)
	}
	return raw
}
