//! The limits of the wire, each with the attack that it stops.

/// Length of a message between a client and a worker: 64 MiB. The sender of a longer one would make every
/// receiver hold all of it.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Length up to which a message travels inside a mail frame: 16 KiB. A larger message has a stream of its
/// own, so that it never delays a heartbeat or another worker's mail. 16 KiB is 13 packets, a millisecond at
/// 100 Mbit/s. With 64 KiB, messages of that size are a sixth faster, but a worker that sends nothing else
/// delays its neighbours twice as long.
pub const INLINE_BYTES_MAX: usize = 16 << 10;

/// Length of a mail frame: an inline message and 64 bytes of header. A peer that announces a longer frame is
/// refused before anything is allocated.
pub const MAIL_FRAME_BYTES_MAX: usize = INLINE_BYTES_MAX + 64;

/// Length of a control frame: a resumption lists every worker of a host, 65,536 of them at 16 bytes.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1 << 20;

/// Bytes that decoding one control frame may allocate; types are wider in memory than on the wire.
pub const CONTROL_DECODED_BYTES_MAX: usize = 4 << 20;

/// Bytes that decoding one mail frame may allocate: the frame itself, and its numbers at full width.
pub const MAIL_DECODED_BYTES_MAX: usize = MAIL_FRAME_BYTES_MAX + 64;

/// Mail streams in each direction of a connection: a lost packet delays a quarter of the workers.
pub const MAIL_STREAMS: usize = 4;

/// Number of arguments of a WASI command. Each costs an allocation, and a guest's library makes a table of
/// them.
pub const COMMAND_ARGUMENTS_MAX: usize = 256;

/// Bytes of all arguments of a WASI command together, with `{}` replaced by the input: otherwise 300 bytes of
/// arguments could repeat an input of 4 KiB a hundred times.
pub const COMMAND_ARGUMENTS_BYTES_MAX: usize = 64 << 10;

/// Bytes of a worker's spawn arguments: 512 KiB, so that a spawn command fits in a control frame.
pub const ARGUMENTS_BYTES_MAX: usize = 512 << 10;

/// Workers that one spawn request may ask for.
pub const SPAWN_COUNT_MAX: u32 = 65_536;

/// Slots that a host may offer: its resumption lists a worker for each, and must fit in a control frame.
pub const HOST_WORKERS_MAX: usize = 65_536;

/// Length of a module: 64 MiB. The largest that a toolchain made in our tests has 18 MiB.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

/// Bytes of a task's input, or of all its results together, inside a frame: 256 KiB, so that each fits in
/// half a control frame. Longer payloads become blobs.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;

/// Bytes that a batch of tasks or outcomes may fill of a control frame; the rest is for what surrounds it.
pub const BATCH_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX / 2;

/// Tasks in one batch: an empty task takes four bytes on the wire and a hundred in memory.
pub const BATCH_TASKS_MAX: usize = 8192;

/// Attempts that a host may hold at the same time: a report about all of them must fit in a control frame.
pub const HELD_ATTEMPTS_MAX: u32 = 16_384;

/// Results that one task may send: each takes room in the outcome, however short.
pub const RESULTS_MAX: usize = 4096;

/// Log lines that a failure carries: the guest's last ones.
pub const LOG_TAIL_MAX: usize = 5;

/// Length of each of those lines, in bytes; a longer one is cut.
pub const LAST_WORDS_BYTES_MAX: usize = 1 << 10;

/// Length of a failure's message, in bytes; a longer one is cut. Eight failures and what surrounds them fit
/// in a frame.
pub const FAILURE_MESSAGE_BYTES_MAX: usize = 4 << 10;

/// Frames of a backtrace that a failure may carry.
pub const BACKTRACE_FRAMES_MAX: usize = 16;

/// Length of each of those frames, in bytes; a longer one is cut. A module chooses the names of its
/// functions.
pub const BACKTRACE_FRAME_BYTES_MAX: usize = 255;

/// Failed attempts that the manager keeps for a task: the newest.
pub const FAILURES_KEPT_MAX: usize = 8;

/// Number of attempts that a client may ask for: a task that fails a hundred times is not worth another
/// attempt.
pub const ATTEMPTS_MAX: u32 = 100;

/// Jobs of one client that a manager keeps, over or not: each takes about 500 bytes of memory, and its
/// arguments.
pub const JOBS_MAX: usize = 1000;

/// Tasks of one client that may wait: their inputs fill the disk, not the memory.
pub const WAITING_TASKS_MAX: u64 = 10_000_000;

/// Labels that a host may have or a placement may require.
pub const LABELS_MAX: usize = 64;

/// Length of a label's name or value, and of any other name on the wire, in bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// Length of one line of a worker's log, in bytes; a longer one is cut.
pub const LOG_LINE_BYTES_MAX: usize = 8 << 10;

/// Log lines that the manager keeps for each worker: the newest.
pub const LOG_LINES_KEPT_MAX: usize = 200;

/// Length of an error's text when a host makes it, in bytes; a longer one is cut. In a failure's report,
/// [`FAILURE_MESSAGE_BYTES_MAX`] applies as well.
pub const REASON_BYTES_MAX: usize = 8 << 10;
