//! Probing a manager: reaches it once, measures the way there and asks what it is, and changes nothing here or there. No ticket is
//! used up, no key is made or remembered.

mod dial;
mod greeting;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use grid_disk::{KeyFileError, load_key};
use grid_net::{
    BindError, Conn, Endpoint, KnownManagers, KnownManagersError, MTU_SOUGHT, PathFigures, Timing, code,
};
use grid_protocol::client::HostInfo;
use grid_protocol::host::JoinRefusal;
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::role::Roles;
use grid_protocol::ticket::ManagerAddress;
use tokio::time::timeout;

use dial::{Reached, first_reached};
use greeting::{broken, greeting};

/// A manager that was reached.
#[derive(Debug)]
#[non_exhaustive]
pub struct ReachedManager {
    /// Where it was reached.
    pub address: SocketAddr,
    /// The key that it proved.
    pub key: PublicKey,
    /// True if its key was expected: it was given with the address, or is remembered for it.
    pub is_known: bool,
    /// From the first datagram to the end of the handshake.
    pub handshake: Duration,
    /// The path to it, after at most [`PATH_TIME_MAX`] of trying longer datagrams; `None` if it was lost meanwhile.
    pub path: Option<PathFigures>,
    /// What it says to the user's key.
    pub greeting: Result<ManagerGreeting, GreetingError>,
}

/// What a manager says to a key that it lets in.
#[derive(Debug)]
#[non_exhaustive]
pub struct ManagerGreeting {
    /// What the key may do.
    pub roles: Roles,
    /// The version of the manager's software; `None` if it is too old to say.
    pub software: Option<String>,
    /// Its clock; `None` if it is too old to say.
    pub clock: Option<ClockReading>,
    /// The hosts, or why the manager does not list them.
    pub hosts: Result<Vec<HostInfo>, String>,
}

/// The clocks of two machines at the same moment, give or take half a round trip and half a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The manager's clock: time since 1970.
    pub manager: Duration,
    /// This machine's clock: time since 1970.
    pub here: Duration,
}

/// Why a manager that was reached does not talk to the user.
#[derive(Debug)]
#[non_exhaustive]
pub enum GreetingError {
    /// There is no key of the user yet; the first command that needs one makes it.
    NoKey,
    /// The user's key cannot be used.
    Key(KeyFileError),
    /// The manager does not let the key in.
    Refused(JoinRefusal),
    /// The connection was lost, or what came makes no sense.
    Broken(String),
}

/// Why no manager was reached.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProbeError {
    /// The file of known managers cannot be read.
    KnownManagers(KnownManagersError),
    /// This machine gives no UDP socket.
    Bind(BindError),
    /// Nowhere: what happened at each address, one at least.
    Unreached(Vec<UnreachedAddress>),
}

/// An address at which no manager was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachedAddress {
    /// The address as it was given, `HOST:PORT`.
    pub name: String,
    /// What it stands for, if that was found.
    pub address: Option<SocketAddr>,
    /// What happened.
    pub why: AddressFault,
}

/// What happened at an address where no manager was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressFault {
    /// The name stands for no address; the system's reason.
    Unresolved(String),
    /// This machine cannot send there; the system's reason.
    Unsent(String),
    /// Nothing came back.
    Silent,
    /// The network says that nothing listens there.
    Refused,
    /// Something answers, but not as a manager does; the reason.
    Unlike(String),
    /// A manager answers with another key than the expected one.
    WrongKey {
        /// The key that was given with the address, or is remembered for it.
        expected: PublicKey,
        /// The key that the manager proved.
        shown: PublicKey,
    },
}

/// Time limit of a handshake: four round trips of a second, and lost datagrams.
pub const REACH_TIME_MAX: Duration = Duration::from_secs(5);

/// Time limit of the greeting, and of the list of hosts.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(4);

/// Time limit of trying longer datagrams. With 100 ms a round trip and nothing lost it takes 0.6 s.
pub const PATH_TIME_MAX: Duration = Duration::from_secs(3);

/// Interval of looking how far that has come.
const PATH_INTERVAL: Duration = Duration::from_millis(10);

/// Reaches a manager once, with the key in the folder `home`, and says what was found on the way and there.
///
/// Of a ticket only the addresses and the manager's key are used. Every step has a limit of time, so that the answer comes within
/// 20 s, however little of it there is.
///
/// # Errors
///
/// [`ProbeError`], if no manager was reached. One that was reached and does not let the key in is no error.
pub async fn probe_manager(home: &Path, manager: &ManagerAddress) -> Result<ReachedManager, ProbeError> {
    let known = KnownManagers::open(&home.join("known-managers")).map_err(ProbeError::KnownManagers)?;
    let key = load_key(&home.join("user.key"));
    // A key for the handshake, which takes one; nobody gets to know it.
    let throwaway = || SecretKey::from_seed(&grid_disk::random().unwrap_or([1; 32]));
    let used = key.as_ref().map_or_else(|_| throwaway(), SecretKey::clone);
    let (any_v6, any_v4) = (SocketAddr::from(([0u16; 8], 0)), SocketAddr::from(([0u8; 4], 0)));
    let dialer = |any| Endpoint::dialer(any, &used, Timing::default());
    let endpoint = dialer(any_v6).or_else(|_| dialer(any_v4)).map_err(ProbeError::Bind)?;
    let reached = first_reached(&endpoint, manager, &known).await.map_err(ProbeError::Unreached)?;
    let greeting = async {
        let greeted = timeout(ANSWER_TIME_MAX, greeting(&reached.conn)).await;
        let greeted = greeted.unwrap_or_else(|_| Err(broken("no greeting came")));
        match (greeted, key) {
            (Err(GreetingError::Refused(_)), Err(KeyFileError::Disk(error)))
                if error.error.kind() == std::io::ErrorKind::NotFound =>
            {
                Err(GreetingError::NoKey)
            }
            (Err(GreetingError::Refused(_)), Err(error)) => Err(GreetingError::Key(error)),
            (greeted, _) => greeted,
        }
    };
    // Before the greeting: a manager that refuses the key ends the connection. It waits longer for a hello than this takes.
    let path = settled_path(&reached.conn).await;
    let greeting = greeting.await;
    let Reached { conn, address, is_known, handshake } = reached;
    let key = conn.peer();
    conn.close(code::DONE, "that was all");
    endpoint.wait_idle(Duration::from_secs(1)).await;
    Ok(ReachedManager { address, key, is_known, handshake, path, greeting })
}

/// The path's figures once the longest datagrams get through, or when the time is over.
async fn settled_path(conn: &Conn) -> Option<PathFigures> {
    let settled = async {
        while conn.path_figures().is_some_and(|path| path.mtu < MTU_SOUGHT) && conn.close_reason().is_none() {
            tokio::time::sleep(PATH_INTERVAL).await;
        }
    };
    // Whatever has been found until then counts.
    let _ = timeout(PATH_TIME_MAX, settled).await;
    conn.path_figures()
}
