//! A path between a program and the manager: it can be cut, it can change its port as a router does, and it has conditions.

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

/// What a path does to datagrams, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct NetworkConditions {
    /// Datagrams that are lost, in a hundred.
    pub loss: u32,
    /// How long each is under way.
    pub delay: Duration,
    /// Bits a second that pass; zero for all. What does not wait at most a second in front of it is lost.
    pub bits: u64,
    /// The longest packet that passes, in bytes, with its headers; zero for all. Longer ones are lost without a word.
    pub packet: usize,
}

struct RelayPath {
    conditions: NetworkConditions,
    cut: AtomicBool,
    dropped: AtomicU64,
    moved: Notify,
}

impl Relay {
    /// Relays what comes from one program to the manager at `manager`, and back.
    ///
    /// # Panics
    ///
    /// If loopback has no free port.
    pub async fn to(manager: &str) -> Self {
        Self::under_conditions(manager, NetworkConditions::default()).await
    }

    /// As [`Self::to`], and not as fast and as sure as loopback.
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

    /// Where the program finds the relay.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Drops every datagram from now on, both ways.
    pub fn cut(&self) {
        self.path.cut.store(true, Ordering::SeqCst);
    }

    /// Lets datagrams through again; how many were dropped meanwhile.
    pub fn mend(&self) -> u64 {
        self.path.cut.store(false, Ordering::SeqCst);
        self.path.dropped.swap(0, Ordering::SeqCst)
    }

    /// Goes on from another port, as when a router forgets the old one.
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

/// One direction: what is on its way arrives in order.
struct Lane {
    dice: Dice,
    conditions: NetworkConditions,
    /// When the last that was let in is through the narrow place.
    clear: Instant,
    arriving: mpsc::UnboundedSender<Parcel>,
}

struct Parcel {
    at: Instant,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    datagram: Vec<u8>,
}

/// What a datagram has in front of it on its way: an IP header of version 4, and that of UDP.
const HEADERS: usize = 28;

impl Lane {
    fn new(seed: u64, conditions: NetworkConditions) -> Self {
        let (arriving, mut parcels) = mpsc::unbounded_channel::<Parcel>();
        tokio::spawn(async move {
            while let Some(parcel) = parcels.recv().await {
                // Who sleeps for no time sleeps for a millisecond.
                if parcel.at > Instant::now() {
                    sleep_until(parcel.at).await;
                }
                // A datagram that cannot be sent is lost, as any may be.
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
        // The runtime is going down with the test.
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
