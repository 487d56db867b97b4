//! The network of an endpoint: the system's, or a simulated one.

use std::fmt::Debug;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

/// Where sockets come from. Clones refer to the same network.
#[derive(Debug, Clone, Default)]
pub struct Network(pub(crate) Sockets);

#[derive(Debug, Clone, Default)]
pub(crate) enum Sockets {
    #[default]
    System,
    Quinn,
    Simulated(Arc<dyn SimulatedNetwork>),
}

/// A simulated network.
pub trait SimulatedNetwork: Debug + Send + Sync {
    /// Opens a socket.
    ///
    /// # Errors
    ///
    /// An error such as the system's would be.
    fn bind(&self, address: SocketAddr) -> io::Result<Box<dyn Datagrams>>;

    /// The seed of an endpoint's random numbers, secrets included: nothing on a simulated network is secret.
    fn seed(&self) -> [u8; 32];
}

/// A socket of a simulated network.
pub trait Datagrams: Debug + Send + Sync {
    /// Sends a datagram, or drops it.
    fn send(&self, datagram: &[u8], to: SocketAddr);

    /// Receives the next datagram: its length in `buffer`, and its sender.
    ///
    /// # Errors
    ///
    /// An error such as the system's would be.
    fn poll_receive(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>>;

    /// The address that the socket is bound to.
    fn local_address(&self) -> SocketAddr;
}

impl Network {
    /// A simulated network.
    pub fn simulated(network: Arc<dyn SimulatedNetwork>) -> Self {
        Self(Sockets::Simulated(network))
    }

    /// The network of this machine, through quinn's own sockets: a reference for measurements.
    pub fn through_quinns_sockets() -> Self {
        Self(Sockets::Quinn)
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self.0, Sockets::Simulated(_))
    }
}

/// Adapts a simulated socket to quinn.
#[derive(Debug)]
pub(crate) struct SimulatedSocket(pub(crate) Box<dyn Datagrams>);

impl AsyncUdpSocket for SimulatedSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let segment = transmit.segment_size.unwrap_or(transmit.contents.len()).max(1);
        for datagram in transmit.contents.chunks(segment) {
            self.0.send(datagram, transmit.destination);
        }
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut received = 0;
        for (buffer, meta) in buffers.iter_mut().zip(meta) {
            match self.0.poll_receive(cx, buffer) {
                Poll::Ready(Ok((len, addr))) => {
                    *meta = RecvMeta { addr, len, stride: len, ecn: None, dst_ip: None };
                    received += 1;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if received > 0 { Poll::Ready(Ok(received)) } else { Poll::Pending }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.0.local_address())
    }
}

#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
