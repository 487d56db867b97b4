//! Frames: what passes through a ring.

use bytes::Bytes;

/// An empty payload.
pub(super) const NOTHING: Bytes = Bytes::new();

/// The head of a frame, or of a part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub(super) kind: FrameKind,
    /// The guest that it is about.
    pub(super) guest: u32,
    /// A message's number, or another number, by the kind.
    pub(super) number: u64,
    /// Nanoseconds, in a [`FrameKind::Done`] or [`FrameKind::Answered`]; otherwise 0.
    pub(super) nanos: u64,
}

/// A frame with its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) head: FrameHead,
    pub(super) payload: Bytes,
}

impl Frame {
    pub(super) fn new(kind: FrameKind, guest: u32, number: u64, payload: Bytes) -> Self {
        Self { head: FrameHead { kind, guest, number, nanos: 0 }, payload }
    }

    /// The guest has handled every message up to `number`, the last of them in so many nanoseconds. If there is an `answer`,
    /// it has sent that before, and nothing since.
    pub(super) fn done(guest: u32, number: u64, nanos: u64, answer: Option<Bytes>) -> Self {
        let kind = if answer.is_some() { FrameKind::Answered } else { FrameKind::Done };
        Self { head: FrameHead { kind, guest, number, nanos }, payload: answer.unwrap_or_default() }
    }
}

/// The kind of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    /// To the executor: start a guest; a `StartGuest`.
    Start = 1,
    /// To the executor: message `number` for the guest.
    Message,
    /// To the executor: the guest shall stop when it has handled its message.
    Stop,
    /// To the executor: the guest shall end, whatever it is doing.
    Abort,
    /// To the executor: the messages up to `number` that the guest has not begun with were withdrawn.
    Withdrawn,
    /// To the executor: the guest may send another `number` bytes.
    Room,
    /// To the host: the executor is locked down and takes guests; a line that tells its walls.
    Ready,
    /// To the host: the module cannot be loaded, and the executor ends; the reason in words.
    Refused,
    /// To the host: the guest is ready for messages.
    Started,
    /// To the host: a message from the guest.
    Sent,
    /// To the host: the guest has handled every message up to `number`, the last of them in as many nanoseconds as the
    /// head says.
    Done,
    /// To the host: the guest could not handle message `number`; a `Failure`.
    Failed,
    /// To the host: a line of the guest's log, of level `number`.
    Log,
    /// To the host: a line of the guest's log, of level `number`, was over its budget.
    LogDropped,
    /// To the host: the guest has ended; an `End`.
    Ended,
    /// To the host: the guest's call has taken more than its `number` microseconds, and cannot be interrupted.
    Overdue,
    /// To the host: a message from the guest, and then what [`FrameKind::Done`] says.
    Answered,
}

impl FrameKind {
    /// The kind with this number.
    fn from_number(number: u64) -> Option<Self> {
        let all = [
            Self::Start,
            Self::Message,
            Self::Stop,
            Self::Abort,
            Self::Withdrawn,
            Self::Room,
            Self::Ready,
            Self::Refused,
            Self::Started,
            Self::Sent,
            Self::Done,
            Self::Failed,
            Self::Log,
            Self::LogDropped,
            Self::Ended,
            Self::Overdue,
            Self::Answered,
        ];
        // In the order of their numbers, of which the first is 1.
        usize::try_from(number).ok().and_then(|number| all.get(number.checked_sub(1)?).copied())
    }
}

/// Words of a head.
pub(super) const HEAD_WORDS: usize = 4;

/// Bytes of payload in one part of a frame.
pub(super) const PART_BYTES_MAX: usize = 64 << 10;

/// Bytes of a whole frame's payload: a message of the greatest length, with something around it.
pub(super) const FRAME_BYTES_MAX: usize = grid_protocol::limits::MESSAGE_BYTES_MAX + (64 << 10);

/// One part of a frame, as it stands in a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) head: FrameHead,
    pub(super) bytes: usize,
    /// Bytes of the same frame that follow in other parts.
    pub(super) later: usize,
}

impl Part {
    /// Words that the part takes up.
    pub(super) fn words(&self) -> usize {
        HEAD_WORDS + self.bytes.div_ceil(8)
    }

    pub(super) fn to_words(self) -> [u64; HEAD_WORDS] {
        let Self { head, bytes, later } = self;
        let first = head.kind as u64 | (bytes as u64) << 8 | (later as u64) << 32;
        [first, u64::from(head.guest), head.number, head.nanos]
    }

    /// Reads what [`Self::to_words`] wrote; `None` for anything else, and for a part with others behind it that ends within a
    /// word.
    pub(super) fn from_words([first, guest, number, nanos]: [u64; HEAD_WORDS]) -> Option<Self> {
        let kind = FrameKind::from_number(first & 0xff)?;
        let bytes = usize::try_from(first >> 8 & 0xff_ffff).ok().filter(|bytes| *bytes <= PART_BYTES_MAX)?;
        let later = usize::try_from(first >> 32).ok().filter(|later| bytes + later <= FRAME_BYTES_MAX)?;
        // Words are filled by all parts but the last.
        let is_whole = later == 0 || bytes.is_multiple_of(8);
        let guest = u32::try_from(guest).ok().filter(|_| is_whole)?;
        Some(Self { head: FrameHead { kind, guest, number, nanos }, bytes, later })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_part_is_read_as_it_was_written_and_nothing_else_is_one() {
        for number in 1..=17 {
            let kind = FrameKind::from_number(number).unwrap();
            assert_eq!(kind as u64, number);
            let head = FrameHead { kind, guest: u32::MAX, number: u64::MAX, nanos: u64::MAX };
            for (bytes, later) in [(0, 0), (PART_BYTES_MAX, FRAME_BYTES_MAX - PART_BYTES_MAX)] {
                let part = Part { head, bytes, later };
                assert_eq!(Part::from_words(part.to_words()), Some(part));
            }
        }
        let too_long = [1 | (PART_BYTES_MAX as u64 + 1) << 8, 1 | (FRAME_BYTES_MAX as u64 + 1) << 32];
        let within_a_word = 1 | 9 << 8 | 1 << 32;
        for first in [0, 18, within_a_word].into_iter().chain(too_long) {
            assert_eq!(Part::from_words([first, 0, 0, 0]), None, "{first:#x}");
        }
        assert_eq!(Part::from_words([1, 1 << 32, 0, 0]), None, "no such guest");
    }
}
