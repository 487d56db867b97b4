//! A network path between a program and the manager, which can be cut, can change its port as a router does, and has
//! network conditions.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use crate::Dice;

/// A relay of datagrams for one program.
pub struct Relay {
    address: SocketAddr,
    path: Arc<RelayPath>,
}

/// Loss, delay, rate and packet size of a path, in each direction.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkConditions {
    /// Datagrams that are lost, in percent.
    pub loss: u32,
    /// Delay of each datagram.
    pub delay: Duration,
    /// Rate in bits per second; zero for no limit. A datagram that would wait more than a second for its turn is lost.
    pub bits: u64,
    /// Longest packet that passes, in bytes with its headers; zero for no limit. Longer ones are lost silently.
    pub packet: usize,
}

struct RelayPath {
    conditions: NetworkConditions,
    cut: AtomicBool,
    dropped: AtomicU64,
    moved: Notify,
}

impl Relay {
    /// Relays datagrams from one program to the manager at `manager`, and back.
    ///
    /// # Panics
    ///
    /// If loopback has no free port.
    pub async fn to(manager: &str) -> Self {
        Self::under_conditions(manager, NetworkConditions::default()).await
    }

    /// As [`Self::to`], under these network conditions.
    ///
    /// # Panics
    ///
    /// If loopback has no free port.
    pub async fn under_conditions(manager: &str, conditions: NetworkConditions) -> Self {
        let manager = manager.parse().unwrap();
        let near = bind().await;
        let address = near.local_addr().unwrap();
        let path = Arc::new(RelayPath {
            conditions,
            cut: AtomicBool::default(),
            dropped: AtomicU64::default(),
            moved: Notify::default(),
        });
        tokio::spawn(carry(near.into(), manager, Arc::clone(&path)));
        Self { address, path }
    }

    /// The address that the program must dial.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Drops every datagram from now on, both ways.
    pub fn cut(&self) {
        self.path.cut.store(true, Ordering::SeqCst);
    }

    /// Lets datagrams through again; returns how many were dropped meanwhile.
    pub fn mend(&self) -> u64 {
        self.path.cut.store(false, Ordering::SeqCst);
        self.path.dropped.swap(0, Ordering::SeqCst)
    }

    /// Sends from another port from now on, as a router does that has forgotten the old one.
    pub fn change_port(&self) {
        self.path.moved.notify_one();
    }
}

impl RelayPath {
    fn lets_through(&self) -> bool {
        let cut = self.cut.load(Ordering::SeqCst);
        if cut {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
        !cut
    }
}

/// One direction of the path; datagrams arrive in the order in which they were sent.
struct Lane {
    dice: Dice,
    conditions: NetworkConditions,
    /// When the last accepted datagram has passed at the path's rate.
    clear: Instant,
    arriving: mpsc::UnboundedSender<Parcel>,
}

struct Parcel {
    at: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    datagram: Vec<u8>,
}

/// Bytes of the IPv4 and UDP headers of a datagram.
const HEADERS: usize = 28;

impl Lane {
    fn new(seed: u64, conditions: NetworkConditions) -> Self {
        let (arriving, mut parcels) = mpsc::unbounded_channel::<Parcel>();
        tokio::spawn(async move {
            while let Some(parcel) = parcels.recv().await {
                // Even a sleep of no length would take a millisecond.
                if parcel.at > Instant::now() {
                    sleep_until(parcel.at).await;
                }
                // A datagram that cannot be sent counts as lost.
                let _ = parcel.socket.send_to(&parcel.datagram, parcel.to).await;
            }
        });
        Self { dice: Dice::new(seed), conditions, clear: Instant::now(), arriving }
    }

    fn carry(&mut self, datagram: &[u8], socket: &Arc<UdpSocket>, to: SocketAddr) {
        let packet = datagram.len() + HEADERS;
        let too_long = self.conditions.packet > 0 && packet > self.conditions.packet;
        let now = Instant::now();
        let waits = self.clear.saturating_duration_since(now);
        if too_long || waits > Duration::from_secs(1) || self.dice.roll(100) < self.conditions.loss as usize {
            return;
        }
        let bits = packet as u64 * 8;
        let takes = bits.saturating_mul(1_000_000).checked_div(self.conditions.bits).unwrap_or_default();
        self.clear = self.clear.max(now) + Duration::from_micros(takes);
        let at = self.clear + self.conditions.delay;
        let parcel = Parcel { at, socket: socket.clone(), to, datagram: datagram.to_vec() };
        // Fails only while the runtime shuts down at the end of the test.
        let _ = self.arriving.send(parcel);
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn carry(near: Arc<UdpSocket>, manager: SocketAddr, path: Arc<RelayPath>) {
    let mut far = Arc::new(bind().await);
    let mut host = None;
    let seed = u64::from(near.local_addr().map_or(0, |address| address.port()));
    let (mut forth, mut back) = (Lane::new(seed, path.conditions), Lane::new(seed + 1, path.conditions));
    let (mut out, mut home) = ([0; 65_536], [0; 65_536]);
    loop {
        tokio::select! {
            Ok((length, from)) = near.recv_from(&mut out) => {
                host = Some(from);
                if path.lets_through() {
                    forth.carry(&out[..length], &far, manager);
                }
            }
            Ok((length, _)) = far.recv_from(&mut home) => {
                if let Some(host) = host
                    && path.lets_through()
                {
                    back.carry(&home[..length], &near, host);
                }
            }
            () = path.moved.notified() => far = Arc::new(bind().await),
            else => return,
        }
    }
}
