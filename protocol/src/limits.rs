//! The limits of the wire, each with the attack that it stops.

/// A message between a client and a worker: 64 MiB. A sender of more would make each of its receivers
/// hold it whole.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// A message up to this size travels inside a mail frame; a larger one has a stream of its own, so that it
/// never stands in front of a heartbeat or of another worker's mail. 16 KiB is 13 packets, a millisecond at 100 Mbit/s. With
/// 64 KiB, messages of that size are a sixth faster, and a worker that sends nothing else holds up its neighbours twice as
/// long.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// A mail frame: a message that travels inside and 64 bytes around it, so that a peer that announces a
/// longer one is refused before anything is allocated.
pub const MAIL_FRAME_BYTES_MAX: usize = INLINE_BYTES_MAX + 64;

/// A control frame: a resumption lists every worker of a host, 65 536 of them at 16 bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;

/// What decoding one control frame may allocate: types are wider in memory than on the wire.
pub const CONTROL_DECODED_BYTES_MAX: usize = 4 << 20;

/// What decoding one mail frame may allocate: the frame itself, and its numbers at their full width.
pub const MAIL_DECODED_BYTES_MAX: usize = MAIL_FRAME_BYTES_MAX + 64;

/// Mail streams each way between a manager and a host: a lost packet holds up a quarter of the workers.
pub const MAIL_STREAMS: usize = 4;

/// Arguments of a WASI command. Each costs an allocation, and a guest's library makes a table of them.
pub const COMMAND_ARGUMENTS_MAX: usize = 256;

/// Bytes of all arguments of a WASI command together, those of an input that takes the place of `{}` included: 300 bytes
/// of arguments could name an input of 4 KiB a hundred times.
pub const COMMAND_ARGUMENTS_BYTES_MAX: usize = 64 << 10;

/// The spawn arguments of a worker: 512 KiB, so that an order fits in a control frame.
pub const ARGUMENTS_BYTES_MAX: usize = 512 << 10;

/// Workers that one order may ask for at once.
pub const SPAWN_COUNT_MAX: u32 = 65_536;

/// Workers that one host may run: its resumption must fit in a control frame.
pub const HOST_WORKERS_MAX: usize = 65_536;

/// A module: 64 MiB. The largest that a toolchain made in our trials is 18 MiB.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// Bytes of a task's input, and of all its results together: 256 KiB, so that each fits in half a control frame.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// What a batch of tasks or outcomes may fill of a control frame, so that there is room for what stands around it.
pub const BATCH_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX / 2;

/// Tasks in one batch: an empty task takes four bytes on the wire and a hundred in memory.
pub const BATCH_TASKS_MAX: usize = 8192;

/// Attempts that a host may hold at once: what it says about all of them must fit in a control frame.
pub const HELD_ATTEMPTS_MAX: u32 = 16_384;

/// Results that one task may send: each takes room in the outcome, however short.
pub const RESULTS_MAX: usize = 4096;

/// Lines of log that a failure carries: what the guest said last.
pub const LAST_WORDS_MAX: usize = 5;

/// Each of those lines, in bytes; a longer one is cut.
pub const LAST_WORDS_BYTES_MAX: usize = 1 << 10;

/// What an attempt failed of, in bytes; a longer text is cut. Eight failures and all around them fit in a frame.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Frames of a backtrace that an attempt may report.
pub const BACKTRACE_FRAMES_MAX: usize = 16;

/// Each of those frames, in bytes; a longer name is cut: a module chooses the names of its functions.
pub const BACKTRACE_FRAME_BYTES_MAX: usize = 255;

/// Failed attempts that a task's record keeps: the newest.
pub const FAILURES_KEPT_MAX: usize = 8;

/// How many attempts a client may ask for: a task that fails a hundred times is not worth another.
pub const ATTEMPTS_MAX: u32 = 100;

/// Jobs of one client that a manager keeps, over or not: each takes some 500 bytes of memory, and its arguments.
pub const JOBS_MAX: usize = 1000;

/// Tasks of one client that may wait: their inputs fill the disk, not the memory.
pub const WAITING_TASKS_MAX: u64 = 10_000_000;

/// Labels that a host may carry or a placement may ask for.
pub const LABELS_MAX: usize = 64;

/// Name or value of a label, and any other name on the wire, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// One line of a worker's log, in bytes; a longer one is cut.
pub const LOG_LINE_BYTES_MAX: usize = 8 << 10;

/// Lines of log that the manager keeps for each worker; the oldest go first.
pub const LOG_LINES_KEPT_MAX: usize = 200;

/// The text of an error or of a failure on the wire, in bytes; a longer one is cut.
pub const REASON_BYTES_MAX: usize = 8 << 10;
