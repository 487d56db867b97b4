//! KnownManagers: managers that were reached by a bare address, and the keys that they showed first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use grid_disk::{DiskError, replace};
use grid_net::{Alpn, Conn, DialError, Endpoint, Expect};
use grid_protocol::key::PublicKey;
use grid_protocol::ticket::ManagerAddress;
use tokio::task::JoinSet;

/// How long an address has for an answer before the next is dialled beside it: a name may stand for several, and the
/// first of them for nobody. RFC 8305 calls it the connection attempt delay.
const NEXT_DIAL_PAUSE: Duration = Duration::from_millis(250);

/// Keys by address, kept in a text file as ssh does.
#[derive(Debug)]
pub struct KnownManagers {
    file: PathBuf,
    keys: BTreeMap<String, PublicKey>,
}

/// The key at an address is not to be trusted, or could not be remembered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownManagersError {
    /// Another key than last time: the manager was set up anew, or somebody stands in its place.
    #[error(
        "the manager at {address} has another key than before: it was {} and is now {}",
        known.fingerprint(), shown.fingerprint()
    )]
    Changed {
        /// Where.
        address: String,
        /// The key that is known.
        known: PublicKey,
        /// The key that was shown.
        shown: PublicKey,
        /// Where the known key is written down.
        file: PathBuf,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file cannot be read.
    #[error("{}: line {line} is not `address key`", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

/// A manager that was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// Nobody answers, for now.
    #[error("{0}")]
    Silent(String),
    /// The manager's key is not the one that was given.
    #[error("{0}")]
    WrongKey(DialError),
    /// The key at a bare address is not the one that is known, or cannot be remembered.
    #[error(transparent)]
    Stranger(#[from] KnownManagersError),
}

impl KnownManagers {
    /// Dials a manager at its addresses side by side, each a moment after the one before; the address too, if its key is new here and is
    /// remembered from now on.
    ///
    /// # Errors
    ///
    /// [`ReachError`]; all but [`ReachError::Silent`] will not pass by themselves.
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

    /// Reads the file, if there is one.
    ///
    /// # Errors
    ///
    /// [`KnownManagersError::Line`].
    pub fn open(file: &Path) -> Result<Self, KnownManagersError> {
        let mut keys = BTreeMap::new();
        // A file that is missing knows nobody; one that cannot be read cannot be written, which says why.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        for (place, line) in text.lines().enumerate() {
            let wrong = || KnownManagersError::Line { path: file.to_path_buf(), line: place + 1 };
            let (address, key) = line.split_once(' ').ok_or_else(wrong)?;
            keys.insert(address.to_owned(), key.parse().map_err(|_| wrong())?);
        }
        Ok(Self { file: file.to_path_buf(), keys })
    }

    /// The key that was seen at `address`.
    pub fn key(&self, address: &str) -> Option<PublicKey> {
        self.keys.get(address).copied()
    }

    /// Remembers a key.
    ///
    /// # Errors
    ///
    /// [`KnownManagersError::Disk`].
    pub fn remember(&mut self, address: &str, key: PublicKey) -> Result<(), KnownManagersError> {
        self.keys.insert(address.to_owned(), key);
        let lines: String = self.keys.iter().map(|(address, key)| format!("{address} {key}\n")).collect();
        Ok(replace(&self.file, lines.as_bytes())?)
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }
}
