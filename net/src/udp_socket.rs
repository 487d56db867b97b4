//! The UDP socket under an endpoint, with fewer system calls than quinn's own.
//!
//! That one asks once more after each datagram whether there is another, though a read of many at once that brings fewer has
//! said so. And it is told each time when the system has delivered what it sent, which wakes its thread for nothing: here the
//! system tells of room for sending only when there was none.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket of this machine.
#[derive(Debug)]
pub(crate) struct SystemSocket {
    socket: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// There was no room for the last datagram.
    is_full: AtomicBool,
    /// The same socket once more, to be told of room.
    other: Arc<UdpSocket>,
    /// While anybody waits for room.
    room: Mutex<Weak<RoomWatch>>,
}

/// The system tells of room for sending.
type RoomWatch = AsyncFd<Arc<UdpSocket>>;

impl SystemSocket {
    /// Takes over a socket, in the runtime that is to drive it.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            other: Arc::new(socket.try_clone()?),
            socket: watch(socket, Interest::READABLE)?,
            is_full: AtomicBool::new(false),
            room: Mutex::default(),
        })
    }

    /// Has the system tell of room, to all who wait for it at the same time.
    fn watch_room(&self) -> io::Result<Arc<RoomWatch>> {
        let mut room = self.room.lock();
        if let Some(watched) = room.upgrade() {
            return Ok(watched);
        }
        let watched = Arc::new(watch(self.other.clone(), Interest::WRITABLE)?);
        *room = Arc::downgrade(&watched);
        Ok(watched)
    }
}

/// Has the system tell the present runtime of `interest`.
#[expect(deprecated, reason = "the unsafe function beside it is for types whose descriptor may change")]
fn watch<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

/// True if a read that brought `read` datagrams, where there was room for `room`, found no more. Only on Linux are several
/// read in one call.
fn is_drained(read: usize, room: usize) -> bool {
    cfg!(target_os = "linux") && read < room
}

impl AsyncUdpSocket for SystemSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritePoller { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let sent = self.state.send(self.socket.get_ref().into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.is_full.store(true, Ordering::Relaxed);
        }
        sent
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readable = ready!(self.socket.poll_read_ready(cx))?;
            match self.state.recv(self.socket.get_ref().into(), bufs, meta) {
                Ok(read) => {
                    if is_drained(read, bufs.len().min(meta.len())) {
                        // Unless the system has told of another datagram since it was found readable.
                        readable.clear_ready();
                    }
                    return Poll::Ready(Ok(read));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => readable.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.get_ref().local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

/// Waits, for one connection, until the socket takes another datagram.
struct WritePoller {
    socket: Arc<SystemSocket>,
    waiting: Option<Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>>,
}

/// Ready when the system has told of room since this was first polled, or earlier if nobody has waited for it then.
async fn room(watched: Arc<RoomWatch>) -> io::Result<()> {
    // The next who finds the socket full waits for what the system tells after that.
    watched.writable().await?.clear_ready();
    Ok(())
}

impl UdpPoller for WritePoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, waiting } = &mut *self;
        if !socket.is_full.load(Ordering::Relaxed) {
            *waiting = None;
            return Poll::Ready(Ok(()));
        }
        let waits = match waiting {
            Some(waits) => waits,
            None => match socket.watch_room() {
                Ok(watched) => waiting.insert(Box::pin(room(watched))),
                Err(_) => {
                    // The connection would end by an error. It tries again as soon as others have had their turn.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            },
        };
        let told = ready!(waits.as_mut().poll(cx));
        *waiting = None;
        // Another connection may find it full again, and will wait then.
        socket.is_full.store(false, Ordering::Relaxed);
        Poll::Ready(told)
    }
}

impl fmt::Debug for WritePoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritePoller").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Reads once, with room for `room` datagrams; the first byte of each.
    async fn read(socket: &SystemSocket, room: usize) -> Vec<u8> {
        let mut buffers = vec![[0; 2048]; room];
        let mut meta = vec![RecvMeta::default(); room];
        let read = {
            let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            let reading = poll_fn(|cx| socket.poll_recv(cx, &mut slices, &mut meta));
            timeout(MINUTE, reading).await.unwrap().unwrap()
        };
        buffers.iter().take(read).map(|buffer| buffer[0]).collect()
    }

    #[tokio::test]
    async fn no_datagram_is_missed_whether_reads_are_full_or_not() {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let (sender, receiver) = (bind(), SystemSocket::new(bind()).unwrap());
        let address = receiver.local_addr().unwrap();
        let mut next = 0;
        for (sent, room) in [(1, 1), (1, 32), (3, 2), (5, 4), (1, 4), (33, 32), (2, 4)] {
            // Longer ones are not joined with those before by the system.
            let numbers: Vec<u8> = (next..next + sent).collect();
            for number in &numbers {
                sender.send_to(&vec![*number; 100 + usize::from(*number)], address).unwrap();
            }
            let mut got = Vec::new();
            while got.len() < numbers.len() {
                got.extend(read(&receiver, room).await);
            }
            assert_eq!(got, numbers);
            next += sent;
        }
        let mut buffer = [0; 8];
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let nothing = poll_fn(|cx| {
            Poll::Ready(receiver.poll_recv(cx, &mut slices, &mut [RecvMeta::default()]).is_pending())
        });
        assert!(nothing.await, "there is no other");
    }

    #[tokio::test]
    async fn who_finds_the_socket_full_waits_until_the_system_tells_of_room_and_all_who_wait_are_told() {
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let socket = Arc::new(SystemSocket::new(bound).unwrap());
        let [mut one, mut other] = [socket.clone(), socket.clone()].map(SystemSocket::create_io_poller);
        for _ in 0..3 {
            assert!(one.as_mut().poll_writable(&mut Context::from_waker(Waker::noop())).is_ready());
            // Nobody can fill a socket of this machine to itself.
            socket.is_full.store(true, Ordering::Relaxed);
            let waits = |poller: &mut Pin<Box<dyn UdpPoller>>| {
                poller.as_mut().poll_writable(&mut Context::from_waker(Waker::noop())).is_pending()
            };
            assert!(waits(&mut one) && waits(&mut other), "the system has told of nothing yet");
            timeout(MINUTE, poll_fn(|cx| one.as_mut().poll_writable(cx))).await.unwrap().unwrap();
            timeout(MINUTE, poll_fn(|cx| other.as_mut().poll_writable(cx))).await.unwrap().unwrap();
            assert!(socket.room.lock().upgrade().is_none(), "it goes on telling");
        }
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_datagram_that_comes_after_a_read_wakes_who_waits() {
        let bound = UdpSocket::bind("127.0.0.1:0").unwrap();
        bound.set_nonblocking(true).unwrap();
        let receiver = Arc::new(SystemSocket::new(bound).unwrap());
        let (address, sender) = (receiver.local_addr().unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        for number in 0..100 {
            let reading = tokio::spawn({
                let receiver = receiver.clone();
                async move { read(&receiver, 32).await }
            });
            tokio::task::yield_now().await;
            sender.send_to(&[number; 10], address).unwrap();
            assert_eq!(reading.await.unwrap(), [number]);
        }
    }
}
