//! Tickets: one line of text that lets a machine join the grid.
//!
//! The secret in a ticket never crosses the wire. The newcomer proves that it has the secret with a MAC over
//! both keys and the connection's TLS exporter, so a proof is worth nothing to another key, to another
//! manager or on another connection.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::codec::{self, Decode, Encode};
use crate::join::JoinRefusal;
use crate::key::PublicKey;
use crate::role::Role;
use crate::text::{self, TextError};

/// Identifies a ticket: 16 random bytes.
pub type TicketId = [u8; 16];

/// Number of addresses that a ticket may contain.
pub const TICKET_ADDRESSES_MAX: usize = 8;

/// The UDP port of a manager whose address names none.
pub const DEFAULT_PORT: u16 = 4747;

/// A ticket with its secret, to be pasted on the machine that joins.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Ticket {
    /// Where the manager listens, as `host:port`; the newcomer uses the first that answers.
    pub addresses: Vec<String>,
    /// The manager's key; a manager with another key at these addresses is refused.
    pub manager: PublicKey,
    /// The ticket's id.
    pub id: TicketId,
    /// The role that the ticket grants.
    pub role: Role,
    /// When the ticket expires, in seconds since 1970 on the manager's clock.
    pub expires: u64,
    secret: [u8; 32],
}

impl Ticket {
    const PREFIX: &'static str = "grid1";
    const BYTES_MAX: usize = 4096;
    const TEXT_MAX: usize = 2 * Self::BYTES_MAX;

    /// Makes a ticket. The caller draws `id` and `secret` from a cryptographic random source.
    pub fn new(
        addresses: Vec<String>,
        manager: PublicKey,
        role: Role,
        expires: u64,
        id: TicketId,
        secret: [u8; 32],
    ) -> Self {
        Self { addresses, manager, id, role, expires, secret }
    }

    /// What the manager keeps of the ticket, with its secret.
    pub fn record(&self) -> TicketRecord {
        TicketRecord {
            id: self.id,
            role: self.role,
            expires: self.expires,
            used_by: None,
            secret: self.secret,
        }
    }

    /// Proves to the ticket's manager that `newcomer` has the ticket. The proof is valid only on the
    /// connection that has this TLS `exporter`.
    pub fn prove(&self, newcomer: &PublicKey, exporter: &[u8; 32]) -> Proof {
        let mac = mac(&self.secret, &self.manager, newcomer, exporter).finalize().into_bytes();
        Proof { id: self.id, mac: mac.into() }
    }
}

impl fmt::Display for Ticket {
    /// Writes the line to paste, which contains the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(Self::PREFIX, &codec::encode(self)))
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("manager", &self.manager)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl FromStr for Ticket {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let bytes = text::read(Self::PREFIX, text, Self::TEXT_MAX)?;
        let ticket: Self =
            codec::decode::<_, { Self::BYTES_MAX }>(&bytes).map_err(|_| TextError::Contents)?;
        match ticket.addresses.len() {
            1..=TICKET_ADDRESSES_MAX => Ok(ticket),
            _ => Err(TextError::Contents),
        }
    }
}

/// Proves that somebody has a ticket, without revealing its secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Proof {
    /// The ticket's id.
    pub id: TicketId,
    /// HMAC-SHA256 under the ticket's secret, over both keys and the TLS exporter.
    pub mac: [u8; 32],
}

/// What a manager keeps of a ticket that it made.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct TicketRecord {
    /// The ticket's id.
    pub id: TicketId,
    /// The role that the ticket grants.
    pub role: Role,
    /// When the ticket expires, in seconds since 1970.
    pub expires: u64,
    /// The key that used the ticket. The same key may use it again, even when it has expired; no other may.
    pub used_by: Option<PublicKey>,
    secret: [u8; 32],
}

impl fmt::Debug for TicketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketRecord")
            .field("role", &self.role)
            .field("used_by", &self.used_by)
            .finish_non_exhaustive()
    }
}

impl TicketRecord {
    /// Checks a newcomer's proof at `now` (seconds since 1970); returns the role that the ticket grants.
    ///
    /// The caller sets `used_by` to `newcomer`, durably, before it admits the newcomer.
    ///
    /// # Errors
    ///
    /// [`JoinRefusal`]: the proof is wrong, the ticket has expired, or another key has used it.
    pub fn check(
        &self,
        proof: &Proof,
        manager: &PublicKey,
        newcomer: &PublicKey,
        exporter: &[u8; 32],
        now: u64,
    ) -> Result<Role, JoinRefusal> {
        // In constant time, and first, so that nobody without the secret learns anything about the ticket.
        mac(&self.secret, manager, newcomer, exporter)
            .verify_slice(&proof.mac)
            .map_err(|_| JoinRefusal::WrongProof)?;
        match self.used_by {
            Some(by) if by == *newcomer => Ok(self.role),
            Some(by) => Err(JoinRefusal::TicketUsed { by }),
            None if self.expires <= now => Err(JoinRefusal::TicketExpired { at: self.expires }),
            None => Ok(self.role),
        }
    }
}

fn mac(secret: &[u8; 32], manager: &PublicKey, newcomer: &PublicKey, exporter: &[u8; 32]) -> Hmac<Sha256> {
    // HMAC pads a key that is shorter than its block of 64 bytes with zeros.
    let mut block = Zeroizing::new([0; 64]);
    for (padded, byte) in block.iter_mut().zip(secret) {
        *padded = *byte;
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&(*block).into());
    for part in [b"grid-ticket/1\0".as_slice(), manager.as_bytes(), newcomer.as_bytes(), exporter] {
        mac.update(part);
    }
    mac
}

/// What `--manager` accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManagerAddress {
    /// A ticket: gives the manager's key, and lets its bearer join.
    Ticket(Ticket),
    /// A manager's key and address. The newcomer waits for approval, unless the manager knows its key.
    Pinned {
        /// The manager's key.
        key: PublicKey,
        /// Where the manager listens, as `host:port`.
        address: String,
    },
    /// An address alone: the key found there is trusted on first use.
    Bare {
        /// Where the manager listens, as `host:port`.
        address: String,
    },
}

impl ManagerAddress {
    /// The addresses to try, in order.
    pub fn addresses(&self) -> &[String] {
        match self {
            Self::Ticket(ticket) => &ticket.addresses,
            Self::Pinned { address, .. } | Self::Bare { address } => core::slice::from_ref(address),
        }
    }

    /// The manager's key, if it is given.
    pub fn key(&self) -> Option<PublicKey> {
        match self {
            Self::Ticket(ticket) => Some(ticket.manager),
            Self::Pinned { key, .. } => Some(*key),
            Self::Bare { .. } => None,
        }
    }
}

/// The text does not name a manager; whoever typed it must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseManagerError {
    /// It begins like a ticket and cannot be decoded.
    #[error("the ticket cannot be read: {0}")]
    Ticket(TextError),
    /// It has a key in front of the address that cannot be decoded.
    #[error("the manager's key cannot be read: {0}")]
    Key(TextError),
    /// The address is not valid.
    #[error("`{address}` is no address: write host:port, as in 192.0.2.7:4747")]
    Address {
        /// The text that was given.
        address: String,
    },
}

impl FromStr for ManagerAddress {
    type Err = ParseManagerError;

    fn from_str(text: &str) -> Result<Self, ParseManagerError> {
        let text = text.trim();
        if text.starts_with(Ticket::PREFIX) && !text.contains([':', '.', '@']) {
            return text.parse().map(Self::Ticket).map_err(ParseManagerError::Ticket);
        }
        match text.split_once('@') {
            Some((key, address)) => Ok(Self::Pinned {
                key: key.parse().map_err(ParseManagerError::Key)?,
                address: with_port(address)?,
            }),
            None => Ok(Self::Bare { address: with_port(text)? }),
        }
    }
}

fn with_port(address: &str) -> Result<String, ParseManagerError> {
    let wrong = || ParseManagerError::Address { address: String::from(address) };
    let bracketed = address.starts_with('[');
    let colon = match (bracketed, address.rfind(':'), address.rfind(']')) {
        (true, Some(colon), Some(end)) => (colon > end).then_some(colon),
        (true, _, None) => return Err(wrong()),
        (false, colon, _) => colon,
        (true, None, Some(_)) => None,
    };
    let (host, port) = match colon {
        Some(colon) => {
            let port =
                address.get(colon + 1..).and_then(|port| port.parse::<u16>().ok()).ok_or_else(wrong)?;
            (address.get(..colon).unwrap_or_default(), port)
        }
        None => (address, DEFAULT_PORT),
    };
    let printable = host.chars().all(|letter| letter.is_ascii_graphic());
    if host.is_empty() || host.len() > crate::limits::NAME_BYTES_MAX || !printable {
        return Err(wrong());
    }
    if !bracketed && host.contains(':') {
        return Err(wrong());
    }
    Ok(alloc::format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SecretKey;
    use alloc::string::ToString;
    use alloc::vec;

    fn public(seed: u8) -> PublicKey {
        SecretKey::from_seed(&[seed; 32]).public()
    }

    fn ticket() -> Ticket {
        Ticket::new(vec!["192.0.2.7:4747".into()], public(1), Role::Host, 1000, [5; 16], [6; 32])
    }

    const EXPORTER: [u8; 32] = [9; 32];

    #[test]
    fn a_ticket_reads_back_as_it_was_written() {
        let ticket = ticket();
        assert_eq!(ticket.to_string().parse(), Ok(ManagerAddress::Ticket(ticket)));
    }

    #[test]
    fn a_ticket_cut_short_or_mistyped_is_refused() {
        let text = ticket().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Ticket>().is_err(), "{end}");
        }
    }

    #[test]
    fn the_secret_is_in_no_debug_output() {
        let secret = alloc::format!("{:?}", [6; 32]);
        assert!(!alloc::format!("{:?}{:?}", ticket(), ticket().record()).contains(&secret[1..9]));
    }

    #[test]
    fn a_proof_fits_one_key_one_manager_and_one_connection() {
        let record = ticket().record();
        let proof = ticket().prove(&public(2), &EXPORTER);
        let check = |manager: u8, peer: u8, exporter: &[u8; 32]| {
            record.check(&proof, &public(manager), &public(peer), exporter, 0)
        };
        assert_eq!(check(1, 2, &EXPORTER), Ok(Role::Host));
        assert_eq!(check(3, 2, &EXPORTER), Err(JoinRefusal::WrongProof));
        assert_eq!(check(1, 3, &EXPORTER), Err(JoinRefusal::WrongProof));
        assert_eq!(check(1, 2, &[8; 32]), Err(JoinRefusal::WrongProof));
    }

    #[test]
    fn a_ticket_lets_one_key_in_as_often_as_it_likes_and_no_other() {
        let mut record = ticket().record();
        record.used_by = Some(public(2));
        let check = |seed| {
            let proof = ticket().prove(&public(seed), &EXPORTER);
            record.check(&proof, &public(1), &public(seed), &EXPORTER, 2000)
        };
        assert_eq!(check(2), Ok(Role::Host));
        assert_eq!(check(3), Err(JoinRefusal::TicketUsed { by: public(2) }));
    }

    #[test]
    fn an_expired_ticket_lets_nobody_in() {
        let proof = ticket().prove(&public(2), &EXPORTER);
        let checked = ticket().record().check(&proof, &public(1), &public(2), &EXPORTER, 1000);
        assert_eq!(checked, Err(JoinRefusal::TicketExpired { at: 1000 }));
    }

    #[test]
    fn what_manager_takes_is_told_apart_and_gets_its_port() {
        let bare = |address: &str| Ok(ManagerAddress::Bare { address: address.into() });
        assert_eq!("lab.example".parse(), bare("lab.example:4747"));
        assert_eq!("192.0.2.7:99".parse(), bare("192.0.2.7:99"));
        assert_eq!("[::1]".parse(), bare("[::1]:4747"));
        assert_eq!("[::1]:5".parse(), bare("[::1]:5"));
        let pinned = alloc::format!("{}@lab:1", public(1));
        let key = public(1);
        assert_eq!(pinned.parse(), Ok(ManagerAddress::Pinned { key, address: "lab:1".into() }));
        for wrong in ["", ":5", "a:b", "a:70000", "::1", "gk1x@lab", "[::1", "a b"] {
            assert!(wrong.parse::<ManagerAddress>().is_err(), "{wrong}");
        }
    }
}
