//! A peer that says what it likes.

use std::net::SocketAddr;
use std::time::Duration;

use grid_net::{Alpn, CloseReason, Conn, Endpoint, Expect, RecvStream, SendStream, Timing};
use grid_protocol::client::{ClientGreeting, ClientHello, Reply, Request};
use grid_protocol::control::HostEnd;
use grid_protocol::extensions::Extensions;
use grid_protocol::host::{Greeting, Hello, HostCapacity, HostEvent, PROTOCOL_VERSION, Welcome};
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::limits::CONTROL_FRAME_BYTES_MAX;
use grid_protocol::ticket::ManagerAddress;
use grid_protocol::wire::Wire;
use grid_tests::Grid;

/// A peer with a key of its own.
pub(crate) struct Peer {
    endpoint: Endpoint,
    manager: SocketAddr,
}

impl Peer {
    /// A peer of whom the manager has never heard.
    pub(crate) fn stranger(grid: &Grid, seed: u8) -> Self {
        Self::with_key(grid, &SecretKey::from_seed(&[seed; 32]))
    }

    /// A client that the manager knows, with a home folder of this name.
    pub(crate) fn client(grid: &Grid, name: &str) -> Self {
        drop(grid.another_client(name));
        let key = std::fs::read(grid.folder(name).join("user.key")).unwrap();
        Self::with_key(grid, &SecretKey::from_seed(&key.try_into().unwrap()))
    }

    /// Its key.
    pub(crate) fn key(&self) -> PublicKey {
        self.endpoint.key()
    }

    /// As [`Self::stranger`], with a key of many, from an address of many.
    pub(crate) fn stranger_from(grid: &Grid, machine: u8, seed: u16) -> Self {
        let key = [seed.to_le_bytes(), *b"at"].concat().repeat(8);
        let key = SecretKey::from_seed(&key.try_into().unwrap());
        Self::from_address(grid, &key, [127, 0, 1, machine])
    }

    fn with_key(grid: &Grid, key: &SecretKey) -> Self {
        Self::from_address(grid, key, [127, 0, 0, 1])
    }

    fn from_address(grid: &Grid, key: &SecretKey, address: [u8; 4]) -> Self {
        let endpoint = Endpoint::dialer((address, 0).into(), key, Timing::default()).unwrap();
        Self { endpoint, manager: grid.bare_address().parse().unwrap() }
    }

    pub(crate) async fn dial(&self, alpn: Alpn) -> Conn {
        self.endpoint.dial(self.manager, alpn, Expect::Anybody).await.unwrap()
    }

    /// Dials as a host, and sends this as its hello.
    pub(crate) async fn say(&self, hello: &[u8]) -> (Conn, SendStream, RecvStream) {
        let conn = self.dial(Alpn::Host).await;
        let (mut send, recv) = conn.open_bi().await.unwrap();
        // It may have been sent away already.
        let _ = send.write_frame(hello, usize::MAX).await;
        (conn, send, recv)
    }

    /// Knocks as a client, and says this; what the manager answers.
    pub(crate) async fn greet(&self, hello: &ClientHello) -> (Conn, SendStream, RecvStream, ClientGreeting) {
        let conn = self.dial(Alpn::Client).await;
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.unwrap();
        let greeting = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await.unwrap();
        (conn, send, recv, ClientGreeting::from_body(&greeting).unwrap())
    }

    /// Is let in as a client that only makes requests.
    pub(crate) async fn enter(&self) -> (Conn, SendStream, RecvStream) {
        let extensions = Extensions::default();
        let hello = ClientHello { version: PROTOCOL_VERSION, proof: None, attach: None, extensions };
        let (conn, send, recv, greeting) = self.greet(&hello).await;
        assert!(matches!(greeting, ClientGreeting::Welcome { .. }), "{greeting:?}");
        (conn, send, recv)
    }
}

/// A host that is let in by a ticket, and reports what it likes.
pub(crate) struct HostPeer {
    pub(crate) conn: Conn,
    pub(crate) send: SendStream,
    pub(crate) control: HostEnd,
    recv: RecvStream,
    pub(crate) welcome: Welcome,
}

impl HostPeer {
    /// Joins by a ticket.
    pub(crate) async fn join(grid: &Grid, peer: &Peer) -> Self {
        let ManagerAddress::Ticket(ticket) = grid.ticket("host").parse().unwrap() else {
            panic!("it is no ticket");
        };
        let conn = peer.dial(Alpn::Host).await;
        let proof = Some(ticket.prove(&peer.key(), &conn.exporter()));
        Self::enter(conn, &Hello { proof, ..hello("liar") }).await
    }

    /// Comes in with this hello.
    pub(crate) async fn enter(conn: Conn, hello: &Hello) -> Self {
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.unwrap();
        let greeting = Greeting::from_body(&recv.read_frame(CONTROL_FRAME_BYTES_MAX).await.unwrap());
        let Ok(Greeting::Welcome(welcome)) = greeting else { panic!("{greeting:?}") };
        Self { conn, send, control: HostEnd::default(), recv, welcome }
    }

    /// Reports something; false if the manager has cut the connection.
    pub(crate) async fn report(&mut self, report: &HostEvent) -> bool {
        self.control.send(report);
        while let Some(frame) = self.control.poll_transmit() {
            if self.send.write_frame(&frame, CONTROL_FRAME_BYTES_MAX).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Takes orders until the manager has taken every report.
    pub(crate) async fn settle(&mut self) {
        while self.control.backlog() > 0 {
            let frame = self.recv.read_frame(CONTROL_FRAME_BYTES_MAX).await.unwrap();
            self.control.handle_frame(&frame).unwrap();
        }
    }
}

/// Waits until the manager has ended a connection; how it did.
pub(crate) async fn gone(conn: &Conn) -> CloseReason {
    let closed = tokio::time::timeout(Duration::from_secs(20), conn.closed()).await;
    closed.expect("the manager keeps the connection")
}

/// Begins a request, on a stream of its own.
pub(crate) async fn begin(conn: &Conn, request: &Request) -> (SendStream, RecvStream) {
    let (mut send, recv) = conn.open_bi().await.unwrap();
    send.write_frame(&request.to_body(), CONTROL_FRAME_BYTES_MAX).await.unwrap();
    (send, recv)
}

/// Makes a request.
pub(crate) async fn ask(conn: &Conn, request: &Request) -> Reply {
    let (mut send, mut recv) = begin(conn, request).await;
    send.finish().await;
    Reply::from_body(&recv.read_frame(CONTROL_FRAME_BYTES_MAX).await.unwrap()).unwrap()
}

/// What a host says first.
pub(crate) fn hello(name: &str) -> Hello {
    let capacity = HostCapacity {
        name: name.to_owned(),
        slots: 1,
        memory_bytes: 1 << 30,
        labels: Vec::new(),
        platform: String::new(),
        software: String::new(),
    };
    let extensions = Extensions::default();
    Hello { version: PROTOCOL_VERSION, capacity, proof: None, resume: None, extensions }
}
