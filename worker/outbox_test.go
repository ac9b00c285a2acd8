package worker

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/record"
	"github.com/arcp-nats/arcp/subjects"
)

func testLine(i, size int) line {
	body := fmt.Appendf(nil, `{"i":%d,"pad":"`, i)
	for len(body) < size-2 {
		body = append(body, 'x')
	}
	return line{typ: envelope.TypeLog, id: envelope.MessageID(fmt.Sprintf("msg_%d", i)), body: append(body, `"}`...)}
}

// Whatever the log does, everything arrives once and in order, in records
// within bounds, with at most one on its way.
func TestOutboxKeepsOrderThroughFailures(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 600).Draw(rt, "lines")
		sizes := rapid.SliceOfN(rapid.IntRange(30, 20_000), n, n).Draw(rt, "sizes")
		// What happens to each publish: stored, refused, or stored and the answer lost.
		fates := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "full", "away", "lost"}), 1, 40).Draw(rt, "fates")
		pauses := rapid.SliceOfN(rapid.IntRange(0, 3), n, n).Draw(rt, "pauses")
		synctest.Test(t, func(t *testing.T) {
			log := newMemLog()
			bus := log.bus()
			tries := 0
			log.publish = func(r *record.Record) error {
				if len(r.Types) > recordLines || len(r.Body) > recordBytes && len(r.Types) > 1 {
					rt.Errorf("record of %d lines, %d bytes", len(r.Types), len(r.Body))
				}
				fate := "ok"
				if tries < len(fates) {
					fate = fates[tries]
				}
				tries++
				switch fate {
				case "full":
					return envelope.Errorf(envelope.CodeResourceExhausted, "full")
				case "away":
					return errAway
				case "lost":
					log.append(r)
					return errAway
				}
				return nil
			}
			subject := subjects.Subject{Lane: subjects.Event, Feed: "f", Principal: "p", Session: "s", Job: "j"}
			o := newOutbox(t.Context(), bus, record.Record{Subject: subject, Attempt: 1})
			for i := range n - 1 {
				time.Sleep(time.Duration(pauses[i]) * time.Millisecond) // fake
				if err := o.add(t.Context(), testLine(i, sizes[i])); err != nil {
					rt.Fatalf("add: %v", err)
				}
				o.mu.Lock()
				if o.bytes > outboxBytes || len(o.pending) > outboxLines {
					rt.Errorf("%d bytes in %d lines are waiting", o.bytes, len(o.pending))
				}
				o.mu.Unlock()
			}
			if err := o.close(testLine(n-1, sizes[n-1])); err != nil {
				rt.Fatalf("close: %v", err)
			}
			next := 0
			for _, r := range log.log {
				if r.MsgID != fmt.Sprintf("msg_%d", next) {
					rt.Fatalf("record %s where %d was due", r.MsgID, next)
				}
				for _, body := range r.Lines() {
					if string(body) != string(testLine(next, sizes[next]).body) {
						rt.Fatalf("line %d is not what was said", next)
					}
					next++
				}
			}
			if next != n {
				rt.Fatalf("%d lines of %d", next, n)
			}
		})
	})
}

func blockedOutbox(t *testing.T) (*outbox, context.CancelFunc) {
	log := newMemLog()
	log.publish = func(*record.Record) error { return errAway }
	ctx, cancel := context.WithCancelCause(t.Context())
	return newOutbox(ctx, log.bus(), record.Record{}), func() { cancel(ErrDraining) }
}

func TestFullOutboxHoldsUpWhoeverSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, end := blockedOutbox(t)
		said := 0
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, ErrTimeout)
		defer cancel()
		var err error
		for ; err == nil; said++ {
			err = o.add(ctx, testLine(said, 100))
		}
		require.ErrorIs(t, err, ErrTimeout)
		require.LessOrEqual(t, said, outboxLines+recordLines+1)
		require.GreaterOrEqual(t, said, outboxLines)
		require.False(t, o.offer(testLine(said, 100)), "offers do not wait")

		// Once nothing can be stored any more, everyone hears of it.
		var waiting sync.WaitGroup
		waiting.Go(func() {
			require.ErrorIs(t, o.add(t.Context(), testLine(0, 100)), ErrDraining)
		})
		waiting.Go(func() { require.ErrorIs(t, o.sync(t.Context()), ErrDraining) })
		synctest.Wait()
		end()
		synctest.Wait()
		require.ErrorIs(t, o.close(testLine(1, 10)), ErrDraining)
		waiting.Wait()
		require.ErrorIs(t, o.add(t.Context(), testLine(0, 100)), ErrJobEnded)
	})
}

func TestOneLargeEnvelopeAlwaysFits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		o := newOutbox(t.Context(), log.bus(), record.Record{})
		require.NoError(t, o.add(t.Context(), testLine(0, outboxBytes*3)))
		require.NoError(t, o.add(t.Context(), testLine(1, 100)))
		require.NoError(t, o.sync(t.Context()))
		require.NoError(t, o.close())
		require.NoError(t, o.close(), "twice does no harm")
		require.Len(t, log.log, 2)
	})
}

func TestRefusalForGoodEndsTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		tries := 0
		log.publish = func(*record.Record) error {
			tries++
			return envelope.Errorf(envelope.CodePermissionDenied, "not yours")
		}
		o := newOutbox(t.Context(), log.bus(), record.Record{})
		require.NoError(t, o.add(t.Context(), testLine(0, 10)))
		require.Equal(t, envelope.CodePermissionDenied, envelope.CodeOf(o.sync(t.Context())))
		require.Equal(t, envelope.CodePermissionDenied, envelope.CodeOf(o.add(t.Context(), testLine(1, 10))))
		require.Error(t, o.close(testLine(2, 10)))
		require.Equal(t, 1, tries)
	})
}

// After an outage longer than the log remembers message ids, a record whose
// answer was lost is found and not stored twice.
func TestRecordOfUnknownFateIsLookedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		bus := log.bus()
		began := time.Now()
		stored := 0
		log.publish = func(r *record.Record) error {
			if time.Since(began) < time.Minute {
				if stored == 0 {
					log.append(r)
					stored++
				}
				return errAway
			}
			forgotten := *r
			forgotten.MsgID = "" // the dedup window has passed
			log.append(&forgotten)
			stored++
			return nil
		}
		o := newOutbox(t.Context(), bus, record.Record{Subject: subjects.Subject{Lane: subjects.Event, Job: "j"}, Attempt: 1})
		require.NoError(t, o.close(testLine(0, 100)))
		require.Equal(t, 1, stored)
	})
}

func BenchmarkOutboxShortJob(b *testing.B) {
	bus := discardBus{}
	for b.Loop() {
		o := newOutbox(context.Background(), bus, record.Record{})
		_ = o.add(context.Background(), testLine(0, 300))
		_ = o.close(testLine(1, 300))
	}
}

// discardBus stores nothing and says that it did.
type discardBus struct{ Bus }

func (discardBus) Publish(_ context.Context, _ *record.Record, done func(uint64, error)) error {
	done(1, nil)
	return nil
}
