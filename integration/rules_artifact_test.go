package integration_test

import (
	"bytes"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/edge"
	"github.com/arcp-nats/arcp/internal/wstest"
)

// bytesOf returns content that does not repeat.
func bytesOf(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data)
	return data
}

func put(data []byte, more ...any) map[string]any {
	payload := map[string]any{"media_type": "text/plain", "data": base64.StdEncoding.EncodeToString(data)}
	for i := 0; i+1 < len(more); i += 2 {
		payload[more[i].(string)] = more[i+1]
	}
	return payload
}

// artifactOf returns the reference in an artifact.ref.
func artifactOf(t testing.TB, m wstest.Message) wstest.Message {
	t.Helper()
	require.Equal(t, "artifact.ref", m.Type(), "%v", m)
	ref, ok := m.Payload()["artifact"].(map[string]any)
	require.True(t, ok)
	return ref
}

func fetch(p *wstest.Peer, id string) wstest.Message {
	p.Send("artifact.fetch", map[string]any{"artifact_id": id})
	return p.Next()
}

func refused(t testing.TB, m wstest.Message, code, says string) {
	t.Helper()
	require.Equal(t, "nack", m.Type(), "%v", m)
	require.Equal(t, code, m.Payload()["code"], "%v", m)
	require.Contains(t, m.Payload()["message"], says)
}

func edgeOnly(t testing.TB, change func(*edge.Config)) (*cluster, *testEdge) {
	t.Helper()
	c := newCluster(t)
	return c, c.edge("edge-1", change)
}

// TestAR1PutFetchRelease is the example of the open dialect's section 7.8, with what our references have on top.
func TestAR1PutFetchRelease(t *testing.T) {
	_, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	require.Equal(t, map[string]any{"default_seconds": 3600.0, "max_seconds": 86400.0}, accepted.Payload()["capabilities"].(map[string]any)["artifact_retention"])

	before := time.Now()
	id := p.Send("artifact.put", put([]byte("hello"), "retain_seconds", 600), "trace_id", "trace-1")
	m := p.Next()
	ref := artifactOf(t, m)
	require.Equal(t, []any{1, id, accepted.Str("session_id"), "trace-1"}, []any{m.Seq(), m.Str("correlation_id"), m.Str("session_id"), m.Str("trace_id")})
	artifact := ref.Str("artifact_id")
	require.Regexp(t, `^art_[0-9A-HJKMNP-TV-Z]{26}$`, artifact)
	require.Equal(t, "arcp://artifact/"+artifact, ref["uri"])
	require.Equal(t, []any{"text/plain", 5.0}, []any{ref["media_type"], ref["size"]})
	sum := sha256.Sum256([]byte("hello"))
	require.Equal(t, hex.EncodeToString(sum[:]), ref["sha256"], "AR-3: computed always")
	expires, err := time.Parse(time.RFC3339Nano, ref.Str("expires_at"))
	require.NoError(t, err)
	require.WithinRange(t, expires, before.Add(599*time.Second), time.Now().Add(601*time.Second))

	id = p.Send("artifact.fetch", map[string]any{"artifact_id": artifact})
	m = p.Expect("artifact.put")
	require.Equal(t, []any{2, id}, []any{m.Seq(), m.Str("correlation_id")})
	require.Equal(t, wstest.Message{"media_type": "text/plain", "data": "aGVsbG8="}, m.Payload(), "AR-4: nothing else")

	p.Send("artifact.release", map[string]any{"artifact_id": artifact})
	m = fetch(p, artifact)
	refused(t, m, "NOT_FOUND", "no such artifact")
	require.Equal(t, 3, m.Seq(), "AR-5: the release was not answered")
}

// TestAR1Limits: 4 MiB go through, a kilobyte more is refused in words that name the limit, and so is what is no base64.
func TestAR1Limits(t *testing.T) {
	_, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	whole := bytesOf(4 << 20)
	p.Send("artifact.put", put(whole))
	artifact := artifactOf(t, p.Next()).Str("artifact_id")
	m := fetch(p, artifact)
	got, err := base64.StdEncoding.DecodeString(m.Payload().Str("data"))
	require.NoError(t, err)
	require.True(t, bytes.Equal(whole, got))

	p.Send("artifact.put", put(make([]byte, 4<<20+1024)))
	refused(t, p.Next(), "INVALID_ARGUMENT", "4195328 bytes decoded, the limit is 4194304")
	for _, data := range []string{"aGVsbG8", "aGVs\nbG8=", "-_-_", "aGVsbG9=", "*"} {
		p.Send("artifact.put", map[string]any{"media_type": "text/plain", "data": data})
		refused(t, p.Next(), "INVALID_ARGUMENT", "payload.data")
	}
	p.Send("artifact.put", put(nil, "media_type", "a\nb"))
	refused(t, p.Next(), "INVALID_ARGUMENT", "payload.media_type")
	p.Send("artifact.put", map[string]any{"media_type": "text/plain"})
	refused(t, p.Next(), "INVALID_ARGUMENT", "payload.data")
	p.Send("artifact.fetch", map[string]any{"artifact_id": "nonsense"})
	refused(t, p.Next(), "INVALID_ARGUMENT", "artifact_id")
	p.Quiet()
}

// TestAR1TheLimitIsExact, whatever it is set to.
func TestAR1TheLimitIsExact(t *testing.T) {
	_, e := edgeOnly(t, func(cfg *edge.Config) { cfg.MaxArtifactBytes = 1000 })
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	rapid.Check(t, func(r *rapid.T) {
		data := bytesOf(rapid.OneOf(rapid.IntRange(0, 1100), rapid.SampledFrom([]int{999, 1000, 1001})).Draw(r, "size"))
		p.Send("artifact.put", put(data))
		m := p.Next()
		if len(data) > 1000 {
			refused(t, m, "INVALID_ARGUMENT", "the limit is 1000")
			return
		}
		ref := artifactOf(t, m)
		require.EqualValues(t, len(data), ref["size"])
		require.Equal(t, base64.StdEncoding.EncodeToString(data), fetch(p, ref.Str("artifact_id")).Payload()["data"])
	})
}

// TestAR2Retention: the default without a word, the cap beyond it (AR-7), and 0 is over before it begins.
func TestAR2Retention(t *testing.T) {
	_, e := edgeOnly(t, func(cfg *edge.Config) { cfg.ArtifactRetention, cfg.MaxArtifactRetention = time.Minute, time.Hour })
	p := wstest.Dial(t, e.url)
	accepted := p.Open(aliceToken)
	require.Equal(t, map[string]any{"default_seconds": 60.0, "max_seconds": 3600.0}, accepted.Payload()["capabilities"].(map[string]any)["artifact_retention"])
	left := func(more ...any) time.Duration {
		p.Send("artifact.put", put([]byte("x"), more...))
		ref := artifactOf(t, p.Next())
		expires, err := time.Parse(time.RFC3339Nano, ref.Str("expires_at"))
		require.NoError(t, err)
		if _, zero := more, time.Until(expires) <= 0; zero {
			refused(t, fetch(p, ref.Str("artifact_id")), "NOT_FOUND", "")
		}
		return time.Until(expires).Round(10 * time.Second)
	}
	require.Equal(t, time.Minute, left())
	require.Equal(t, 10*time.Minute, left("retain_seconds", 600))
	require.Equal(t, time.Hour, left("retain_seconds", 3601))
	require.Equal(t, time.Hour, left("retain_seconds", uint64(1<<63)))
	require.LessOrEqual(t, left("retain_seconds", 0), time.Duration(0))
}

// TestAR3TheClientsHashIsVerified, in either case, and is never merely echoed.
func TestAR3TheClientsHashIsVerified(t *testing.T) {
	_, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	sum := sha256.Sum256([]byte("hello"))
	right := hex.EncodeToString(sum[:])
	for _, given := range []string{right, strings.ToUpper(right)} {
		p.Send("artifact.put", put([]byte("hello"), "sha256", given))
		require.Equal(t, right, artifactOf(t, p.Next())["sha256"])
	}
	for _, given := range []string{strings.Repeat("0", 64), "nonsense", right[1:]} {
		p.Send("artifact.put", put([]byte("hello"), "sha256", given))
		refused(t, p.Next(), "INVALID_ARGUMENT", "payload.sha256")
	}
}

// TestAR4ExpiredIsGone at once, for each way to ask, and the store returns to its start.
func TestAR4ExpiredIsGone(t *testing.T) {
	c, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Send("artifact.put", put(bytesOf(300<<10), "retain_seconds", 1))
	ref := artifactOf(t, p.Next())
	artifact := ref.Str("artifact_id")
	expires, err := time.Parse(time.RFC3339Nano, ref.Str("expires_at"))
	require.NoError(t, err)
	require.Eventually(t, func() bool { return time.Now().After(expires) }, wstest.Wait, time.Millisecond)
	refused(t, fetch(p, artifact), "NOT_FOUND", "no such artifact")
	require.Eventually(t, func() bool {
		stream, err := c.jetStream().Stream(t.Context(), "OBJ_arcp_artifacts")
		return err == nil && stream.CachedInfo().State.Bytes == 0
	}, wstest.Wait, 50*time.Millisecond)
}

// TestAR6ArtifactsAreTheirPrincipals: across sessions and edges, and for nobody else, anonymous or not.
func TestAR6ArtifactsAreTheirPrincipals(t *testing.T) {
	c := newCluster(t)
	one, two := c.edge("edge-1", nil), c.edge("edge-2", nil)
	alice := wstest.Dial(t, one.url)
	alice.Open(aliceToken)
	alice.Send("artifact.put", put([]byte("mine")))
	artifact := artifactOf(t, alice.Next()).Str("artifact_id")

	bob := wstest.Dial(t, two.url)
	bob.Open(bobToken)
	var nobody []*wstest.Peer
	for range 2 {
		p := wstest.Dial(t, two.url)
		p.Send("session.open", map[string]any{
			"auth": map[string]any{"scheme": "none"}, "client": map[string]any{"kind": "test", "version": "1"},
			"capabilities": map[string]any{"anonymous": true},
		})
		p.Expect("session.accepted")
		nobody = append(nobody, p)
	}
	for _, p := range append(nobody, bob) {
		refused(t, fetch(p, artifact), "NOT_FOUND", "no such artifact")
		p.Send("artifact.release", map[string]any{"artifact_id": artifact})
		p.Quiet()
	}
	nobody[0].Send("artifact.put", put([]byte("of nobody")))
	refused(t, fetch(nobody[1], artifactOf(t, nobody[0].Next()).Str("artifact_id")), "NOT_FOUND", "")

	other := wstest.Dial(t, two.url)
	other.Open(aliceToken)
	require.Equal(t, "bWluZQ==", fetch(other, artifact).Payload()["data"])
	other.Send("artifact.release", map[string]any{"artifact_id": artifact})
	refused(t, fetch(other, artifact), "NOT_FOUND", "")
	refused(t, fetch(alice, artifact), "NOT_FOUND", "")
}

// TestFetchedContentIsShownAgain: a resume on another edge shows the same bytes under the same numbers; and a nack in the
// place of what has been released since, so that the numbers stay what they are.
func TestFetchedContentIsShownAgain(t *testing.T) {
	c := newCluster(t)
	one, two := c.edge("edge-1", nil), c.edge("edge-2", nil)
	p := wstest.Dial(t, one.url)
	token := token(p.Open(aliceToken))
	small, large := []byte(`quotes " and "data":""`), bytesOf(700_001)
	var ids []string
	for _, data := range [][]byte{small, large, nil} {
		p.Send("artifact.put", put(data, "media_type", `a"data":""b`))
		ids = append(ids, artifactOf(t, p.Next()).Str("artifact_id"))
	}
	for i, data := range [][]byte{small, large, nil} {
		m := fetch(p, ids[i])
		require.Equal(t, base64.StdEncoding.EncodeToString(data), m.Payload()["data"])
		require.Equal(t, `a"data":""b`, m.Payload()["media_type"])
	}
	told := p.Raw[1:]
	require.Len(t, told, 6)
	p.Drop()

	again := wstest.Dial(t, two.url)
	resumed := again.Resume(token, 0)
	for i := range told {
		again.Next()
		require.True(t, bytes.Equal(told[i], again.Raw[1+i]), "envelope %d", i+1)
	}
	again.Send("artifact.release", map[string]any{"artifact_id": ids[1]})
	refused(t, fetch(again, ids[1]), "NOT_FOUND", "")
	again.Drop()

	last := wstest.Dial(t, one.url)
	last.Resume(resumed.Payload().Str("resume_token"), 3)
	require.Equal(t, "artifact.put", last.Next().Type())
	m := last.Next()
	refused(t, m, "NOT_FOUND", "no such artifact")
	require.Equal(t, 5, m.Seq())
	require.Contains(t, string(told[4]), m.Str("id"), "the same envelope")
	require.Equal(t, "artifact.put", last.Next().Type())
	require.Equal(t, 7, last.Expect("nack").Seq())
}

// TestTheLogHoldsNoContent: megabytes that are fetched again and again do not fill it.
func TestTheLogHoldsNoContent(t *testing.T) {
	c, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	p.Send("artifact.put", put(bytesOf(1<<20)))
	artifact := artifactOf(t, p.Next()).Str("artifact_id")
	for range 5 {
		require.Equal(t, "artifact.put", fetch(p, artifact).Type())
	}
	stream, err := c.jetStream().Stream(t.Context(), "ARCP_LOG_0")
	require.NoError(t, err)
	require.Less(t, stream.CachedInfo().State.Bytes, uint64(10<<10))
}

// TestArtifactAnswersKeepTheirOrder though they are worked on beside the reader: and other messages need not wait for them.
func TestArtifactAnswersKeepTheirOrder(t *testing.T) {
	_, e := edgeOnly(t, nil)
	p := wstest.Dial(t, e.url)
	p.Open(aliceToken)
	var asked []string
	for i := range 12 {
		size := 10
		if i%3 == 0 {
			size = 900_000
		}
		asked = append(asked, p.Send("artifact.put", put(bytesOf(size))))
	}
	pong := p.Send("ping", map[string]any{})
	var answered []string
	for len(answered) < len(asked) {
		m := p.Next()
		if m.Type() == "pong" {
			require.Equal(t, pong, m.Str("correlation_id"))
			continue
		}
		artifactOf(t, m)
		answered = append(answered, m.Str("correlation_id"))
	}
	require.Equal(t, asked, answered)
}

// beyondPings returns what comes next, but for the edge's asking for a sign of life.
func beyondPings(p *wstest.Peer) wstest.Message {
	for {
		if m := p.Next(); m.Type() != "session.ping" {
			return m
		}
	}
}

// TestLargeEnvelopesAreBounded: over all sessions there is room for a few; what finds none is refused and may be tried
// again, and the session goes on. Only an artifact.put may be large at all.
func TestLargeEnvelopesAreBounded(t *testing.T) {
	_, e := edgeOnly(t, func(cfg *edge.Config) { cfg.ArtifactMemory, cfg.IdlePing = 6<<20, 3*time.Second })
	holder := wstest.Dial(t, e.url)
	holder.Open(aliceToken)
	frame := `{"arcp":"1.1","id":"msg_large","timestamp":"2026-01-01T00:00:00Z","type":"artifact.put","payload":{"media_type":"x","data":"` +
		base64.StdEncoding.EncodeToString(bytesOf(2<<20)) + `"}}`
	finish := holder.SendPart(frame, 2<<20) // takes the room, and does not go on

	p := wstest.Dial(t, e.url)
	p.Open(bobToken)
	require.Eventually(t, func() bool {
		p.SendRaw(strings.Replace(frame, "msg_large", "msg_"+crand.Text(), 1))
		m := beyondPings(p)
		return m.Type() == "nack" && m.Payload()["code"] == "RESOURCE_EXHAUSTED" && m.Seq() == 0
	}, wstest.Wait, time.Millisecond)
	finish()
	artifactOf(t, beyondPings(holder))
	require.Eventually(t, func() bool {
		p.SendRaw(strings.Replace(frame, "msg_large", "msg_"+crand.Text(), 1))
		return beyondPings(p).Type() == "artifact.ref"
	}, wstest.Wait, time.Millisecond)

	p.Send("event.emit", map[string]any{"name": strings.Repeat("x", 2<<20)})
	require.Equal(t, 1009, p.Closed())
	over := wstest.Dial(t, e.url)
	over.Open(bobToken)
	_ = over.TryWrite(websocket.MessageText, []byte(strings.Repeat("x", 7<<20)))
	require.Equal(t, 1009, over.Closed())
}

// An artifact that a job makes by stream is the job's result by reference, told of as it is stored, and read over another
// edge.
func TestAJobMakesAnArtifact(t *testing.T) {
	c := newCluster(t)
	c.worker("worker-1", nil)
	first, second := c.edge("edge-1", nil), c.edge("edge-2", nil)
	first.knows(t, "artifact")
	p := wstest.Dial(t, first.url)
	accepted := p.Open(aliceToken)
	p.Invoke("artifact", obj{"bytes": 100_000, "media_type": "image/x"})
	p.Expect("job.accepted")
	p.Expect("job.started")
	ref := artifactOf(t, p.Next())
	require.Equal(t, []any{"image/x", 100_000.0}, []any{ref["media_type"], ref["size"]})
	done := p.Expect("job.completed").Payload()
	require.Equal(t, map[string]any(ref), done["result_ref"])
	require.NotContains(t, done, "value")
	p.Drop()

	q := wstest.Dial(t, second.url)
	q.Resume(token(accepted), 4)
	m := fetch(q, ref.Str("artifact_id"))
	require.Equal(t, "artifact.put", m.Type())
	content, err := base64.StdEncoding.DecodeString(m.Payload()["data"].(string))
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	require.Equal(t, ref["sha256"], hex.EncodeToString(sum[:]))
	bob := wstest.Dial(t, second.url)
	bob.Open(bobToken)
	refused(t, fetch(bob, ref.Str("artifact_id")), "NOT_FOUND", "")
}
