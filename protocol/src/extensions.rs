//! Extensions of a first frame, by which programs of different age can meet.
//!
//! A hello and its welcome end with a list of numbered values, each with its length. A receiver passes over those that
//! it does not know, so that a newer program can say more without a new version of the protocol, and tells from what is
//! missing that its peer is older. Everything else in this protocol is read to the last byte.

use alloc::string::String;
use alloc::vec::Vec;

use crate::codec::{self, Decode, Encode};
use crate::limits::NAME_BYTES_MAX;

/// Numbered additions to a first frame.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Extensions(Vec<Extension>);

/// One addition. The numbers in use are constants of [`Extensions`]; a number is never given a second meaning.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Extension {
    number: u16,
    body: Vec<u8>,
}

impl Extensions {
    /// The version of the sender's software, for people: at most [`NAME_BYTES_MAX`] bytes of text.
    const SOFTWARE: u16 = 1;

    /// The time on the sender's clock, in seconds since 1970: a `u64`.
    const UNIX_TIME: u16 = 2;

    /// The sender knows what is said about traces: a `u8`, 1.
    const TRACES: u16 = 3;

    /// Says the version of one's software.
    pub fn with_software(self, version: &str) -> Self {
        self.with(Self::SOFTWARE, &version)
    }

    /// The version of the peer's software; `None` if it did not say one, or one that cannot be shown.
    pub fn software(&self) -> Option<String> {
        let version: String = self.get(Self::SOFTWARE)?;
        let is_plain = version.len() <= NAME_BYTES_MAX && !version.chars().any(crate::name::is_obeyed);
        is_plain.then_some(version)
    }

    /// Says the time on one's clock, in seconds since 1970. Tickets and manifests expire by the manager's.
    pub fn with_unix_time(self, unix_s: u64) -> Self {
        self.with(Self::UNIX_TIME, &unix_s)
    }

    /// The time on the peer's clock when it sent this, in seconds since 1970; `None` if it did not say it.
    pub fn unix_time(&self) -> Option<u64> {
        self.get(Self::UNIX_TIME)
    }

    /// Says that one knows the messages about traces.
    pub fn with_traces(self) -> Self {
        self.with(Self::TRACES, &1u8)
    }

    /// True if the peer knows the messages about traces, which an older program does not.
    pub fn traces(&self) -> bool {
        self.get::<u8>(Self::TRACES).is_some()
    }

    /// Adds a value under a number.
    pub fn with(mut self, number: u16, value: &impl Encode) -> Self {
        self.0.push(Extension { number, body: codec::encode(value) });
        self
    }

    /// The first value under a number; `None` if there is none, or one of another form.
    fn get<T: for<'de> codec::BorrowDecode<'de, ()>>(&self, number: u16) -> Option<T> {
        let extension = self.0.iter().find(|extension| extension.number == number)?;
        codec::decode::<T, { crate::limits::CONTROL_DECODED_BYTES_MAX }>(&extension.body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_that_is_not_known_is_passed_over() {
        let newer = Extensions::default().with(999, &[7u8; 100].as_slice()).with_software("2.0");
        let received: Extensions =
            codec::decode::<_, { crate::limits::CONTROL_DECODED_BYTES_MAX }>(&codec::encode(&newer)).unwrap();
        assert_eq!(received.software().as_deref(), Some("2.0"));
        assert_eq!(Extensions::default().software(), None);
    }

    #[test]
    fn a_time_is_what_the_peer_said_and_none_if_it_said_something_else() {
        let told = Extensions::default().with_software("0.1.0").with_unix_time(u64::MAX);
        assert_eq!((told.unix_time(), told.software().as_deref()), (Some(u64::MAX), Some("0.1.0")));
        assert_eq!(Extensions::default().with_software("0.1.0").unix_time(), None);
        let text = Extensions::default().with(Extensions::UNIX_TIME, &"noon");
        assert_eq!(text.unix_time(), None, "it is no number");
    }

    #[test]
    fn a_version_that_a_terminal_would_obey_is_not_shown() {
        for version in ["\u{1b}[2J", &"9".repeat(NAME_BYTES_MAX + 1)] {
            assert_eq!(Extensions::default().with_software(version).software(), None);
        }
        let number = Extensions::default().with(Extensions::SOFTWARE, &7u64);
        assert_eq!(number.software(), None, "it is no text");
    }
}
