//! A path between a host and its manager that can be cut, and that can change its port as a router does.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::net::UdpSocket;
use tokio::sync::Notify;

/// A relay of datagrams for one host.
pub struct Relay {
    address: SocketAddr,
    path: Arc<Path>,
}

#[derive(Default)]
struct Path {
    cut: AtomicBool,
    dropped: AtomicU64,
    moved: Notify,
}

impl Relay {
    /// Relays what comes from one host to the manager at `manager`, and back.
    ///
    /// # Panics
    ///
    /// If loopback has no free port.
    pub async fn to(manager: &str) -> Self {
        let manager = manager.parse().unwrap();
        let near = bind().await;
        let address = near.local_addr().unwrap();
        let path = Arc::new(Path::default());
        tokio::spawn(carry(near, manager, Arc::clone(&path)));
        Self { address, path }
    }

    /// Where the host finds the relay.
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

impl Path {
    fn lets_through(&self) -> bool {
        let cut = self.cut.load(Ordering::SeqCst);
        if cut {
            self.dropped.fetch_add(1, Ordering::SeqCst);
        }
        !cut
    }
}

async fn bind() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap()
}

async fn carry(near: UdpSocket, manager: SocketAddr, path: Arc<Path>) {
    let mut far = bind().await;
    let mut host = None;
    let (mut out, mut back) = ([0; 65_536], [0; 65_536]);
    loop {
        // A datagram that cannot be sent is lost, as any may be.
        tokio::select! {
            Ok((length, from)) = near.recv_from(&mut out) => {
                host = Some(from);
                if path.lets_through() {
                    let _ = far.send_to(&out[..length], manager).await;
                }
            }
            Ok((length, _)) = far.recv_from(&mut back) => {
                if let Some(host) = host
                    && path.lets_through()
                {
                    let _ = near.send_to(&back[..length], host).await;
                }
            }
            () = path.moved.notified() => far = bind().await,
            else => return,
        }
    }
}
