package integration_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/internal/wstest"
)

// TestI5NoSecretIsWrittenDown uses tokens of every kind, good and bad, then looks for them in everything that was
// logged and in every message of every stream, the buckets included.
func TestI5NoSecretIsWrittenDown(t *testing.T) {
	c, e, p, accepted := session(t)
	secrets := []string{aliceToken, bobToken, token(accepted)}
	bad := "wrong-token-0123456789"
	q := wstest.Dial(t, e.url)
	q.Send("session.open", wstest.OpenPayload(bad))
	q.Expect("session.rejected")
	secrets = append(secrets, bad)
	q.Send("session.open", map[string]any{"auth": map[string]any{"scheme": "bearer", "token": bad, "extra": 1}, "client": 7}) // undecodable
	q.Open(bobToken)
	q.Send("session.open", wstest.OpenPayload(aliceToken)) // refused
	q.Expect("nack")
	q.SendRaw(`{"arcp":"1.1","id":"msg_1","timestamp":"x","type":"session.open","payload":{"auth":{"token":"` + bad + `"}}}`)
	q.Expect("nack")
	p.Invoke("panic", 1)
	p.Until("job.failed")
	p.Drop()
	r := wstest.Dial(t, e.url)
	resumed := r.Resume(token(accepted), 0)
	secrets = append(secrets, token(resumed))
	r.Send("session.resume", map[string]any{"resume_token": token(accepted) + "x", "last_event_seq": 0})
	r.Until("session.rejected")

	for _, secret := range secrets {
		require.NotContains(t, c.logs.String(), secret)
	}
	js := c.jetStream()
	ctx, cancel := context.WithTimeout(context.Background(), wstest.Wait)
	defer cancel()
	messages := 0
	streams := js.ListStreams(ctx)
	for info := range streams.Info() {
		stream, err := js.Stream(ctx, info.Config.Name)
		require.NoError(t, err)
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
			msg, err := stream.GetMsg(ctx, seq)
			if err != nil {
				continue // overwritten in a bucket
			}
			messages++
			for _, secret := range secrets {
				require.False(t, bytes.Contains(msg.Data, []byte(secret)), "%s %d %s", info.Config.Name, seq, msg.Subject)
				require.NotContains(t, msg.Subject, secret)
				for _, values := range msg.Header {
					require.NotContains(t, values, secret)
				}
			}
		}
	}
	require.NoError(t, streams.Err())
	require.GreaterOrEqual(t, messages, 8, "the streams were read")
}
