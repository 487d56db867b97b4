//! Traces: where the time of a task went, from its submission until its outcome was on disk.
//!
//! The manager's clock alone counts. It asks a host about some of the attempts that it assigns, and the host answers with
//! [`AttemptTimes`], which count from the arrival of the attempt: clocks that disagree do no harm. Variants and fields are
//! numbered by position on the wire: append only.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::activity::AttemptEnding;
use crate::codec::{Decode, Encode};
use crate::job::{AttemptId, JobId};

/// Most parts of one trace that are kept; a task that is tried again and again has the newest of them.
pub const TRACE_PARTS_MAX: usize = 64;

/// Attempts that one [`HostCommand::Trace`](crate::host::HostCommand::Trace) may name.
pub const TRACED_A_FRAME_MAX: usize = 1024;

/// What a job is a part of, in the form of the W3C's Trace Context, version 00 of `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TraceContext {
    /// The trace; not zero.
    pub trace: [u8; 16],
    /// The span that the job belongs to; not zero.
    pub span: [u8; 8],
    /// The caller records the trace, and wants the parts of it that others make.
    pub sampled: bool,
}

/// A text is no `traceparent`: whoever wrote it must act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a traceparent reads 00-<32 hexadecimal digits>-<16>-<2>, in small letters, and neither number is zero"
)]
pub struct TraceContextError;

impl FromStr for TraceContext {
    type Err = TraceContextError;

    /// Reads a `traceparent`. Of a newer version, which may say more, it reads what this one knows.
    fn from_str(text: &str) -> Result<Self, TraceContextError> {
        let mut fields = text.splitn(5, '-');
        let mut field = || fields.next().ok_or(TraceContextError);
        let version = digits::<1>(field()?)?;
        let (trace, span, [flags]) = (digits(field()?)?, digits(field()?)?, digits::<1>(field()?)?);
        let more = fields.next().is_some();
        if version == [0xff] || (version == [0] && more) || trace == [0; 16] || span == [0; 8] {
            return Err(TraceContextError);
        }
        Ok(Self { trace, span, sampled: flags & 1 == 1 })
    }
}

/// Reads a number of `N` bytes in small hexadecimal digits.
fn digits<const N: usize>(text: &str) -> Result<[u8; N], TraceContextError> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| TraceContextError)?;
    bytes.try_into().map_err(|_| TraceContextError)
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = &data_encoding::HEXLOWER;
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", hex.encode_display(&self.trace), hex.encode_display(&self.span))
    }
}

/// When what happened to an attempt on its host, in microseconds since it arrived there. Each is at least as large as the
/// one before, but for `compile_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct AttemptTimes {
    /// The attempt.
    pub attempt: AttemptId,
    /// Its input was there.
    pub input_us: u64,
    /// Its module could be run.
    pub module_us: u64,
    /// How long the module was compiled; 0 if its compiled form was there.
    pub compile_us: u64,
    /// A guest was chosen for it.
    pub given_us: u64,
    /// The guest took it: its `init` was done.
    pub begun_us: u64,
    /// The guest was done with it.
    pub ended_us: u64,
    /// Its end was told to the manager.
    pub told_us: u64,
}

impl AttemptTimes {
    /// True if they are in order and the last is no later than `us`.
    pub fn is_within(&self, us: u64) -> bool {
        let in_order =
            [self.input_us, self.module_us, self.given_us, self.begun_us, self.ended_us, self.told_us, us];
        in_order.is_sorted() && self.compile_us <= self.module_us - self.input_us
    }
}

/// What a task's time was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum PartKind {
    /// It waited until a host had room for it.
    Wait,
    /// Its lease came onto the manager's disk, and its input was read from there.
    Lease,
    /// It was on its way to the host.
    Send,
    /// The host fetched its input.
    Input,
    /// The host fetched and checked its module.
    Module,
    /// The host compiled its module.
    Compile,
    /// It waited on the host until a task before it was done.
    Queue,
    /// A guest was started for it.
    Start,
    /// The guest ran it.
    Run,
    /// Its end was on its way to the manager.
    Report,
    /// Its outcome came onto the manager's disk.
    Record,
    /// It was on a host that told nothing of it.
    Host,
}

impl PartKind {
    /// The part in a word, as people and scripts read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Lease => "lease",
            Self::Send => "send",
            Self::Input => "input",
            Self::Module => "module",
            Self::Compile => "compile",
            Self::Queue => "queue",
            Self::Start => "start",
            Self::Run => "run",
            Self::Report => "report",
            Self::Record => "record",
            Self::Host => "host",
        }
    }

    /// What the time went to, in words.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Wait => "until a host had room for it",
            Self::Lease => "until its lease was on the manager's disk",
            Self::Send => "on its way to the host",
            Self::Input => "its input was fetched",
            Self::Module => "its module was fetched and checked",
            Self::Compile => "its module was compiled",
            Self::Queue => "behind other tasks of the host",
            Self::Start => "its guest was started",
            Self::Run => "its guest ran it",
            Self::Report => "its end was on its way to the manager",
            Self::Record => "until its outcome was on the manager's disk",
            Self::Host => "on a host that told nothing of it",
        }
    }
}

/// A part of a task's time. It begins where the part before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct TracePart {
    /// What the time was spent on.
    pub kind: PartKind,
    /// How long, in microseconds.
    pub us: u64,
}

/// Where the time of one task went.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TaskTrace {
    /// The task's job.
    pub job: JobId,
    /// The task's number in its job.
    pub task: u64,
    /// The display name of the host of its last attempt.
    pub host: String,
    /// How its last attempt ended.
    pub ending: AttemptEnding,
    /// When the manager took the task in, in microseconds since 1970 on its clock.
    pub submitted_unix_us: u64,
    /// From then until its outcome was on disk, in microseconds.
    pub whole_us: u64,
    /// Its parts, in order; another attempt begins with another [`PartKind::Wait`]. At most [`TRACE_PARTS_MAX`].
    pub parts: Vec<TracePart>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn a_traceparent_is_read_and_written() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context: TraceContext = text.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), text);
        let unsampled: TraceContext =
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02".parse().unwrap();
        assert!(!unsampled.sampled);
        assert!(
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more".parse::<TraceContext>().is_ok()
        );
    }

    #[test]
    fn what_is_no_traceparent_is_refused() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c00-b7ad6b7169203331-01",
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(TraceContextError), "{text}");
        }
    }

    #[test]
    fn times_out_of_order_or_beyond_the_whole_are_not_believed() {
        let attempt = AttemptId::new(1, 2);
        let times = AttemptTimes {
            attempt,
            input_us: 1,
            module_us: 5,
            compile_us: 3,
            given_us: 6,
            begun_us: 7,
            ended_us: 9,
            told_us: 10,
        };
        assert!(times.is_within(10));
        assert!(!times.is_within(9));
        assert!(!AttemptTimes { compile_us: 5, ..times }.is_within(10));
        assert!(!AttemptTimes { begun_us: 5, ..times }.is_within(10));
        assert!(!AttemptTimes { input_us: 6, compile_us: 0, ..times }.is_within(10));
    }
}
