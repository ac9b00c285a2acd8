package worker

import (
	"context"
	"log/slog"

	"github.com/arcp-nats/arcp/envelope"
)

// Logger returns a logger whose lines the client sees, as log events. Levels
// below slog's debug become trace, those above its error critical; groups
// become nested objects. Lines that cannot be sent are lost: to know, use
// [Job.Log].
func (j *Job) Logger() *slog.Logger { return slog.New(&logHandler{job: j}) }

// logHandler turns slog records into log events.
type logHandler struct {
	job   *Job
	scope []logScope // from the outside in
}

// logScope is a group and the attributes added inside it.
type logScope struct {
	group string // "" for the outermost
	attrs []slog.Attr
}

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	inner := make([]slog.Attr, 0, r.NumAttrs())
	r.Attrs(func(a slog.Attr) bool {
		inner = append(inner, a)
		return true
	})
	attrs := logAttrs(nil, inner)
	for i := len(h.scope) - 1; i >= 0; i-- {
		attrs = logAttrs(attrs, h.scope[i].attrs)
		if group := h.scope[i].group; group != "" && len(attrs) > 0 {
			attrs = map[string]any{group: attrs}
		}
	}
	var attributes any
	if len(attrs) > 0 {
		attributes = attrs
	}
	if ctx.Done() == nil {
		ctx = h.job.ctx // a line without a context must not outwait the job
	}
	return h.job.Log(ctx, logLevel(r.Level), r.Message, attributes)
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.with(logScope{attrs: attrs})
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return h.with(logScope{group: name})
}

func (h *logHandler) with(s logScope) *logHandler {
	scope := make([]logScope, len(h.scope), len(h.scope)+1)
	copy(scope, h.scope)
	return &logHandler{job: h.job, scope: append(scope, s)}
}

// logAttrs puts attributes into an object of JSON values.
func logAttrs(into map[string]any, attrs []slog.Attr) map[string]any {
	if into == nil {
		into = make(map[string]any, len(attrs))
	}
	for _, a := range attrs {
		v := a.Value.Resolve()
		switch {
		case v.Kind() == slog.KindGroup && a.Key == "":
			logAttrs(into, v.Group())
		case v.Kind() == slog.KindGroup:
			if group := logAttrs(nil, v.Group()); len(group) > 0 {
				into[a.Key] = group
			}
		case a.Equal(slog.Attr{}):
		default:
			into[a.Key] = logValue(v)
		}
	}
	return into
}

// logValue returns what a value looks like in JSON. Durations and errors are
// text; anything that JSON cannot hold is printed.
func logValue(v slog.Value) any {
	switch v.Kind() {
	case slog.KindDuration:
		return v.Duration().String()
	case slog.KindAny:
		if err, ok := v.Any().(error); ok {
			return err.Error()
		}
		if raw, err := encodeValue(v.Any()); err == nil {
			return raw
		}
		return v.String()
	case slog.KindFloat64:
		if _, err := encodeValue(v.Float64()); err != nil {
			return v.String()
		}
	}
	return v.Any()
}

func logLevel(l slog.Level) envelope.LogLevel {
	switch {
	case l < slog.LevelDebug:
		return envelope.LogTrace
	case l < slog.LevelInfo:
		return envelope.LogDebug
	case l < slog.LevelWarn:
		return envelope.LogInfo
	case l < slog.LevelError:
		return envelope.LogWarn
	case l < slog.LevelError+4:
		return envelope.LogError
	default:
		return envelope.LogCritical
	}
}
