//! A simulated network: it loses, delays and reorders datagrams, and keeps a trace of all of them.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use grid_net::{Datagrams, Network, SimulatedNetwork};
use grid_tests::Dice;
use turmoil::net::UdpSocket;

/// Shared by all nodes: the network's loss, and the trace of what was sent.
#[derive(Debug, Default)]
pub struct SharedNetwork {
    /// Datagrams that are lost, per thousand.
    pub loss: AtomicU64,
    trace: Mutex<(u64, u64)>,
}

impl SharedNetwork {
    /// Number of datagrams sent so far, and a hash of when each was sent, from where, to where, and its contents.
    pub fn trace(&self) -> (u64, u64) {
        *self.trace.lock().unwrap()
    }

    fn note(&self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        let micros = turmoil::sim_elapsed().unwrap_or_default().as_micros() as u64;
        let mut trace = self.trace.lock().unwrap();
        trace.0 += 1;
        let sealed =
            datagram.chunks(8).map(|bytes| bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        for word in [micros, address(from), address(to), datagram.len() as u64].into_iter().chain(sealed) {
            // FNV-1a, by words.
            trace.1 = (trace.1 ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn address(address: SocketAddr) -> u64 {
    let ip = match address.ip() {
        std::net::IpAddr::V4(ip) => u64::from(u32::from(ip)),
        std::net::IpAddr::V6(_) => 0,
    };
    ip << 16 | u64::from(address.port())
}

/// The network as one node sees it.
#[derive(Debug)]
struct NodeNetwork {
    dice: Mutex<Dice>,
    shared_network: Arc<SharedNetwork>,
}

/// Makes the network of a node.
pub fn network(seed: u64, shared_network: &Arc<SharedNetwork>) -> Network {
    Network::simulated(Arc::new(NodeNetwork {
        dice: Mutex::new(Dice::new(seed)),
        shared_network: shared_network.clone(),
    }))
}

impl SimulatedNetwork for NodeNetwork {
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Datagrams>> {
        if address.is_ipv6() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        // Ready on the first poll: nothing in it waits.
        let mut bind = pin!(UdpSocket::bind(address));
        let Poll::Ready(socket) = bind.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let socket = Arc::new(socket?);
        let inbox = Arc::new(Mutex::new(Inbox::default()));
        let (receiving, arrived) = (socket.clone(), inbox.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0; 65_535];
            while let Ok((length, from)) = receiving.recv_from(&mut buffer).await {
                let mut inbox = arrived.lock().unwrap();
                inbox.datagrams.push_back((buffer[..length].to_vec(), from));
                if let Some(waker) = inbox.waker.take() {
                    waker.wake();
                }
            }
        });
        let local = socket.local_addr()?;
        let dice = Mutex::new(Dice::new(self.dice.lock().unwrap().next_u64()));
        Ok(Box::new(NodeSocket { socket, inbox, local, dice, shared_network: self.shared_network.clone() }))
    }

    fn seed(&self) -> [u8; 32] {
        let mut seed = [0; 32];
        let mut dice = self.dice.lock().unwrap();
        for chunk in seed.chunks_mut(8) {
            chunk.copy_from_slice(&dice.next_u64().to_le_bytes());
        }
        seed
    }
}

#[derive(Debug, Default)]
struct Inbox {
    datagrams: VecDeque<(Vec<u8>, SocketAddr)>,
    waker: Option<Waker>,
}

struct NodeSocket {
    socket: Arc<UdpSocket>,
    inbox: Arc<Mutex<Inbox>>,
    local: SocketAddr,
    dice: Mutex<Dice>,
    shared_network: Arc<SharedNetwork>,
}

impl std::fmt::Debug for NodeSocket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeSocket").field("local", &self.local).finish_non_exhaustive()
    }
}

impl Datagrams for NodeSocket {
    fn send(&self, datagram: &[u8], to: SocketAddr) {
        self.shared_network.note(self.local, to, datagram);
        let roll = self.dice.lock().unwrap().roll(1000) as u64;
        if roll >= self.shared_network.loss.load(Ordering::Relaxed) {
            // A datagram that meets a full queue is lost, as on any network.
            let _ = self.socket.try_send_to(datagram, to);
        }
    }

    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut inbox = self.inbox.lock().unwrap();
        let Some((datagram, from)) = inbox.datagrams.pop_front() else {
            inbox.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        let length = datagram.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram[..length]);
        Poll::Ready(Ok((length, from)))
    }

    fn local_address(&self) -> SocketAddr {
        self.local
    }
}
