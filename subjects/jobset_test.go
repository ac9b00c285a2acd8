package subjects_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/subjects"
)

// TestJobSetHoldsWhatItsFilterMatches: also for principals that are escaped or hashed, after a trip through Parse.
func TestJobSetHoldsWhatItsFilterMatches(t *testing.T) {
	principals := []string{"ann", "a.n*n", strings.Repeat("long", 40)}
	var all []subjects.Subject
	for _, principal := range principals {
		for _, session := range []string{"s1", "s.2"} {
			for shard := range 2 {
				s := subjects.Subject{Shard: shard, Queue: "q", Tool: "t@1", Feed: "f", Principal: principal, Session: session, Job: "j"}
				all = append(all, s, subjects.JobEvents(s), subjects.JobInput(s))
			}
		}
	}
	for _, principal := range principals {
		for _, session := range []string{"", "s1", "s.2"} {
			set := subjects.JobSet{Shard: 1, Principal: principal, Session: session}
			held := 0
			for _, s := range all {
				parsed, err := subjects.Parse(s.String())
				require.NoError(t, err)
				require.Equal(t, matches(set.Filter(), s.String()), set.Holds(parsed), "%s %s", set.Filter(), s)
				if set.Holds(parsed) {
					held++
				}
			}
			want := 2
			if session != "" {
				want = 1
			}
			require.Equal(t, want, held)
		}
	}
}
