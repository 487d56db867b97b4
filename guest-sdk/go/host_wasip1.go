package grid

import (
	"runtime"
	"syscall"
	"unsafe"
)

//go:wasmimport grid recv
func gridRecv(pointer unsafe.Pointer, capacity uint32) int32

//go:wasmimport grid send
func gridSend(pointer unsafe.Pointer, length uint32)

//go:wasmimport grid log
func gridLog(level int32, line string)

//go:wasmimport grid fail
func gridFail(reason string)

//go:wasmexport init
func exportInit(length int32) {
	defer endPanic()
	start(exported, receive(length))
}

//go:wasmexport handle_msg
func exportHandle(length int32) {
	defer endPanic()
	handle(exported, receive(length))
}

//go:wasmexport loop
func exportLoop() int32 {
	defer endPanic()
	return int32(loop(exported))
}

//go:wasmexport stop
func exportStop() {
	defer endPanic()
	stop(exported)
}

// receive takes what waits to be received, of which the host said that it has length bytes.
func receive(length int32) []byte {
	message := make([]byte, uint32(length))
	gridRecv(unsafe.Pointer(unsafe.SliceData(message)), uint32(length))
	return message
}

func hostSend(message []byte) {
	gridSend(unsafe.Pointer(unsafe.SliceData(message)), uint32(len(message)))
	runtime.KeepAlive(message)
}

func hostLog(level Level, line string) { gridLog(int32(level), line) }

func hostFail(reason string) { gridFail(reason) }

// exit ends the worker as a panic of Go does.
func exit() { syscall.Exit(2) }
