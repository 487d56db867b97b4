//! Known managers: the keys of managers that were reached by a bare address, trusted on first use.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grid_disk::{DiskError, replace};
use grid_protocol::key::PublicKey;
use grid_protocol::ticket::ManagerAddress;
use tokio::task::JoinSet;

use crate::conn::Conn;
use crate::endpoint::{DialError, Endpoint};
use crate::tls::{Alpn, Expect};

/// Time after which the next address is dialled while the ones before have not answered: a name may resolve to several
/// addresses, and nobody may answer at the first. RFC 8305 calls it the connection attempt delay.
const NEXT_DIAL_PAUSE: Duration = Duration::from_millis(250);

/// Keys of managers by address, kept in a text file, as in ssh's `known_hosts`.
#[derive(Debug)]
pub struct KnownManagers {
    file: PathBuf,
    keys: BTreeMap<String, PublicKey>,
}

/// Why the key at an address is not trusted, or could not be read or stored: the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownManagersError {
    /// The manager showed another key than before: it was set up anew, or somebody impersonates it.
    #[error(
        "the manager at {address} has another key than before: it was {} and is now {}",
        known.fingerprint(), shown.fingerprint()
    )]
    Changed {
        /// The address that was dialled.
        address: String,
        /// The key that is known for the address.
        known: PublicKey,
        /// The key that the manager showed.
        shown: PublicKey,
        /// The file that holds the known key.
        file: PathBuf,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A line of the file is malformed.
    #[error("{}: line {line} is not `address key`", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
    },
}

/// Why a manager was not reached.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// No address could be resolved and dialled; the caller may retry.
    #[error("{0}")]
    Silent(String),
    /// The manager's key is not the one that was given with its address.
    #[error("{0}")]
    WrongKey(DialError),
    /// The key at a bare address is not the known one, or a new key cannot be stored.
    #[error(transparent)]
    Stranger(#[from] KnownManagersError),
}

impl KnownManagers {
    /// Dials the addresses of a manager concurrently, each 250 ms after the one before or as soon as a dial has failed,
    /// and returns the first connection.
    ///
    /// If no key was given or known for the address, any key is trusted and stored, and the address is returned too.
    ///
    /// # Errors
    ///
    /// [`ReachError::Silent`] if no address can be reached, which may pass; [`ReachError::WrongKey`] or
    /// [`ReachError::Stranger`] at the first wrong key, or if the key cannot be stored, when somebody must act.
    pub async fn reach(
        &mut self,
        endpoint: &Endpoint,
        manager: &ManagerAddress,
        alpn: Alpn,
    ) -> Result<(Conn, Option<String>), ReachError> {
        let mut last = "the manager has no address".to_owned();
        let mut sockets = Vec::new();
        for address in manager.addresses() {
            match tokio::net::lookup_host(address).await {
                Ok(resolved) => sockets.extend(resolved.map(|socket| (address, socket))),
                Err(error) => last = format!("{address}: {error}"),
            }
        }
        let (mut sockets, mut dials) = (sockets.into_iter(), JoinSet::new());
        loop {
            if let Some((address, socket)) = sockets.next() {
                let known = manager.key().or_else(|| self.key(address));
                let expect = known.map_or(Expect::Anybody, Expect::Key);
                let (endpoint, address) = (endpoint.clone(), address.clone());
                dials.spawn(async move { (address, known, endpoint.dial(socket, alpn, expect).await) });
            }
            let dialled = tokio::select! {
                biased;
                dialled = dials.join_next() => dialled,
                () = tokio::time::sleep(NEXT_DIAL_PAUSE), if sockets.len() > 0 => continue,
            };
            match dialled {
                None => return Err(ReachError::Silent(last)),
                Some(Ok((_, Some(_), Ok(conn)))) => return Ok((conn, None)),
                Some(Ok((address, None, Ok(conn)))) => {
                    self.remember(&address, conn.peer())?;
                    return Ok((conn, Some(address)));
                }
                Some(Ok((address, _, Err(DialError::WrongKey { expected, shown, .. }))))
                    if manager.key().is_none() =>
                {
                    let file = self.file.clone();
                    let changed = KnownManagersError::Changed { address, known: expected, shown, file };
                    return Err(changed.into());
                }
                Some(Ok((_, _, Err(error @ DialError::WrongKey { .. })))) => {
                    return Err(ReachError::WrongKey(error));
                }
                Some(Ok((_, _, Err(error)))) => last = error.to_string(),
                Some(Err(error)) => last = error.to_string(),
            }
        }
    }

    /// Reads the known managers from a file. A missing file counts as empty.
    ///
    /// # Errors
    ///
    /// [`KnownManagersError`] if the file cannot be read, or a line of it is malformed.
    pub fn open(file: &Path) -> Result<Self, KnownManagersError> {
        let mut keys = BTreeMap::new();
        let text = grid_disk::read_text(file)?;
        for (place, line) in text.lines().enumerate() {
            let wrong = || KnownManagersError::Line { path: file.to_path_buf(), line: place + 1 };
            let (address, key) = line.split_once(' ').ok_or_else(wrong)?;
            keys.insert(address.to_owned(), key.parse().map_err(|_| wrong())?);
        }
        Ok(Self { file: file.to_path_buf(), keys })
    }

    /// The key that is known for `address`.
    pub fn key(&self, address: &str) -> Option<PublicKey> {
        self.keys.get(address).copied()
    }

    /// Stores the key of `address` durably, in place of the one known before, if any.
    ///
    /// # Errors
    ///
    /// [`KnownManagersError::Disk`] if the file cannot be written; the key is then known until the program ends.
    pub fn remember(&mut self, address: &str, key: PublicKey) -> Result<(), KnownManagersError> {
        self.keys.insert(address.to_owned(), key);
        let lines: String = self.keys.iter().map(|(address, key)| format!("{address} {key}\n")).collect();
        Ok(replace(&self.file, lines.as_bytes())?)
    }

    /// The file that holds the known managers.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
