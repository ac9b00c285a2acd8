package edge

import "context"

// boundsFlights are the questions for the bounds of a shard: one is on its way, and one is yet to be asked.
type boundsFlights struct {
	next *boundsFlight // nil: nobody waits for another one
}

// boundsFlight is a question that many wait for.
type boundsFlight struct {
	done        chan struct{} // closed when it is answered
	first, last uint64
	err         error
}

// Bounds is Log.Bounds. Those who ask while a question is on its way share the next one: an answer is never older than
// the question, because a first position that has grown meanwhile says that something is gone.
func (g *groupedLog) Bounds(ctx context.Context, shard int) (first, last uint64, err error) {
	f := g.boundsFlight(shard)
	select {
	case <-f.done:
		return f.first, f.last, f.err
	case <-ctx.Done():
		return 0, 0, context.Cause(ctx)
	}
}

func (g *groupedLog) boundsFlight(shard int) *boundsFlight {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.flights[shard]
	if asked == nil {
		asked = new(boundsFlights)
		g.flights[shard] = asked
		g.wg.Go(func() { g.ask(shard, asked) })
	}
	if asked.next == nil {
		asked.next = &boundsFlight{done: make(chan struct{})}
	}
	return asked.next
}

// ask asks for the bounds of a shard until nobody waits for them.
func (g *groupedLog) ask(shard int, asked *boundsFlights) {
	for {
		g.mu.Lock()
		f := asked.next
		asked.next = nil
		if f == nil {
			delete(g.flights, shard)
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		f.first, f.last, f.err = g.Log.Bounds(g.ctx, shard)
		close(f.done)
	}
}
