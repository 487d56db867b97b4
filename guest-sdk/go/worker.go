// Package grid is for writing workers of the grid in Go.
//
// A worker is a type with a method Handle, and one line that exports it:
//
//	type adder struct{ sum int64 }
//
//	func (a *adder) Handle(message []byte) error {
//		value, err := grid.Decode(message)
//		if err != nil {
//			return err
//		}
//		number, ok := value.(int64)
//		if !ok {
//			return errors.New("expected a whole number")
//		}
//		a.sum += number
//		return grid.SendCBOR(a.sum)
//	}
//
//	func init() { grid.Export(&adder{}) }
//
//	func main() {}
//
// It may also have the methods of [Starter], [Looper] and [Stopper]. The host never calls main: the worker is
// exported by init.
package grid

import "runtime"

// Worker takes messages, for as long as it lives.
type Worker interface {
	// Handle takes a message. What is sent from here and from the turns after it is the answer. An error
	// fails the message, with its text as the reason; the worker goes on with the next one.
	Handle(message []byte) error
}

// Starter is a worker that wants its spawn arguments.
type Starter interface {
	// Start is called once, first. An error refuses the arguments and ends the worker.
	Start(arguments []byte) error
}

// Looper is a worker that does its work in slices.
type Looper interface {
	// Loop does a slice of what is left to do. It is called after each message, and again for as long as it
	// returns [Again]; the message is done at the first [Idle].
	Loop() Turn
}

// Stopper is a worker that wants to know when it ends.
type Stopper interface {
	// Stop is the last call, when the worker is stopped in good order.
	Stop()
}

// Turn is what is left to do.
type Turn int32

const (
	// Idle means nothing, until the next message.
	Idle Turn = 0
	// Again means something: call Loop again.
	Again Turn = 1
)

var exported Worker

// Export makes worker the one that the host talks to. Call it once, from an init function.
func Export(worker Worker) {
	if exported != nil {
		panic("grid: a second worker was exported")
	}
	exported = worker
}

func start(worker Worker, arguments []byte) {
	if starter, ok := worker.(Starter); ok {
		if err := starter.Start(arguments); err != nil {
			Fail(err.Error())
		}
	}
}

func handle(worker Worker, message []byte) {
	if worker == nil {
		Fail("no worker was exported: call grid.Export from an init function")
		return
	}
	if err := worker.Handle(message); err != nil {
		Fail(err.Error())
	}
}

func loop(worker Worker) Turn {
	if looper, ok := worker.(Looper); ok && looper.Loop() == Again {
		runtime.Gosched()
		return Again
	}
	return runTasks()
}

func stop(worker Worker) {
	if stopper, ok := worker.(Stopper); ok {
		stopper.Stop()
	}
}
