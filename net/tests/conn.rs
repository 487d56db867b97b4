//! Connections: the same tests over QUIC and inside the process.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::net::SocketAddr;

use bytes::Bytes;
use grid_net::{Alpn, CloseReason, Conn, DialError, Endpoint, Expect, FrameReader, StreamError, Timing};
use grid_protocol::key::SecretKey;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Two ends of a connection, and what must live as long as it.
struct Pair {
    manager: Conn,
    peer: Conn,
    endpoints: Vec<Endpoint>,
}

async fn quic() -> Pair {
    let server = Endpoint::serve(LOOPBACK, &key(1), Timing::default()).unwrap();
    let dialer = Endpoint::dialer(LOOPBACK, &key(2), Timing::default()).unwrap();
    let address = server.local_address().unwrap();
    let accepting = async { server.accept().await.unwrap().answer().await.unwrap() };
    let dialing = dialer.dial(address, Alpn::Host, Expect::Key(key(1).public()));
    let (manager, peer) = tokio::join!(accepting, dialing);
    Pair { manager, peer: peer.unwrap(), endpoints: vec![server, dialer] }
}

fn local() -> Pair {
    let (peer, manager) = Conn::local_pair(key(2).public(), key(1).public(), Alpn::Host);
    Pair { manager, peer, endpoints: Vec::new() }
}

async fn both() -> [Pair; 2] {
    [quic().await, local()]
}

#[tokio::test]
async fn each_end_knows_the_others_key_and_protocol() {
    for pair in both().await {
        assert_eq!(pair.manager.peer(), key(2).public());
        assert_eq!(pair.peer.peer(), key(1).public());
        assert_eq!(pair.manager.alpn(), Alpn::Host);
        assert_eq!(pair.manager.exporter(), pair.peer.exporter());
    }
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_on_streams_either_way() {
    for pair in both().await {
        let (mut send, recv) = pair.peer.open_bi().await.unwrap();
        send.write_frame(b"one", 100).await.unwrap();
        send.write_frame(&[7; 100], 100).await.unwrap();
        send.finish().await;
        let (mut back, heard) = pair.manager.accept_bi().await.unwrap();
        let mut reader = FrameReader::new(heard, 100);
        assert_eq!(reader.next().await.unwrap().unwrap(), Bytes::from_static(b"one"));
        assert_eq!(reader.next().await.unwrap().unwrap().len(), 100);
        assert_eq!(reader.next().await, Ok(None));
        let large = vec![1; 3 << 20];
        let (mut recv, length) = (recv, large.len());
        let (written, read) = tokio::join!(back.write_all(&large), recv.read_body(length));
        written.unwrap();
        assert!(read.unwrap() == large);
    }
}

#[tokio::test]
async fn frames_that_have_arrived_are_read_together_and_none_twice_though_reading_is_given_up_while_it_waits()
{
    for pair in both().await {
        let (mut send, _recv) = pair.peer.open_bi().await.unwrap();
        let sent: Vec<_> = (0..40_000u32).map(|number| number.to_le_bytes()).collect();
        let bytes: Vec<u8> = sent.iter().flat_map(|body| [&4u32.to_le_bytes()[..], body].concat()).collect();
        let write = async {
            for piece in bytes.chunks(777) {
                send.write_all(piece).await.unwrap();
            }
            send.finish().await;
        };
        let read = async {
            let (_back, heard) = pair.manager.accept_bi().await.unwrap();
            let mut reader = FrameReader::new(heard, 100);
            let (mut frames, mut batches) = (Vec::new(), 0);
            loop {
                let batch = tokio::select! {
                    biased;
                    batch = reader.next_batch() => batch.unwrap(),
                    () = tokio::task::yield_now() => continue,
                };
                let Some(batch) = batch else { break };
                frames.extend(batch.bodies().map(|body| <[u8; 4]>::try_from(body).unwrap()));
                batches += 1;
            }
            (frames, batches)
        };
        let ((), (frames, batches)) = tokio::join!(write, read);
        assert!(frames == sent, "{} of {} frames", frames.len(), sent.len());
        assert!(batches < 1000, "{batches} batches");
    }
}

#[tokio::test]
async fn a_stream_that_ends_inside_a_frame_is_an_error_after_the_frames_before_it() {
    for pair in both().await {
        let (mut send, _recv) = pair.peer.open_bi().await.unwrap();
        send.write_frame(b"whole", 100).await.unwrap();
        send.write_all(&[5, 0, 0, 0, 1]).await.unwrap();
        send.finish().await;
        let (_back, heard) = pair.manager.accept_bi().await.unwrap();
        let mut reader = FrameReader::new(heard, 100);
        assert_eq!(reader.next_batch().await.unwrap().unwrap().bodies().collect::<Vec<_>>(), [b"whole"]);
        assert!(matches!(reader.next_batch().await, Err(StreamError::Truncated)));
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_at_both_ends() {
    for pair in both().await {
        let (mut send, _recv) = pair.peer.open_bi().await.unwrap();
        assert!(matches!(send.write_frame(&[0; 101], 100).await, Err(StreamError::TooLong(_))));
        send.write_all(&[255, 255, 255, 255]).await.unwrap();
        let (_back, heard) = pair.manager.accept_bi().await.unwrap();
        assert!(matches!(FrameReader::new(heard, 100).next().await, Err(StreamError::TooLong(_))));
    }
}

#[tokio::test]
async fn a_closed_connection_tells_the_other_end_why() {
    for pair in both().await {
        pair.manager.close(3, "revoked");
        let reason = pair.peer.closed().await;
        assert_eq!(reason, CloseReason::Peer { code: 3, reason: "revoked".to_owned() });
        assert_eq!(pair.manager.closed().await, CloseReason::Here);
        assert!(pair.peer.open_uni().await.is_err());
        drop(pair.endpoints);
    }
}

#[tokio::test]
async fn another_key_than_expected_ends_the_handshake_and_both_are_known() {
    let server = Endpoint::serve(LOOPBACK, &key(1), Timing::default()).unwrap();
    let address = server.local_address().unwrap();
    tokio::spawn(async move {
        while let Some(incoming) = server.accept().await {
            let _ = incoming.answer().await;
        }
    });
    let dialer = Endpoint::dialer(LOOPBACK, &key(2), Timing::default()).unwrap();
    let expected = key(9).public();
    let refused = dialer.dial(address, Alpn::Client, Expect::Key(expected)).await.unwrap_err();
    assert_eq!(refused, DialError::WrongKey { address, expected, shown: key(1).public() });
}

#[tokio::test]
async fn a_socket_that_is_taken_says_so() {
    let server = Endpoint::serve(LOOPBACK, &key(1), Timing::default()).unwrap();
    let taken = server.local_address().unwrap();
    let refused = Endpoint::serve(taken, &key(1), Timing::default()).unwrap_err();
    assert!(refused.to_string().contains("another program uses it"), "{refused}");
}

#[tokio::test]
async fn a_connection_goes_on_when_the_dialers_port_changes() {
    let pair = quic().await;
    let before = pair.manager.remote();
    pair.endpoints[1].rebind(LOOPBACK).unwrap();
    let (mut send, _recv) = pair.peer.open_bi().await.unwrap();
    send.write_frame(b"still me", 100).await.unwrap();
    let (_back, mut heard) = pair.manager.accept_bi().await.unwrap();
    assert_eq!(heard.read_frame(100).await.unwrap(), Bytes::from_static(b"still me"));
    assert_ne!(pair.manager.remote(), before);
}
