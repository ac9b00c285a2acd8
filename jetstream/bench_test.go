package jetstream_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/arcp-nats/arcp/envelope"
	"github.com/arcp-nats/arcp/internal/natstest"
	"github.com/arcp-nats/arcp/jetstream"
	"github.com/arcp-nats/arcp/record"
)

var body = []byte(`{"arcp":"1.1","text":"` + strings.Repeat("x", 300) + `"}`)

func typical(session, job string) *record.Record {
	return &record.Record{
		Subject: eventOf("edge-1", session, job), Principal: "ann",
		Types: []envelope.Type{envelope.TypeJobProgress}, Attempt: 1, Sender: "worker-1", Body: body,
	}
}

func transports(b *testing.B, bench func(b *testing.B, c *jetstream.Client)) {
	b.Run("in-process", func(b *testing.B) {
		bench(b, natstest.Client(b, natstest.Start(b)))
	})
	b.Run("tcp", func(b *testing.B) {
		c := natstest.Connect(b, jetstream.Config{URLs: []string{natstest.Start(b).URL()}})
		natstest.Ensure(b, c, jetstream.Topology{})
		bench(b, c)
	})
}

func BenchmarkPublish(b *testing.B) {
	for _, publishers := range []int{1, 16} {
		b.Run(fmt.Sprint("publishers=", publishers), func(b *testing.B) {
			transports(b, func(b *testing.B, c *jetstream.Client) {
				b.ReportAllocs()
				b.SetBytes(int64(len(body)))
				var answered, group sync.WaitGroup
				answered.Add(b.N)
				b.ResetTimer()
				for p := range publishers {
					group.Go(func() {
						for i := p; i < b.N; i += publishers {
							r := typical("s", fmt.Sprint("j", i%1000))
							r.MsgID = fmt.Sprint("msg_", i)
							err := c.Publish(b.Context(), r, func(_ uint64, err error) {
								if err != nil {
									b.Error(err)
								}
								answered.Done()
							})
							if err != nil {
								b.Error(err)
								answered.Done()
							}
						}
					})
				}
				group.Wait()
				answered.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		})
	}
}

func fill(b *testing.B, c *jetstream.Client, n, sessions int) {
	storeMany(b, c, n, func(i int) *record.Record {
		return typical(fmt.Sprint("s", i%sessions), fmt.Sprint("j", i%(10*sessions)))
	})
}

func BenchmarkFollow(b *testing.B) {
	transports(b, func(b *testing.B, c *jetstream.Client) {
		fill(b, c, b.N, 1000)
		b.ResetTimer()
		f := make(chan struct{})
		got := 0
		ctx := patient(b)
		go func() {
			_ = c.Follow(ctx, 0, "edge-1", 1, nil, func(*record.Record) {
				if got++; got == b.N {
					close(f)
				}
			})
		}()
		receive(b, ctx, f)
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	})
}

// A session of 20 records, spread over the whole log or at its end, in a log of 100,000 records and 5,000 sessions.
func BenchmarkReadSession(b *testing.B) {
	transports(b, func(b *testing.B, c *jetstream.Client) {
		const log, sessions = 100_000, 5000
		fill(b, c, log, sessions)
		last, err := c.PublishWait(b.Context(), typical("late", "j"))
		require.NoError(b, err)
		for i := range 19 {
			last, err = c.PublishWait(b.Context(), typical("late", fmt.Sprint("j", i)))
			require.NoError(b, err)
		}
		read := func(session string, from, until uint64) func(b *testing.B) {
			return func(b *testing.B) {
				for b.Loop() {
					n := 0
					err := c.ReadSession(b.Context(), eventOf("edge-1", session, ""), from, until, func(*record.Record) bool {
						n++
						return true
					})
					if err != nil || n != 20 {
						b.Fatal(n, err)
					}
				}
			}
		}
		b.Run("spread", read("s7", 1, log-sessions+8))
		b.Run("at-the-end", read("late", last-19, last))
		b.Run("at-the-end-read-from-1", read("late", 1, last))
	})
}

// A session with 5,000 jobs of four records each, in a log of 100,000 records and 25,000 jobs of five sessions.
func BenchmarkReadBusySession(b *testing.B) {
	transports(b, func(b *testing.B, c *jetstream.Client) {
		const log = 100_000
		storeMany(b, c, log, func(i int) *record.Record {
			return typical(fmt.Sprint("s", i%5), fmt.Sprint("j", i/20))
		})
		b.ResetTimer()
		for b.Loop() {
			n := 0
			err := c.ReadSession(b.Context(), eventOf("edge-1", "s3", ""), 1, log-1, func(*record.Record) bool {
				n++
				return true
			})
			if err != nil || n != log/5 {
				b.Fatal(n, err)
			}
		}
	})
}

func BenchmarkQueue(b *testing.B) {
	transports(b, func(b *testing.B, c *jetstream.Client) {
		storeMany(b, c, b.N, func(i int) *record.Record {
			r := typical("s", fmt.Sprint("j", i))
			r.Subject = invokeOf("q", "f", "s", fmt.Sprint("j", i))
			return r
		})
		q := openQueue(b, c, "q", patience)
		b.ResetTimer()
		for got := 0; got < b.N; {
			err := q.Fetch(b.Context(), min(64, b.N-got), func(d *jetstream.Delivery) {
				got++
				if err := d.Ack(b.Context()); err != nil {
					b.Error(err)
				}
			})
			require.NoError(b, err)
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	})
}
