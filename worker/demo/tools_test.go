package demo

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/workertest"
	"github.com/arcp-nats/arcp/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func run(t *testing.T, ctx context.Context, h worker.Handler, arguments string) workertest.Outcome {
	t.Helper()
	out, err := workertest.Run(ctx, h, arguments)
	require.NoError(t, err)
	return out
}

func TestCountReportsEveryStep(t *testing.T) {
	out := run(t, t.Context(), count, `{"to":3}`)
	require.JSONEq(t, `{"counted":3}`, out.Value)
	require.Equal(t, []string{"progress 1/3 steps", "progress 2/3 steps", "progress 3/3 steps"}, out.Events)
}

func TestLogWritesLines(t *testing.T) {
	out := run(t, t.Context(), logLines, `{"lines":2,"level":"error"}`)
	require.JSONEq(t, `{"lines":2}`, out.Value)
	require.Equal(t, []string{"log error line 1 of 2", "log error line 2 of 2"}, out.Events)
}

func TestAttemptFromTheStart(t *testing.T) {
	out := run(t, t.Context(), attempt, `{"to":2}`)
	require.JSONEq(t, `{"counted":2,"attempts":1,"resumed_from":0}`, out.Value)
}

func TestFailUsesTheCode(t *testing.T) {
	for _, code := range envelope.Codes() {
		out := run(t, t.Context(), fail, fmt.Sprintf(`{"code":%q,"message":"m"}`, code))
		require.Equal(t, code, envelope.CodeOf(out.Err))
	}
}

func TestCancelEndsThemAtOnce(t *testing.T) {
	cause := errors.New("enough")
	for name, c := range map[string]struct {
		handler   worker.Handler
		arguments string
	}{
		"sleep":   {sleep, `{"ms":600000}`},
		"count":   {count, `{"to":10,"every_ms":600000}`},
		"attempt": {attempt, `{"to":10,"every_ms":600000}`},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			stop := time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
			defer stop.Stop()
			require.ErrorIs(t, run(t, ctx, c.handler, c.arguments).Err, cause)
		})
	}
}

func TestBadArgumentsAreNamed(t *testing.T) {
	for arguments, where := range map[string]string{
		`{"to":-1}`:              "arguments.to",
		`{"to":1e12}`:            "arguments.to",
		`{"to":1,"every_ms":-1}`: "arguments.every_ms",
		`{"to":"x"}`:             "arguments.to",
		`[]`:                     "arguments",
	} {
		for _, h := range []worker.Handler{count, attempt} {
			out := run(t, t.Context(), h, arguments)
			require.Equal(t, envelope.CodeInvalidArgument, envelope.CodeOf(out.Err))
			require.ErrorContains(t, out.Err, where)
		}
	}
}
