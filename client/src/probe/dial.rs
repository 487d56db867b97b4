//! Dialling every address of a manager, and telling apart why it is at none.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use grid_net::{Alpn, Conn, DialError, Endpoint, Expect, KnownManagers, UdpAnswer, ask_over_udp};
use grid_protocol::key::PublicKey;
use grid_protocol::ticket::ManagerAddress;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::probe::{AddressFault, REACH_TIME_MAX, UnreachedAddress};

/// Time limit of finding out what a name stands for.
const RESOLVE_TIME_MAX: Duration = Duration::from_secs(4);

/// Addresses of one name that are dialled: whoever answers for a name could name thousands.
const RESOLVED_MAX: usize = 16;

/// A connection, and how it came about.
pub(super) struct Reached {
    pub(super) conn: Conn,
    pub(super) address: SocketAddr,
    pub(super) is_known: bool,
    pub(super) handshake: Duration,
}

/// Dials all addresses of a manager together; the first connection counts. A wrong key ends it, as it does for every client.
pub(super) async fn first_reached(
    endpoint: &Endpoint,
    manager: &ManagerAddress,
    known: &KnownManagers,
) -> Result<Reached, Vec<UnreachedAddress>> {
    let (mut dials, mut faults) = (JoinSet::new(), Vec::new());
    for name in manager.addresses() {
        let expected = manager.key().or_else(|| known.key(name));
        let (endpoint, name) = (endpoint.clone(), name.clone());
        dials.spawn(async move { dial_name(&endpoint, name, expected).await });
    }
    while let Some(dialled) = dials.join_next().await {
        match dialled {
            Ok(Ok(reached)) => return Ok(reached),
            Ok(Err(found)) => faults.extend(found),
            // The task panicked, which it does not, or the runtime is ending.
            Err(_) => {}
        }
        if faults.iter().any(|fault| matches!(fault.why, AddressFault::WrongKey { .. })) {
            break;
        }
    }
    Err(faults)
}

/// Dials everything that a name stands for.
async fn dial_name(
    endpoint: &Endpoint,
    name: String,
    expected: Option<PublicKey>,
) -> Result<Reached, Vec<UnreachedAddress>> {
    let fault = |address, why| UnreachedAddress { name: name.clone(), address, why };
    let resolved = resolve(name.clone()).await;
    let resolved = resolved.map_err(|why| vec![fault(None, AddressFault::Unresolved(why))])?;
    let (mut dials, mut faults) = (JoinSet::new(), Vec::new());
    for address in resolved {
        let endpoint = endpoint.clone();
        dials.spawn(async move { (address, dial(&endpoint, address, expected).await) });
    }
    while let Some(dialled) = dials.join_next().await {
        match dialled {
            Ok((_, Ok(reached))) => return Ok(reached),
            Ok((address, Err(why))) => faults.push(fault(Some(address), why)),
            Err(_) => {}
        }
    }
    Err(faults)
}

/// Resolves a name on a thread of its own: the system's resolver can take longer than anybody waits, and a runtime would wait for
/// it at its end.
async fn resolve(name: String) -> Result<Vec<SocketAddr>, String> {
    let (tell, told) = oneshot::channel();
    let looking = std::thread::Builder::new().name("grid-resolve".to_owned()).spawn(move || {
        let found = name.to_socket_addrs().map(|found| found.take(RESOLVED_MAX).collect::<Vec<_>>());
        // Nobody may be waiting any more.
        let _ = tell.send(found.map_err(|error| error.to_string()));
    });
    looking.map_err(|error| format!("the system gives no thread: {error}"))?;
    match timeout(RESOLVE_TIME_MAX, told).await {
        Ok(Ok(Ok(found))) if found.is_empty() => Err("it stands for no address".to_owned()),
        Ok(Ok(found)) => found,
        Ok(Err(_)) => Err("the resolver gave up".to_owned()),
        Err(_) => Err(format!("no answer for {} s", RESOLVE_TIME_MAX.as_secs())),
    }
}

async fn dial(
    endpoint: &Endpoint,
    address: SocketAddr,
    expected: Option<PublicKey>,
) -> Result<Reached, AddressFault> {
    let begun = Instant::now();
    let expect = expected.map_or(Expect::Anybody, Expect::Key);
    let mut dialled = std::pin::pin!(timeout(REACH_TIME_MAX, endpoint.dial(address, Alpn::Client, expect)));
    let answer = tokio::select! {
        biased;
        dialled = &mut dialled => return dialled_at(begun, address, expected, dialled, None),
        answer = ask_over_udp(address, REACH_TIME_MAX) => answer,
    };
    match answer {
        Err(error) => Err(AddressFault::Unsent(error.to_string())),
        Ok(UdpAnswer::Refused) => Err(AddressFault::Refused),
        Ok(answer) => dialled_at(begun, address, expected, dialled.await, Some(answer)),
    }
}

/// What a dial came to; `answer` is what came over UDP beside it, if that is known.
fn dialled_at(
    begun: Instant,
    address: SocketAddr,
    expected: Option<PublicKey>,
    dialled: Result<Result<Conn, DialError>, Elapsed>,
    answer: Option<UdpAnswer>,
) -> Result<Reached, AddressFault> {
    match dialled {
        Ok(Ok(conn)) => {
            Ok(Reached { conn, address, is_known: expected.is_some(), handshake: begun.elapsed() })
        }
        Ok(Err(DialError::WrongKey { expected, shown, .. })) => {
            Err(AddressFault::WrongKey { expected, shown })
        }
        Ok(Err(DialError::Failed { reason, .. })) => Err(AddressFault::Unlike(reason)),
        Ok(Err(_)) | Err(_) if answer == Some(UdpAnswer::Answered) => {
            let seconds = REACH_TIME_MAX.as_secs();
            Err(AddressFault::Unlike(format!("it answers, but no handshake ends within {seconds} s")))
        }
        Ok(Err(_)) | Err(_) => Err(AddressFault::Silent),
    }
}
