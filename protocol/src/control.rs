//! Control channels: typed notes, in order, each delivered exactly once while both ends live.
//!
//! A [`Control`] is one end of a session. Like a worker's [`Link`], it outlives the connections that carry
//! it; its notes are small, and each is settled as soon as it is received.

use core::marker::PhantomData;

use alloc::vec::Vec;
use bytes::Bytes;

use crate::codec::{self, BorrowDecode, DecodeError, Encode, PayloadRoom};
use crate::limits::CONTROL_DECODED_BYTES_MAX;
use crate::link::{DeliveryContent, Link, LinkError, MessageKind};

/// One end of a control channel that sends `Out` and receives `In`.
#[derive(Debug)]
pub struct Control<Out, In> {
    link: Link,
    unsent: u64,
    types: PhantomData<fn(Out) -> In>,
}

/// A host's end: sends events, receives commands.
pub type HostEnd = Control<crate::host::HostEvent, crate::host::HostCommand>;

/// The manager's end of a host's channel: sends commands, receives events.
pub type ManagerEnd = Control<crate::host::HostCommand, crate::host::HostEvent>;

/// One frame of a control stream.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub struct ControlFrame<'a> {
    /// The sender has received every note up to this number.
    pub settled: u64,
    /// A note with its number; `None` for a frame that only acknowledges.
    pub note: Option<NumberedNote<'a>>,
}

/// An encoded note with its number.
#[derive(Debug, Clone, PartialEq, Eq, Encode, BorrowDecode)]
pub struct NumberedNote<'a> {
    /// Its number, from 1.
    pub seq: u64,
    /// The note, encoded.
    pub body: &'a [u8],
}

impl<Out, In> Default for Control<Out, In> {
    fn default() -> Self {
        Self { link: Link::default(), unsent: 1, types: PhantomData }
    }
}

impl<Out, In> Control<Out, In> {
    /// Checks a peer's claim to have everything up to `received`, which [`Self::resume`] takes.
    ///
    /// # Errors
    ///
    /// [`ControlError`]: the peer claims what was never sent.
    pub fn check_position(&self, received: u64) -> Result<(), ControlError> {
        Ok(self.link.check_position(received)?)
    }
}

impl<Out: Encode, In: for<'de> BorrowDecode<'de, PayloadRoom>> Control<Out, In> {
    /// Queues a note, which is kept until the peer acknowledges it.
    ///
    /// The queue has no limit of its own; the caller bounds it by [`Self::backlog`].
    pub fn send(&mut self, note: &Out) {
        self.send_body(codec::encode(note));
    }

    /// As [`Self::send`], for a note that is encoded already.
    pub fn send_body(&mut self, note: Vec<u8>) {
        self.link.push(MessageKind::Message, Bytes::from(note), ());
    }

    /// Number of notes that the peer has not acknowledged.
    pub fn backlog(&self) -> usize {
        self.link.unsettled().len()
    }

    /// Bytes of those notes.
    pub fn backlog_bytes(&self) -> usize {
        self.link.unsettled_bytes()
    }

    /// Handles one frame; returns its note, unless it has none or the note was received before.
    ///
    /// # Errors
    ///
    /// [`ControlError`]: the peer broke the protocol; the caller must disconnect it.
    pub fn handle_frame(&mut self, body: &[u8]) -> Result<Option<In>, ControlError> {
        let frame: ControlFrame<'_> = codec::decode::<_, CONTROL_DECODED_BYTES_MAX>(body)?;
        drop(self.link.settle(frame.settled)?);
        let Some(NumberedNote { seq, body }) = frame.note else {
            return Ok(None);
        };
        if !self.link.accept(seq, MessageKind::Message, DeliveryContent::Here(Bytes::new()))? {
            return Ok(None);
        }
        self.link.take_arrival();
        self.link.finish(seq);
        Ok(Some(codec::decode_payloads::<_, CONTROL_DECODED_BYTES_MAX>(body)?))
    }

    /// The body of the next frame to write; `None` if nothing is left to send on this connection.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.poll_transmit_parts().map(|parts| parts.concat())
    }

    /// As [`Self::poll_transmit`], in two parts: the second is the note, in the memory in which it is kept.
    pub fn poll_transmit_parts(&mut self) -> Option<[Bytes; 2]> {
        let note = self.link.resend_after(self.unsent - 1).next();
        let note = note.map(|sent| (sent.seq, sent.payload.clone()));
        let Some((seq, note)) = note else {
            return self.link.owes_acknowledgement().then(|| {
                let frame = ControlFrame { settled: self.link.acknowledge(), note: None };
                [codec::encode(&frame).into(), Bytes::new()]
            });
        };
        self.unsent = seq + 1;
        // A `ControlFrame` up to the bytes of its note: that there is one, its number and its length.
        let head = (self.link.acknowledge(), 1u8, seq, note.len() as u64);
        Some([codec::encode(&head).into(), note])
    }

    /// Starts again with a peer that remembers nothing; notes that the old session did not acknowledge are
    /// sent to it.
    pub fn restart(&mut self) {
        self.link.restart();
        self.unsent = 1;
    }

    /// The number up to which every note was received, for the peer to continue from. Called when a
    /// connection is lost.
    pub fn position(&mut self) -> u64 {
        self.link.position()
    }

    /// Continues on a new connection with a peer that has received every note up to `received`; later ones
    /// are resent.
    ///
    /// # Errors
    ///
    /// [`ControlError`]: the peer claims to have received what was never sent.
    pub fn resume(&mut self, received: u64) -> Result<(), ControlError> {
        drop(self.link.settle(received)?);
        self.unsent = received + 1;
        Ok(())
    }
}

/// The peer broke the protocol of a control channel; the caller must close its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The bytes are not a frame or not a note.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The numbers break the rules of a link.
    #[error(transparent)]
    Link(#[from] LinkError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{HostCommand, HostEvent};
    use alloc::vec;

    fn pump(from: &mut HostEnd, to: &mut ManagerEnd) -> Vec<HostEvent> {
        let mut taken = Vec::new();
        while let Some(frame) = from.poll_transmit() {
            taken.extend(to.handle_frame(&frame).unwrap());
        }
        taken
    }

    #[test]
    fn a_note_lost_with_its_connection_is_sent_again_and_taken_once() {
        let (mut host, mut manager) = (HostEnd::default(), ManagerEnd::default());
        host.send(&HostEvent::Draining);
        assert_eq!(pump(&mut host, &mut manager), vec![HostEvent::Draining]);
        host.send(&HostEvent::Started { workers: vec![] });
        let lost = host.poll_transmit().unwrap();
        host.resume(manager.position()).unwrap();
        assert_eq!(pump(&mut host, &mut manager), vec![HostEvent::Started { workers: vec![] }]);
        assert_eq!(manager.handle_frame(&lost), Ok(None));
    }

    #[test]
    fn the_parts_of_a_frame_together_are_the_frame() {
        let mut host = HostEnd::default();
        host.send(&HostEvent::Started { workers: vec![] });
        let [head, note] = host.poll_transmit_parts().unwrap();
        let frame = ControlFrame { settled: 0, note: Some(NumberedNote { seq: 1, body: &note }) };
        assert_eq!([head, note.clone()].concat(), codec::encode(&frame));
    }

    #[test]
    fn what_is_taken_is_forgotten_at_the_sender() {
        let (mut host, mut manager) = (HostEnd::default(), ManagerEnd::default());
        manager.send(&HostCommand::Drain);
        while let Some(frame) = manager.poll_transmit() {
            host.handle_frame(&frame).unwrap();
        }
        assert_eq!(manager.backlog(), 1);
        while let Some(frame) = host.poll_transmit() {
            manager.handle_frame(&frame).unwrap();
        }
        assert_eq!(manager.backlog(), 0);
    }
}
