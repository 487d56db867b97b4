package grid

import (
	"sync/atomic"
	"time"
)

// slice is how long one turn waits for tasks, so that a stop does not wait much longer for them.
const slice = 50 * time.Millisecond

var (
	running  atomic.Int32
	finished = make(chan struct{}, 1)
)

// Go runs a task in a goroutine of its own, as part of the message at hand: the message is done when the worker
// is idle and its tasks have returned. Tasks may use everything in this package.
//
// WebAssembly has one thread, and goroutines run only while the host is in a call of the worker. Those that
// the go statement starts run too, but nobody waits for them. A long computation should call
// [runtime.Gosched] now and then.
func Go(task func()) {
	running.Add(1)
	go func() {
		defer endPanic()
		defer func() {
			running.Add(-1)
			select {
			case finished <- struct{}{}:
			default:
			}
		}()
		task()
	}()
}

// runTasks lets the tasks run for a slice.
func runTasks() Turn {
	if running.Load() == 0 {
		return Idle
	}
	end := time.NewTimer(slice)
	defer end.Stop()
	for running.Load() > 0 {
		select {
		case <-finished:
		case <-end.C:
			return Again
		}
	}
	return Idle
}
