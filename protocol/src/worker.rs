//! Workers: how to start one, what its host reports of it, how it ended.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::codec::{Decode, Encode};
use crate::limits::{BACKTRACE_FRAME_BYTES_MAX, BACKTRACE_FRAMES_MAX, FAILURE_MESSAGE_BYTES_MAX};

/// Limits requested for a worker. A host applies the smallest of these, the manifest's and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct LimitsAsked {
    /// Limit of linear memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Limit of processor time for one call into the guest, in milliseconds.
    pub call_ms: Option<u64>,
}

/// What the manager does when a worker ends by [accident](End::is_accident), or because its host drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub enum Restart {
    /// Only report it.
    #[default]
    Never,
    /// Start a replacement, a limited number of times.
    OnFailure {
        /// Number of restarts allowed; a deployment counts failures in a row on one host.
        at_most: u32,
    },
    /// Start a replacement every time.
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

/// Why a guest or its host failed. Variants are numbered by position on the wire: append only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum FailureKind {
    /// The guest's code trapped: `unreachable`, a division by zero, a wrong indirect call, and so on.
    Trap,
    /// The guest accessed memory outside its own, directly or through a grid call.
    OutOfBounds,
    /// The guest's stack overflowed.
    StackOverflow,
    /// The memory or the tables that the guest starts with, or that its job asks for, are over the limit.
    MemoryLimit,
    /// One call took more processor time than its limit.
    TimeLimit,
    /// The guest sent a message over the size limit, or more results than a task may have.
    MessageTooLarge,
    /// The guest exited with this code.
    Exit(i32),
    /// An export returned a value that the ABI does not define.
    BadReturn,
    /// The guest refused its spawn arguments, or trapped while it started.
    Start,
    /// The host refused the module: its signature, publisher, limits or form.
    ModuleRefused,
    /// Compiling the module took more time or memory than its limit.
    CompileLimit,
    /// The host could not get the module from the manager.
    ModuleUnavailable,
    /// The host has no room for another worker.
    HostFull,
    /// The host itself failed: its disk, its memory, its own code.
    HostFault,
    /// The guest reported that it failed, and why.
    Reported,
    /// A task took longer than its timeout.
    Timeout,
    /// The guest was refused memory beyond its limit while it worked, and ended because of it.
    OutOfMemory,
}

impl FailureKind {
    /// Who must act: the operator of the host or the author of the module.
    pub fn blame(self) -> Blame {
        match self {
            Self::ModuleUnavailable | Self::HostFull | Self::HostFault => Blame::Host,
            _ => Blame::Guest,
        }
    }

    /// True if the module could not start on this host, which says nothing about its input.
    pub fn is_unfit(self) -> bool {
        matches!(self, Self::ModuleRefused | Self::CompileLimit | Self::MemoryLimit | Self::Start)
    }

    /// True if the same input fails in the same way on every host.
    pub fn is_permanent(self) -> bool {
        matches!(self, Self::MessageTooLarge | Self::BadReturn)
    }

    /// The kind in a word or two, for people and scripts.
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

/// How and why a worker or an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Failure {
    /// The kind of failure.
    pub kind: FailureKind,
    /// The failure in words, for a person.
    pub message: String,
    /// The guest's own frames, innermost first; empty where there are none.
    pub backtrace: Vec<String>,
}

impl Failure {
    /// Applies the limits of a failure report: cuts long texts, and keeps the innermost frames.
    pub fn clamp(&mut self) {
        cut(&mut self.message, FAILURE_MESSAGE_BYTES_MAX);
        self.backtrace.truncate(BACKTRACE_FRAMES_MAX);
        self.backtrace.iter_mut().for_each(|frame| cut(frame, BACKTRACE_FRAME_BYTES_MAX));
    }
}

/// Cuts a text to at most `most` bytes at a character boundary, and frees the memory of the rest.
pub(crate) fn cut(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.shrink_to_fit();
    }
}

/// How a worker ended. Variants are numbered by position on the wire: append only.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum End {
    /// It was asked to stop, and did.
    Stopped,
    /// It failed.
    Failed(Failure),
    /// Its host is lost: killed, disconnected for too long, or restarted.
    HostLost,
    /// Its host's key was revoked.
    HostRemoved,
    /// It owed an answer and was silent for longer than its time to live.
    Silent {
        /// How long it was silent, in milliseconds.
        ms: u64,
    },
    /// Its client disconnected and did not come back in time. The manager does not send this: it stops such
    /// workers, and they end as [`End::Stopped`].
    ClientLost,
}

impl End {
    /// True if a [`Restart`] policy applies: nobody ended the worker on purpose.
    pub fn is_accident(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::HostLost | Self::Silent { .. })
    }

    /// The end in a word or two, for people and scripts.
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

/// Severity of a log line. Variants are numbered by position on the wire, with the guest ABI's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum LogLevel {
    /// Something is broken.
    Error,
    /// Something is odd; also what a guest writes to stderr.
    Warn,
    /// Something happened; also what a guest writes to stdout.
    Info,
    /// For the module's author.
    Debug,
    /// For the module's author, in detail.
    Trace,
}

impl LogLevel {
    /// The level that a guest names by number; any number above the last is [`LogLevel::Trace`].
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Error,
            1 => Self::Warn,
            2 => Self::Info,
            3 => Self::Debug,
            _ => Self::Trace,
        }
    }

    /// The level in a word, for people and scripts.
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
    /// When the host took the line, in milliseconds since 1970 on the host's clock; an allegation.
    pub unix_ms: u64,
    /// Severity of the line.
    pub level: LogLevel,
    /// The text, without its line break.
    pub text: String,
}

impl LogLine {
    /// Cuts the text to at most `most` bytes.
    pub fn clamp(&mut self, most: usize) {
        cut(&mut self.text, most);
    }
}
