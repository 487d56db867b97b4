//! Load shedding at a server's socket.
//!
//! A first datagram of a connection costs its sender nothing and the server ten times what it costs to drop it. In a
//! flood of them the system's buffer overflows, and drops datagrams of connections as readily as those of strangers.
//! So while they come faster than they are processed, most datagrams of strangers are dropped unread, which keeps the
//! buffer from overflowing: connections, and newcomers who have proved their address, do not notice the flood.
//!
//! What is not defended against: a flood that is addressed to a connection's id, which its sender must have been given.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_proto::{ConnectionId, ConnectionIdGenerator as _, HashedConnectionIdGenerator};

/// Datagrams of strangers that are processed before shedding starts, unless the socket was empty meanwhile.
const STRANGERS_AT_ONCE: u32 = 1024;

/// Interval at which a stranger's datagram is processed even then, so that a newcomer who tries again gets in
/// however long the server is busy.
const STRANGER_INTERVAL: Duration = Duration::from_millis(1);

/// Length of the connection ids that this server gives out, in bytes.
const ID_BYTES: usize = 8;

/// Decides which datagrams are dropped.
#[derive(Debug)]
struct Shedder {
    /// Key of the connection ids that this server gives out.
    id_key: u64,
    /// Datagrams of strangers that were processed since the socket was empty.
    strangers: u32,
    /// When the next stranger's datagram is processed during shedding.
    next_stranger: Instant,
}

impl Shedder {
    fn new(id_key: u64, now: Instant) -> Self {
        Self { id_key, strangers: 0, next_stranger: now }
    }

    /// The socket is empty: everything that came has been processed.
    fn emptied(&mut self) {
        self.strangers = 0;
    }

    /// True if a datagram is to be dropped.
    fn drops(&mut self, datagram: &[u8], now: Instant) -> bool {
        if self.gave_out(destination(datagram)) {
            return false;
        }
        if self.strangers < STRANGERS_AT_ONCE {
            self.strangers += 1;
            return false;
        }
        if now >= self.next_stranger {
            self.next_stranger = now + STRANGER_INTERVAL;
            return false;
        }
        true
    }

    /// True if this server gave out a connection id: in a retry, or within a connection.
    fn gave_out(&self, id: Option<&[u8]>) -> bool {
        let ids = HashedConnectionIdGenerator::from_key(self.id_key);
        id.is_some_and(|id| id.len() == ID_BYTES && ids.validate(&ConnectionId::new(id)).is_ok())
    }
}

/// The connection id that a datagram is addressed to (RFC 8999, 5): after a flag byte, or after the version and a
/// byte of length.
fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let has_long_header = datagram.first()? & 0x80 != 0;
    if has_long_header {
        let length = usize::from(*datagram.get(5)?);
        datagram.get(6..)?.get(..length)
    } else {
        datagram.get(1..)?.get(..ID_BYTES)
    }
}

/// A server's socket that sheds load.
#[derive(Debug)]
pub(crate) struct SheddingSocket {
    socket: Arc<dyn AsyncUdpSocket>,
    shedder: Mutex<Shedder>,
}

impl SheddingSocket {
    /// Wraps a socket; `id_key` is the key of the connection ids that the server gives out.
    pub(crate) fn new(socket: Arc<dyn AsyncUdpSocket>, id_key: u64) -> Self {
        Self { socket, shedder: Mutex::new(Shedder::new(id_key, Instant::now())) }
    }
}

impl AsyncUdpSocket for SheddingSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        self.socket.clone().create_io_poller()
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.socket.try_send(transmit)
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let received = self.socket.poll_recv(cx, buffers, meta);
        let mut shedder = self.shedder.lock();
        match received {
            Poll::Pending => shedder.emptied(),
            Poll::Ready(Ok(count)) => {
                let now = Instant::now();
                for (buffer, meta) in buffers.iter().zip(meta).take(count) {
                    // Datagrams that the system has joined are of one sender, and share a fate.
                    let datagram = buffer.get(..meta.len.min(meta.stride)).unwrap_or_default();
                    if shedder.drops(datagram, now) {
                        // Quinn passes over a datagram of no bytes, and counts it towards the time that it takes.
                        meta.len = 0;
                    }
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        received
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.socket.max_transmit_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.socket.max_receive_segments()
    }

    fn may_fragment(&self) -> bool {
        self.socket.may_fragment()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: u64 = 7;

    /// A first datagram of a connection: long header, an id of 20 bytes that its sender chose.
    fn newcomer() -> Vec<u8> {
        let mut datagram = vec![0xc3, 0, 0, 0, 1, 20];
        datagram.resize(1200, 0x5a);
        datagram
    }

    /// A datagram that is addressed to an id that the server gave out, in a short or a long header.
    fn addressed(long: bool) -> Vec<u8> {
        let id = HashedConnectionIdGenerator::from_key(KEY).generate_cid();
        let mut datagram = if long { vec![0xe3, 0, 0, 0, 1, 8] } else { vec![0x43] };
        datagram.extend_from_slice(&id);
        datagram.resize(40, 1);
        datagram
    }

    fn busy(now: Instant) -> Shedder {
        let mut shedder = Shedder::new(KEY, now);
        for _ in 0..=STRANGERS_AT_ONCE {
            assert!(!shedder.drops(&newcomer(), now));
        }
        shedder
    }

    #[test]
    fn strangers_are_dropped_while_they_come_faster_than_they_are_processed() {
        let now = Instant::now();
        let mut shedder = busy(now);
        assert!(shedder.drops(&newcomer(), now));
        assert!(shedder.drops(&[0x43; 30], now));
        assert!(shedder.drops(&[], now));
        shedder.emptied();
        assert!(!shedder.drops(&newcomer(), now));
    }

    #[test]
    fn who_has_an_id_of_the_server_is_never_dropped() {
        let now = Instant::now();
        let mut shedder = busy(now);
        for long in [false, true] {
            assert!(!shedder.drops(&addressed(long), now));
        }
    }

    #[test]
    fn a_stranger_a_millisecond_is_processed_however_long_it_lasts() {
        let now = Instant::now();
        let mut shedder = busy(now);
        for millisecond in 1..100 {
            let now = now + Duration::from_millis(millisecond);
            assert!(!shedder.drops(&newcomer(), now));
            assert!(shedder.drops(&newcomer(), now));
        }
    }
}
