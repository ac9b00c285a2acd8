package record

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/subjects"
)

// Deadline is an entry of the bucket of deadlines: when the lease of a job ends (open dialect LE-3). It is written before the
// job's invocation, so an entry may be of a job that there is not.
type Deadline struct {
	// Invocation is the subject on which the job's invocation stands.
	Invocation subjects.Subject
	At         time.Time
}

type storedDeadline struct {
	Invocation string    `json:"invocation"`
	At         time.Time `json:"at"`
}

// Key is where the entry stands.
func (d Deadline) Key() string { return subjects.Key(d.Invocation.Job) }

// Encode returns the value of the entry.
func (d Deadline) Encode() ([]byte, error) {
	data, err := json.Marshal(storedDeadline{Invocation: d.Invocation.String(), At: d.At.UTC()})
	if err != nil {
		return nil, fmt.Errorf("deadline: %w", err)
	}
	return data, nil
}

// ParseDeadline reads the value of an entry.
func ParseDeadline(data []byte) (Deadline, error) {
	var stored storedDeadline
	if err := json.Unmarshal(data, &stored); err != nil {
		return Deadline{}, fmt.Errorf("deadline: %w", err)
	}
	invocation, err := subjects.Parse(stored.Invocation)
	switch {
	case err != nil:
		return Deadline{}, fmt.Errorf("deadline: %w", err)
	case invocation.Lane != subjects.Invoke || invocation.Job == "":
		return Deadline{}, fmt.Errorf("deadline: %s is not the subject of an invocation", stored.Invocation)
	}
	return Deadline{Invocation: invocation, At: stored.At}, nil
}
