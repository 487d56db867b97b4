//! A peer that says what it likes.

use std::net::SocketAddr;

use grid_net::{Alpn, Conn, Endpoint, Expect, RecvStream, SendStream, Timing};
use grid_protocol::client::{ClientGreeting, ClientHello, Reply, Request};
use grid_protocol::host::{Hello, Offer, PROTOCOL_VERSION};
use grid_protocol::key::SecretKey;
use grid_protocol::limits::CONTROL_FRAME_BYTES_MAX;
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

    fn with_key(grid: &Grid, key: &SecretKey) -> Self {
        let endpoint = Endpoint::dialer(([127, 0, 0, 1], 0).into(), key, Timing::default()).unwrap();
        Self { endpoint, manager: grid.bare_address().parse().unwrap() }
    }

    pub(crate) async fn dial(&self, alpn: Alpn) -> Conn {
        self.endpoint.dial(self.manager, alpn, Expect::Anybody).await.unwrap()
    }

    /// Knocks as a host, and says this.
    pub(crate) async fn knock(&self, hello: &[u8]) -> (Conn, SendStream, RecvStream) {
        let conn = self.dial(Alpn::Host).await;
        let (mut send, recv) = conn.open_bi().await.unwrap();
        // It may have been sent away already.
        let _ = send.write_frame(hello, usize::MAX).await;
        (conn, send, recv)
    }

    /// Is let in as a client that only makes requests.
    pub(crate) async fn enter(&self) -> (Conn, SendStream, RecvStream) {
        let conn = self.dial(Alpn::Client).await;
        let (mut send, mut recv) = conn.open_bi().await.unwrap();
        let hello = ClientHello { version: PROTOCOL_VERSION, proof: None, attach: None };
        send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.unwrap();
        let greeting = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await.unwrap();
        let greeting = ClientGreeting::from_body(&greeting).unwrap();
        assert!(matches!(greeting, ClientGreeting::Welcome { .. }), "{greeting:?}");
        (conn, send, recv)
    }
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
    let offer = Offer {
        name: name.to_owned(),
        slots: 1,
        memory_bytes: 1 << 30,
        labels: Vec::new(),
        platform: String::new(),
        software: String::new(),
    };
    Hello { version: PROTOCOL_VERSION, offer, proof: None, resume: None }
}
