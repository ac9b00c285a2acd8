package jetstream

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// field is a setting of a stream that Ensure compares.
type field struct {
	name string
	show func(*natsjs.StreamConfig) string
	// set copies the setting; nil if the broker does not change it, or we would not.
	set func(to, from *natsjs.StreamConfig)
	// refusal says why a change must not be made to this stream; nil or "": it may.
	refusal func(want *natsjs.StreamConfig, found *natsjs.StreamInfo) string
}

func (f field) same(a, b *natsjs.StreamConfig) bool { return f.show(a) == f.show(b) }

func (f field) refuse(want *natsjs.StreamConfig, found *natsjs.StreamInfo) string {
	if f.refusal == nil {
		return ""
	}
	return f.refusal(want, found)
}

var fields = []field{
	{
		name: "subjects",
		show: func(c *natsjs.StreamConfig) string { return strings.Join(c.Subjects, ",") },
	},
	{
		name: "storage",
		show: func(c *natsjs.StreamConfig) string { return strings.ToLower(c.Storage.String()) },
	},
	{
		name: "retention policy",
		show: func(c *natsjs.StreamConfig) string { return strings.ToLower(c.Retention.String()) },
	},
	{
		name: "discard policy",
		show: func(c *natsjs.StreamConfig) string { return strings.ToLower(c.Discard.String()) },
		set:  func(to, from *natsjs.StreamConfig) { to.Discard = from.Discard },
	},
	{
		name:    "retention",
		show:    func(c *natsjs.StreamConfig) string { return showDuration(c.MaxAge) },
		set:     func(to, from *natsjs.StreamConfig) { to.MaxAge = from.MaxAge },
		refusal: losesRecords,
	},
	{
		// Smaller than what is stored is no loss: the stream refuses new records.
		name: "max bytes",
		show: func(c *natsjs.StreamConfig) string { return showLimit(c.MaxBytes) },
		set:  func(to, from *natsjs.StreamConfig) { to.MaxBytes = from.MaxBytes },
	},
	{
		name: "dedup window",
		show: func(c *natsjs.StreamConfig) string { return showDuration(c.Duplicates) },
		set:  func(to, from *natsjs.StreamConfig) { to.Duplicates = from.Duplicates },
	},
	{
		name: "replicas",
		show: func(c *natsjs.StreamConfig) string { return strconv.Itoa(c.Replicas) },
		set:  func(to, from *natsjs.StreamConfig) { to.Replicas = from.Replicas },
	},
	{
		name: "direct reads",
		show: func(c *natsjs.StreamConfig) string { return strconv.FormatBool(c.AllowDirect) },
		set:  func(to, from *natsjs.StreamConfig) { to.AllowDirect = from.AllowDirect },
	},
	{
		name: "message ttl",
		show: func(c *natsjs.StreamConfig) string { return strconv.FormatBool(c.AllowMsgTTL) },
		set:  func(to, from *natsjs.StreamConfig) { to.AllowMsgTTL = from.AllowMsgTTL },
		refusal: func(want *natsjs.StreamConfig, _ *natsjs.StreamInfo) string {
			if !want.AllowMsgTTL {
				return "allowing it is for good"
			}
			return ""
		},
	},
	{
		name: "marker ttl",
		show: func(c *natsjs.StreamConfig) string { return showDuration(c.SubjectDeleteMarkerTTL) },
		set:  func(to, from *natsjs.StreamConfig) { to.SubjectDeleteMarkerTTL = from.SubjectDeleteMarkerTTL },
	},
}

// losesRecords refuses a retention that is shorter than the age of the oldest record.
func losesRecords(want *natsjs.StreamConfig, found *natsjs.StreamInfo) string {
	if want.MaxAge <= 0 || found.State.Msgs == 0 {
		return ""
	}
	if age := time.Since(found.State.FirstTime); age > want.MaxAge {
		return fmt.Sprintf("the oldest record is %v old and would be lost", age.Round(time.Second))
	}
	return ""
}

func showDuration(d time.Duration) string {
	if d <= 0 {
		return "none"
	}
	return d.String()
}

func showLimit(n int64) string {
	if n <= 0 {
		return "unlimited"
	}
	return strconv.FormatInt(n, 10)
}
