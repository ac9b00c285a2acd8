package envelope

import "encoding/json"

// ToolInvoke starts a job (TI-1). Tool is an agent reference; [ParseAgentRef]
// checks it, not the decoder. Arguments is any JSON value; nil is written as
// null.
type ToolInvoke struct {
	Tool         string          `json:"tool" arcp:"!"`
	Arguments    json.RawMessage `json:"arguments" arcp:"!"`
	CostBudget   []Amount        `json:"cost_budget,omitzero"`
	LeaseRequest *Lease          `json:"lease_request,omitzero"`
	// MaxRuntimeSec is how long an attempt may run, in seconds; then the job
	// fails with TIMEOUT. 0 leaves it to the runtime. The open dialect has no
	// such member, and its clients may leave it out.
	MaxRuntimeSec uint64 `json:"max_runtime_sec,omitzero"`
}

// EffectiveLease is the lease that the invocation asks for (TI-1): the lease
// request whole if there is one, else a lease of just the cost budget, else
// nil. The two are never merged.
func (p *ToolInvoke) EffectiveLease() *Lease {
	switch {
	case p.LeaseRequest != nil:
		return p.LeaseRequest
	case p.CostBudget != nil:
		return &Lease{Budget: p.CostBudget}
	default:
		return nil
	}
}

// ToolResult is the result of a tool that a job has called (JB-7).
type ToolResult struct {
	Value     json.RawMessage `json:"value,omitzero" arcp:"keepnull"`
	ResultRef *ArtifactRef    `json:"result_ref,omitzero"`
}

// ToolError is the failure of a tool that a job has called (JB-7).
type ToolError struct {
	Code      Code            `json:"code" arcp:"!"`
	Retryable *bool           `json:"retryable,omitzero"`
	Message   string          `json:"message" arcp:"!"`
	Details   json.RawMessage `json:"details,omitzero"`
}
