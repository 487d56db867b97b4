//! The names and numbers that a host and a guest share: version 1 of the guest ABI.
//!
//! A worker is a WebAssembly module. It exports [`HANDLE_MSG`] and perhaps the others, and imports grid calls
//! from the module [`IMPORT_MODULE`]. All pointers and lengths are `i32`, read as unsigned, into the memory
//! that the module exports as [`MEMORY`]. The guest ABI page of the documentation says the rest.

#![no_std]
#![forbid(unsafe_code)]

/// The version of everything in this crate; a manifest names it.
pub const VERSION: u32 = 1;

/// The module that grid calls are imported from.
pub const IMPORT_MODULE: &str = "grid";

/// The exported memory.
pub const MEMORY: &str = "memory";

/// Export `handle_msg(len: i32)`: a message of `len` bytes waits to be received.
pub const HANDLE_MSG: &str = "handle_msg";

/// Export `loop() -> i32`: [`IDLE`] or [`AGAIN`]; or `loop()`: called after each message and each
/// [`POLL_INTERVAL_MS`].
pub const LOOP: &str = "loop";

/// Export `init(len: i32)`: the spawn arguments, `len` bytes, wait to be received.
pub const INIT: &str = "init";

/// Export `stop()`: the last call, when the worker is stopped in good order.
pub const STOP: &str = "stop";

/// Export `_initialize()`: called once before anything else, by WASI's convention for reactors.
pub const INITIALIZE: &str = "_initialize";

/// Export `_start()`: the module is a WASI command, run afresh for each message.
pub const START: &str = "_start";

/// Grid call `recv(ptr: i32, cap: i32) -> i32`: copies what waits to be received into memory, if it fits in
/// `cap` bytes, and returns its length; [`NOTHING`] if nothing waits.
pub const RECV: &str = "recv";

/// Grid call `send(ptr: i32, len: i32)`: sends a message to the client.
pub const SEND: &str = "send";

/// Grid call `log(level: i32, ptr: i32, len: i32)`: a line for the worker's log.
pub const LOG: &str = "log";

/// Grid call `fail(ptr: i32, len: i32)`: the message at hand could not be handled, and why.
pub const FAIL: &str = "fail";

/// What `loop` returns when there is nothing to do before the next message.
pub const IDLE: i32 = 0;

/// What `loop` returns to be called again.
pub const AGAIN: i32 = 1;

/// What `recv` returns when nothing waits.
pub const NOTHING: i32 = -1;

/// Time between calls of a `loop` without a result, in milliseconds.
pub const POLL_INTERVAL_MS: u64 = 100;

/// A message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A line of the log and the reason of a failure, in bytes; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 8 << 10;

/// Log levels, from grave to chatty.
pub mod level {
    /// Something is broken.
    pub const ERROR: i32 = 0;
    /// Something is odd; what a guest writes to stderr.
    pub const WARN: i32 = 1;
    /// Something happened; what a guest writes to stdout.
    pub const INFO: i32 = 2;
    /// For the author.
    pub const DEBUG: i32 = 3;
    /// For the author, in bulk.
    pub const TRACE: i32 = 4;
}

/// The names of the same things in components: the world in `guest-sdk/wit`.
pub mod component {
    /// The interface that grid calls are imported from, without its version.
    pub const CALLS: &str = "grid:worker/calls";

    /// The version of the interface that a host offers; a later one of the same first number has more.
    pub const VERSION: &str = "1.0.0";

    /// Export `handle-msg: func(message: list<u8>)`.
    pub const HANDLE_MSG: &str = "handle-msg";

    /// Export `start: func(arguments: list<u8>)`: `init` of a core module. That name is taken in what puts JavaScript
    /// components together.
    pub const START: &str = "start";

    /// Export `loop: func() -> turn`.
    pub const LOOP: &str = "loop";

    /// Export `stop: func()`.
    pub const STOP: &str = "stop";
}
