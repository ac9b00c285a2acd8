package registry

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/subjects"
)

const (
	// PresenceTTL is how long a worker counts as present after it last said so.
	PresenceTTL = 30 * time.Second
	// PresenceInterval is how often a worker says so.
	PresenceInterval = 10 * time.Second
)

// Tool is a tool as a worker offers it.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Default makes this version the one that the bare name means.
	Default bool `json:"default,omitempty"`
	// Description is for people.
	Description string `json:"description,omitempty"`
}

// Ref is the tool's full name.
func (t Tool) Ref() envelope.AgentRef { return envelope.AgentRef{Name: t.Name, Version: t.Version} }

// QueueEntry says which tools a queue serves. It stays when the workers go.
type QueueEntry struct {
	Queue string `json:"queue"`
	Tools []Tool `json:"tools"`
}

// Presence says that a worker serves a queue. It goes after PresenceTTL unless it is written again.
type Presence struct {
	Queue  string `json:"queue"`
	Worker string `json:"worker"`
}

// What the keys of the bucket begin with.
const (
	queueKind  = "queue"
	workerKind = "worker"
)

// QueueKey is the key of a queue's entry.
func QueueKey(queue string) string { return subjects.Key(queueKind, queue) }

// PresenceKey is the key of a worker's presence at a queue.
func PresenceKey(queue, worker string) string { return subjects.Key(workerKind, queue, worker) }

// Encode returns the entry as the bucket holds it.
func (e QueueEntry) Encode() ([]byte, error) { return json.Marshal(e) }

// Encode returns the entry as the bucket holds it.
func (p Presence) Encode() ([]byte, error) { return json.Marshal(p) }

// splitKey tells what a key is about. worker is empty for the entry of a queue.
func splitKey(key string) (queue, worker string, err error) {
	parts, err := subjects.ParseKey(key)
	switch {
	case err != nil:
		return "", "", err
	case len(parts) == 2 && parts[0] == queueKind:
		return parts[1], "", nil
	case len(parts) == 3 && parts[0] == workerKind && parts[2] != "":
		return parts[1], parts[2], nil
	}
	return "", "", fmt.Errorf("registry: key %q is about neither a queue nor a worker", key)
}
