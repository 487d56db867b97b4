//! What is said about a worker: how to start it, how it fares, how it ended.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::codec::{Decode, Encode};
use crate::limits::{BACKTRACE_FRAME_BYTES_MAX, BACKTRACE_FRAMES_MAX, FAILURE_MESSAGE_BYTES_MAX};

/// Limits that somebody asks for a worker; a host takes the smaller of these, the manifest's and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct LimitsAsked {
    /// Most linear memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Most time on a processor for one call into the guest, in milliseconds.
    pub call_ms: Option<u64>,
}

/// What to do when a worker dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Restart {
    /// HostEvent it.
    #[default]
    Never,
    /// Start another one in its place if it failed or its host was lost, at most so often.
    OnFailure {
        /// Restarts allowed.
        at_most: u32,
    },
    /// Start another one in its place whatever it died of, unless it was stopped on purpose.
    Always,
}

/// Who must act on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub enum Blame {
    /// The author of the module.
    Guest,
    /// The operator of the host.
    Host,
    /// The client that sent or asked.
    Client,
}

/// What a guest, or its host, died of. Numbers on the wire are the places of the variants: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum FailureKind {
    /// A trap of the guest's code: `unreachable`, a division by zero, a wrong indirect call…
    Trap,
    /// The guest touched memory that it has not, by itself or through a grid call.
    OutOfBounds,
    /// The guest's stack is full.
    StackOverflow,
    /// The guest could not be given the memory or the tables that it starts with.
    MemoryLimit,
    /// One call took more time on a processor than it may.
    TimeLimit,
    /// The guest sent a message over the limit.
    MessageTooLarge,
    /// The guest ended itself with this exit code.
    Exit(i32),
    /// An export returned what the ABI does not know.
    BadReturn,
    /// The guest refused its spawn arguments, or trapped while it started.
    Start,
    /// The module was refused by the host: signature, publisher, limits, shape.
    ModuleRefused,
    /// The module could not be compiled within its limits.
    CompileLimit,
    /// The module could not be had from the manager.
    ModuleUnavailable,
    /// The host has no room for another worker.
    HostFull,
    /// The host itself failed: its disk, its memory, its own code.
    HostFault,
    /// The guest said that it failed, and why.
    Reported,
    /// A task took longer than its timeout.
    Timeout,
    /// The guest was refused memory beyond its limit while it worked, and died of it.
    OutOfMemory,
}

impl FailureKind {
    /// Who must act.
    pub fn blame(self) -> Blame {
        match self {
            Self::ModuleUnavailable | Self::HostFull | Self::HostFault => Blame::Host,
            _ => Blame::Guest,
        }
    }

    /// True if the module could not even begin here: that says nothing of what it was to work on.
    pub fn is_unfit(self) -> bool {
        matches!(self, Self::ModuleRefused | Self::CompileLimit | Self::MemoryLimit | Self::Start)
    }

    /// True if the same input fails in the same way wherever it goes.
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::MessageTooLarge | Self::BadReturn)
    }

    /// The kind in a word or two, as people and scripts read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::OutOfBounds => "out-of-bounds",
            Self::StackOverflow => "stack-overflow",
            Self::MemoryLimit => "memory-limit",
            Self::TimeLimit => "time-limit",
            Self::MessageTooLarge => "message-too-large",
            Self::Exit(_) => "exit",
            Self::BadReturn => "bad-return",
            Self::Start => "start",
            Self::ModuleRefused => "module-refused",
            Self::CompileLimit => "compile-limit",
            Self::ModuleUnavailable => "module-unavailable",
            Self::HostFull => "host-full",
            Self::HostFault => "host-fault",
            Self::Reported => "failed",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out-of-memory",
        }
    }
}

/// How and why a worker failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// What it died of.
    pub kind: FailureKind,
    /// In words, for a person.
    pub message: String,
    /// The guest's own frames, innermost first; empty where there are none.
    pub backtrace: Vec<String>,
}

impl Failure {
    /// Holds a host to what it may say of a failure: long texts are cut.
    pub fn clamp(&mut self) {
        cut(&mut self.message, FAILURE_MESSAGE_BYTES_MAX);
        self.backtrace.truncate(BACKTRACE_FRAMES_MAX);
        self.backtrace.iter_mut().for_each(|frame| cut(frame, BACKTRACE_FRAME_BYTES_MAX));
    }
}

/// Cuts a text between two letters, and gives back the memory of what is cut.
fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.shrink_to_fit();
    }
}

/// How a worker ended. Numbers on the wire are the places of the variants: append only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum End {
    /// It was asked to stop, and did.
    Stopped,
    /// It failed.
    Failed(Failure),
    /// Its host is lost: killed, unreachable for too long, or restarted.
    HostLost,
    /// Its host was revoked or removed.
    HostRemoved,
    /// It was silent for longer than its time to live while it owed an answer.
    Silent {
        /// For how long, in milliseconds.
        ms: u64,
    },
    /// Its client went away and did not come back.
    ClientLost,
}

impl End {
    /// True if a [`Restart`] policy applies: nobody ended the worker on purpose.
    pub fn is_accident(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::HostLost | Self::Silent { .. })
    }

    /// The end in a word or two, as people and scripts read it.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Failed(failure) => failure.kind.label(),
            Self::HostLost => "host-lost",
            Self::HostRemoved => "host-removed",
            Self::Silent { .. } => "silent",
            Self::ClientLost => "client-lost",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped as asked"),
            Self::Failed(failure) => write!(f, "{}: {}", failure.kind.label(), failure.message),
            Self::HostLost => f.write_str("its host was lost"),
            Self::HostRemoved => f.write_str("its host was removed from the grid"),
            Self::Silent { ms } => write!(f, "silent for {ms} ms while it owed an answer"),
            Self::ClientLost => f.write_str("its client went away"),
        }
    }
}

/// How grave a line of log is. Numbers on the wire are the places of the variants, and the guest's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is odd; also what a guest writes to stderr.
    Warn,
    /// Something happened; also what a guest writes to stdout.
    Info,
    /// For the author.
    Debug,
    /// For the author, in bulk.
    Trace,
}

impl LogLevel {
    /// The level that a guest names by number; what is past the end is [`LogLevel::Trace`].
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Error,
            1 => Self::Warn,
            2 => Self::Info,
            3 => Self::Debug,
            _ => Self::Trace,
        }
    }

    /// The level as people and scripts read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// One line that a worker wrote.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct LogLine {
    /// The host's clock, in milliseconds since 1970; an allegation of the host.
    pub unix_ms: u64,
    /// How grave it is.
    pub level: LogLevel,
    /// The line, without its end.
    pub text: String,
}

impl LogLine {
    /// Holds a host to so many bytes of text.
    pub fn clamp(&mut self, most: usize) {
        cut(&mut self.text, most);
    }
}
