package edge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/auth"
	"github.com/arcp-nats/arcp/envelope"
)

// TestHS9WhenALeaseEnds: a lease ends with its length or with the credential, whichever is first, and is to be renewed a
// quarter before, or a minute.
func TestHS9WhenALeaseEnds(t *testing.T) {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		length, credential time.Duration // 0: the credential has no end
		ends, asked        time.Duration
	}{
		"no end of the credential": {length: time.Hour, ends: time.Hour, asked: 59 * time.Minute},
		"a credential that lasts":  {length: time.Hour, credential: 2 * time.Hour, ends: time.Hour, asked: 59 * time.Minute},
		"a credential that ends":   {length: time.Hour, credential: 2 * time.Minute, ends: 2 * time.Minute, asked: 90 * time.Second},
		"a short lease":            {length: 4 * time.Second, ends: 4 * time.Second, asked: 3 * time.Second},
		"over by another clock":    {length: time.Hour, credential: -time.Second, ends: auth.Leeway - time.Second, asked: (auth.Leeway - time.Second) * 3 / 4},
	} {
		t.Run(name, func(t *testing.T) {
			var credential time.Time
			if c.credential != 0 {
				credential = now.Add(c.credential)
			}
			l := newLease(now, c.length, credential)
			require.Equal(t, c.ends, l.ends.Sub(now))
			require.Equal(t, l.ends, l.told().ExpiresAt.Time)
			require.False(t, l.nearsEnd(now.Add(c.asked-1)))
			require.True(t, l.nearsEnd(now.Add(c.asked)))
			require.False(t, l.over(l.ends.Add(-1)))
			require.True(t, l.over(l.ends))
		})
	}
}

// TestHS9AClientIsAskedOnceALease: and again after a renewal, or when the question did not get out.
func TestHS9AClientIsAskedOnceALease(t *testing.T) {
	now := time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)
	var r renewals
	r.renewed(newLease(now, time.Hour, time.Time{}))
	_, due := r.toAsk(now)
	require.False(t, due)
	deadline, due := r.toAsk(now.Add(59 * time.Minute))
	require.True(t, due)
	require.Equal(t, now.Add(time.Hour), deadline)
	_, due = r.toAsk(now.Add(59 * time.Minute))
	require.False(t, due)
	r.askAgain()
	_, due = r.toAsk(now.Add(59 * time.Minute))
	require.True(t, due)
	r.renewed(newLease(now.Add(59*time.Minute), time.Hour, time.Time{}))
	_, due = r.toAsk(now.Add(time.Hour))
	require.False(t, due)
	require.False(t, r.over(now.Add(time.Hour)))
}

// TestHS9TriesAreBounded: five answers that prove nothing, and none is looked at any more, however they come.
func TestHS9TriesAreBounded(t *testing.T) {
	var r renewals
	judging := 0
	start := func() { judging++ }
	answer := renewalRequest{msg: &envelope.Envelope{}, response: "wrong"}
	for range maxRenewalsWaiting {
		require.True(t, r.add(answer, start))
	}
	require.False(t, r.add(answer, start), "no more than %d wait", maxRenewalsWaiting)
	require.Equal(t, 1, judging)
	looked := 0
	for {
		_, _, ok := r.take()
		if !ok {
			break
		}
		looked++
		r.wrong()
		r.add(answer, start)
	}
	require.Equal(t, maxRenewalTries, looked)
	require.False(t, r.add(answer, start))
	r.renewed(lease{})
	require.True(t, r.add(answer, start), "a renewal counts anew")
	require.Equal(t, 2, judging)
}

// TestHS9RenewalsKeepTheTokenOfTheConnection: a client that does not look for tokens in later acceptances can resume.
func TestHS9RenewalsKeepTheTokenOfTheConnection(t *testing.T) {
	r := &sessionRecord{Token: hashToken("first")}
	for range 3 * maxPrevious {
		r.renew("later")
	}
	r.renew("last")
	require.LessOrEqual(t, len(r.Previous), maxPrevious)
	require.True(t, r.goodToken("first"))
	require.True(t, r.goodToken("last"))
}
