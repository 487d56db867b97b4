package grid

import "runtime"

// Level says how grave a line of the log is.
type Level int32

// The levels, gravest first.
const (
	LevelError Level = 0
	LevelWarn  Level = 1
	LevelInfo  Level = 2
	LevelDebug Level = 3
	LevelTrace Level = 4
)

// Send sends a message to the client, waiting while too much of what was sent before is unread.
//
// A message of more than 64 MiB ends the worker.
func Send(message []byte) { hostSend(message) }

// SendCBOR sends a value as CBOR; [Encode] says which values have an encoding, and when this is an error.
func SendCBOR(value any) error {
	message, err := Encode(value)
	if err != nil {
		return err
	}
	Send(message)
	return nil
}

// Log writes a line to the worker's log.
func Log(level Level, line string) { hostLog(level, line) }

// Fail says that the message at hand could not be handled, and why; the worker goes on with the next one.
//
// An error that Handle returns does the same. Fail is for Loop and for tasks.
func Fail(reason string) { hostFail(reason) }

// endPanic ends the worker if there was a panic, with its text as the last line of the log at error, and its stack,
// with files and lines, at debug.
//
// Go's own way ends with the frames of the runtime, and a client that is shown the last lines would see no reason. The
// frames are still on the stack when this ends the worker, so the host sees them, too.
func endPanic() {
	reason := recover()
	if reason == nil {
		return
	}
	stack := make([]byte, 4<<10)
	Log(LevelDebug, string(stack[:runtime.Stack(stack, false)]))
	switch reason := reason.(type) {
	case error:
		Log(LevelError, "panic: "+reason.Error())
		exit()
	case string:
		Log(LevelError, "panic: "+reason)
		exit()
	}
	panic(reason)
}
