package envelope

import (
	"math"

	"github.com/go-json-experiment/json"
)

// JobProgress says how far a job is. On the wire it has two shapes: percent
// (2.0.0) and current/total/units (later). Both are read. Both are written
// where they can be: percent stands beside the numbers when the total is known
// and not zero.
//
// A progress that has only percent reads as Current of Total 100 in Units
// "percent"; one that has neither reads as Current 0.
type JobProgress struct {
	Current float64
	Total   *float64
	Units   string
	Message string
}

type progressWire struct {
	Current *float64 `json:"current,omitzero" arcp:"="`
	Total   *float64 `json:"total,omitzero"`
	Units   string   `json:"units,omitzero"`
	Percent *float64 `json:"percent,omitzero"`
	Message string   `json:"message,omitzero"`
}

// percentUnits marks numbers that were read from a percentage.
const percentUnits = "percent"

func (p *JobProgress) fromObject(raw []byte) *DecodeError {
	var wire progressWire
	if err := decodeObject(raw, &wire); err != nil {
		return err
	}
	*p = JobProgress{Total: wire.Total, Units: wire.Units, Message: wire.Message}
	switch {
	case wire.Current != nil:
		p.Current = *wire.Current
	case wire.Percent != nil:
		p.Current, p.Total, p.Units = *wire.Percent, new(100.0), percentUnits
	}
	return nil
}

// Check tells a producer whether the numbers may be sent: finite, not
// negative, and current not beyond total (open dialect 3.5). The error is an
// INVALID_REQUEST. A reader does not check.
func (p JobProgress) Check() error {
	if !sendable(p.Current) {
		return Errorf(CodeInvalidRequest, "progress: current must be finite and not negative")
	}
	if p.Total != nil && !sendable(*p.Total) {
		return Errorf(CodeInvalidRequest, "progress: total must be finite and not negative")
	}
	if p.Total != nil && p.Current > *p.Total {
		return Errorf(CodeInvalidRequest, "progress: current is beyond total")
	}
	return nil
}

func sendable(f float64) bool { return f >= 0 && !math.IsInf(f, 1) }

// MarshalJSON writes both shapes.
func (p JobProgress) MarshalJSON() ([]byte, error) {
	wire := progressWire{Current: &p.Current, Total: p.Total, Units: p.Units, Message: p.Message}
	if p.Total != nil && *p.Total > 0 {
		percent := 100 * p.Current / *p.Total
		if p.Units == percentUnits && *p.Total == 100 {
			percent = p.Current
		}
		if !math.IsInf(percent, 0) {
			wire.Percent = &percent
		}
	}
	return json.Marshal(wire, marshalOptions)
}

// UnmarshalJSON reads either shape.
func (p *JobProgress) UnmarshalJSON(data []byte) error { return unmarshal(data, p) }
