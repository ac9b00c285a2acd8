package envelope

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"

	jsonv2 "github.com/go-json-experiment/json"
)

// Capabilities is what one side offers (open dialect 3.2). A nil boolean is
// absent: it reads as false, but is not the same on the wire (CP-2).
type Capabilities struct {
	Streaming              *bool `json:"streaming,omitzero"`
	DurableJobs            *bool `json:"durable_jobs,omitzero"`
	Checkpoints            *bool `json:"checkpoints,omitzero"`
	BinaryStreams          *bool `json:"binary_streams,omitzero"`
	AgentHandoff           *bool `json:"agent_handoff,omitzero"`
	ModelUse               *bool `json:"model_use,omitzero"`
	ProvisionedCredentials *bool `json:"provisioned_credentials,omitzero"`
	Artifacts              *bool `json:"artifacts,omitzero"`
	Subscriptions          *bool `json:"subscriptions,omitzero"`
	ScheduledJobs          *bool `json:"scheduled_jobs,omitzero"`
	Interrupt              *bool `json:"interrupt,omitzero"`
	Anonymous              *bool `json:"anonymous,omitzero"`

	HeartbeatRecovery string             `json:"heartbeat_recovery,omitzero"`
	BinaryEncoding    []string           `json:"binary_encoding,omitempty" arcp:"="`
	Extensions        []string           `json:"extensions,omitempty" arcp:"="`
	ArtifactRetention *ArtifactRetention `json:"artifact_retention,omitzero"`
	Agents            *Agents            `json:"agents,omitzero"`

	// Extra holds the members that are not listed above.
	Extra map[string]json.RawMessage `json:"-" arcp:"extra"`
}

// ArtifactRetention says how long artifacts are kept, in seconds.
type ArtifactRetention struct {
	DefaultSeconds uint64 `json:"default_seconds" arcp:"!"`
	MaxSeconds     uint64 `json:"max_seconds" arcp:"!"`
}

// MarshalJSON writes the known members in the order of section 3.2, then the
// extra ones by name.
func (c Capabilities) MarshalJSON() ([]byte, error) {
	type known Capabilities
	raw, err := jsonv2.Marshal(known(c), marshalOptions)
	if err != nil {
		return nil, err
	}
	return appendExtra(raw, c.Extra, reflect.TypeFor[Capabilities]())
}

// UnmarshalJSON reads strictly: a known member of the wrong type is an error.
func (c *Capabilities) UnmarshalJSON(data []byte) error {
	*c = Capabilities{}
	return unmarshal(data, c)
}

// Agents is the agent inventory in one of its two shapes. Rich is used if it
// is not empty, else Flat; the shape read is the shape written.
type Agents struct {
	Flat []string
	Rich []Agent
}

// Agent is one entry of a rich inventory. Default is the version that the bare
// name stands for.
type Agent struct {
	Name     string   `json:"name" arcp:"!"`
	Versions []string `json:"versions,omitempty" arcp:"="`
	Default  string   `json:"default,omitzero"`
}

// Offers reports whether the inventory satisfies a pinned reference (TI-5): a
// flat one satisfies any version of a listed name, a rich one must list the
// version. A bare name only has to be listed.
func (a *Agents) Offers(ref AgentRef) bool {
	if a == nil {
		return false
	}
	for _, name := range a.Flat {
		if name == ref.Name {
			return true
		}
	}
	for _, agent := range a.Rich {
		if agent.Name != ref.Name {
			continue
		}
		if ref.Version == "" {
			return true
		}
		for _, version := range agent.Versions {
			if version == ref.Version {
				return true
			}
		}
	}
	return false
}

// MarshalJSON writes the shape in use; an empty inventory is [].
func (a Agents) MarshalJSON() ([]byte, error) {
	if len(a.Rich) > 0 {
		if len(a.Flat) > 0 {
			return nil, errors.New("agent inventory is both flat and rich")
		}
		return jsonv2.Marshal(a.Rich, marshalOptions)
	}
	return jsonv2.Marshal(a.Flat, marshalOptions)
}

var errAgents = errors.New("must be an array of names or an array of objects")

// fromObject tells the shapes apart by the first element. The second one then
// refuses elements of the other kind.
func (a *Agents) fromObject(raw []byte) *DecodeError {
	*a = Agents{}
	body := bytes.TrimLeft(raw, " \t\r\n")
	if len(body) == 0 || body[0] != '[' {
		return &DecodeError{Reason: errAgents.Error()}
	}
	first := bytes.TrimLeft(body[1:], " \t\r\n")
	scan := newScanner(raw)
	defer scan.release()
	if len(first) > 0 && first[0] == '{' {
		return readRich(scan, reflect.ValueOf(&a.Rich).Elem())
	}
	return readFlat(scan, reflect.ValueOf(&a.Flat).Elem())
}

var (
	readFlat = readSlice(readString)
	readRich = readSlice(readStruct)
)

// UnmarshalJSON reads either shape and refuses a mixture.
func (a *Agents) UnmarshalJSON(data []byte) error { return unmarshal(data, a) }
