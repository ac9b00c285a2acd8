package cli

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// SignalError is the cause of a context that a signal ended.
type SignalError struct {
	Signal os.Signal
}

// Error names the signal.
func (e *SignalError) Error() string { return fmt.Sprintf("signal: %v", e.Signal) }

// Signals turns SIGTERM and SIGINT into two contexts. The first signal ends
// drain: finish what is running, then leave. The second ends stop: leave now.
// When parent ends, both end. Their cause is a [*SignalError] or parent's.
//
// release gives the signals back to their default behaviour, ends both
// contexts and waits for the goroutine behind them; call it once, or more
// often.
func Signals(parent context.Context) (drain, stop context.Context, release func()) {
	stopCtx, cancelStop := context.WithCancelCause(parent)
	drainCtx, cancelDrain := context.WithCancelCause(stopCtx)

	ch := make(chan os.Signal, 2)
	signal.Notify(ch, syscall.SIGTERM, os.Interrupt)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, cancel := range []context.CancelCauseFunc{cancelDrain, cancelStop} {
			select {
			case s := <-ch:
				cancel(&SignalError{Signal: s})
			case <-stopCtx.Done():
				return
			}
		}
	}()

	var once sync.Once
	release = func() {
		once.Do(func() {
			signal.Stop(ch)
			cancelDrain(context.Canceled)
			cancelStop(context.Canceled)
			<-done
		})
	}
	return drainCtx, stopCtx, release
}
