//go:build !wasip1

package grid

// Done is what a worker did.
type Done struct {
	// Sent has what it sent, in order.
	Sent [][]byte
	// Failed has why it failed the message; empty if it did not.
	Failed []string
	// Logged has what it wrote to its log.
	Logged []Line
}

// Line is a line of a log.
type Line struct {
	Level Level
	Text  string
}

var done Done

// Begin gives a worker its spawn arguments; what it did.
//
// It and [Deliver] stand in for the host, so that a worker can be tested where it is written: they are there on
// every target but WebAssembly. They are for one test at a time, not for parallel ones.
func Begin(worker Worker, arguments []byte) Done {
	done = Done{}
	start(worker, arguments)
	return done
}

// Deliver gives a worker a message and lets it take its turns, most at the most; what it did.
func Deliver(worker Worker, message []byte, most int) Done {
	done = Done{}
	handle(worker, message)
	for range most {
		if loop(worker) == Idle {
			break
		}
	}
	return done
}

func hostSend(message []byte) { done.Sent = append(done.Sent, append([]byte{}, message...)) }

func hostLog(level Level, line string) { done.Logged = append(done.Logged, Line{level, line}) }

func hostFail(reason string) { done.Failed = append(done.Failed, reason) }

// exit is not for tests: a panic goes on to the test that caused it.
func exit() {}
