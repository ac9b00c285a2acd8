package jetstream_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
)

// scripted stands in for the log of shard 0 and answers what a test says, "" for not at all. It shows what a publisher
// does with answers that a healthy broker does not give.
type scripted struct {
	mu       sync.Mutex
	arrivals []string // message ids, or bodies of records without one
	answer   func(arrival int, m *nats.Msg) string
}

func script(t *testing.T, cfg jetstream.Config, answer func(arrival int, m *nats.Msg) string) (*jetstream.Client, *scripted) {
	t.Helper()
	srv := natstest.Start(t)
	s := &scripted{answer: answer}
	nc, err := nats.Connect("", nats.InProcessServer(connector(srv.InProcess())))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	_, err = nc.Subscribe("arcp.0.>", func(m *nats.Msg) {
		s.mu.Lock()
		defer s.mu.Unlock()
		id := m.Header.Get("Nats-Msg-Id")
		if id == "" {
			id = string(m.Data)
		}
		s.arrivals = append(s.arrivals, id)
		if text := s.answer(len(s.arrivals), m); text != "" {
			if err := m.Respond([]byte(text)); err != nil {
				t.Error(err)
			}
		}
	})
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	cfg.InProcess = srv.InProcess()
	return natstest.Connect(t, cfg), s
}

func (s *scripted) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.arrivals...)
}

func ok(n int) string { return fmt.Sprintf(`{"stream":"ARCP_LOG_0","seq":%d}`, n) }

func ids(from, to int) (ids []string) {
	for i := from; i <= to; i++ {
		ids = append(ids, numbered(eventOf("f", "s", "j"), i).MsgID)
	}
	return ids
}

func publishAll(t *testing.T, c *jetstream.Client, from, to int) chan error {
	t.Helper()
	errs := outcomes(to - from + 1)
	for i := from; i <= to; i++ {
		require.NoError(t, c.Publish(patient(t), numbered(eventOf("f", "s", "j"), i), func(_ uint64, err error) { errs <- err }))
	}
	return errs
}

// Answers that never come: all records are sent again with their ids, the first alone, the rest once it is answered.
func TestPublishRetriesWhatIsNotAnswered(t *testing.T) {
	c, s := script(t, jetstream.Config{AckTimeout: 4 * time.Second}, func(arrival int, _ *nats.Msg) string {
		if arrival <= 5 {
			return ""
		}
		return ok(arrival)
	})
	errs := publishAll(t, c, 1, 5)
	for range 5 {
		require.NoError(t, receive(t, patient(t), errs))
	}
	require.Equal(t, append(ids(1, 5), ids(1, 5)...), s.seen())
}

// A broker that says "not now" is asked again, one record at a time, and order is kept.
func TestPublishWaitsForABrokerThatIsNotReady(t *testing.T) {
	c, s := script(t, jetstream.Config{}, func(arrival int, _ *nats.Msg) string {
		if arrival <= 4 {
			return `{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`
		}
		return ok(arrival)
	})
	errs := publishAll(t, c, 1, 1)
	require.Eventually(t, func() bool { return len(s.seen()) >= 2 }, patience, time.Millisecond)
	more := publishAll(t, c, 2, 4)
	require.NoError(t, receive(t, patient(t), errs))
	for range 3 {
		require.NoError(t, receive(t, patient(t), more))
	}
	require.Equal(t, append([]string{ids(1, 1)[0], ids(1, 1)[0], ids(1, 1)[0], ids(1, 1)[0]}, ids(1, 4)...), s.seen())
}

// Without a message id the second sending could not be told from a second record.
func TestPublishSendsARecordWithoutIDOnce(t *testing.T) {
	c, s := script(t, jetstream.Config{AckTimeout: 400 * time.Millisecond}, func(int, *nats.Msg) string { return "" })
	r := numbered(eventOf("f", "s", "j"), 7)
	r.MsgID = ""
	_, err := c.PublishWait(patient(t), r)
	requireCode(t, envelope.CodeUnavailable, err)
	require.Equal(t, []string{"7"}, s.seen())
}

func TestPublishReportsRefusals(t *testing.T) {
	for text, code := range map[string]envelope.Code{
		`{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`:               envelope.CodeResourceExhausted,
		`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`:            envelope.CodeResourceExhausted,
		`{"error":{"code":503,"err_code":10077,"description":"write x: no space left on device"}}`:     envelope.CodeResourceExhausted,
		`{"error":{"code":500,"err_code":10047,"description":"insufficient storage resources"}}`:       envelope.CodeResourceExhausted,
		`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"}}`:               envelope.CodeResourceExhausted,
		`{"error":{"code":400,"err_code":10054,"description":"message size exceeds maximum allowed"}}`: envelope.CodeResourceExhausted,
		`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 1"}}`:               envelope.CodeAborted,
		`{"error":{"code":500,"err_code":10999,"description":"something that is not known here"}}`:     envelope.CodeInternal,
		`{"error":{"code":503,"err_code":10077,"description":"raft: the log is closed"}}`:              envelope.CodeUnavailable,
		`{"error":{"code":503,"err_code":10009,"description":"JetStream cluster can not handle it"}}`:  envelope.CodeUnavailable,
		`not json`: envelope.CodeUnavailable,
	} {
		t.Run(text, func(t *testing.T) {
			c, _ := script(t, jetstream.Config{AckTimeout: 200 * time.Millisecond}, func(int, *nats.Msg) string { return text })
			_, err := c.PublishWait(patient(t), numbered(eventOf("f", "s", "j"), 1))
			requireCode(t, code, err)
		})
	}
}

// An answer to an earlier sending of a record that comes late: a success counts, a refusal does not, since the later
// sending may have been stored.
func TestPublishTakesLateAnswers(t *testing.T) {
	for name, late := range map[string]string{
		"success": ok(41), "refusal": `{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			var first *nats.Msg
			c, _ := script(t, jetstream.Config{AckTimeout: 2 * time.Second}, func(arrival int, m *nats.Msg) string {
				if arrival == 1 {
					first = m
					return ""
				}
				if err := first.Respond([]byte(late)); err != nil {
					t.Error(err)
				}
				return ok(42)
			})
			seq, err := c.PublishWait(patient(t), numbered(eventOf("f", "s", "j"), 1))
			require.NoError(t, err)
			require.EqualValues(t, map[string]int{"success": 41, "refusal": 42}[name], seq)
		})
	}
}
