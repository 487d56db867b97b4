//! References: the same bytes on streams of raw quinn, with no grid.

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use grid_net::{Alpn, Conn, ConnLimits, Endpoint, Expect, FrameReader, Network, Timing};
use wasm_grid::SecretKey;

use crate::{MESSAGE, ROUNDS, median};

const MESSAGES: usize = 400_000;
const FRAME_BYTES_MAX: usize = 1 << 10;

fn key(seed: u8) -> SecretKey {
    SecretKey::from_seed(&[seed; 32])
}

/// Sends all bytes back as they come.
pub(crate) async fn serve() {
    serve_each(async |conn| {
        let (mut send, mut recv) = conn.accept_bi().await.unwrap();
        while let Ok(Some(chunk)) = recv.read_chunk().await {
            if send.write_chunk(chunk).await.is_err() {
                return;
            }
        }
    })
    .await;
}

/// Prints an address, and does `work` with whoever connects there, one after the other.
async fn serve_each(work: impl AsyncFn(Conn)) {
    let network = Network::through_quinns_sockets();
    let endpoint =
        Endpoint::serve_on(&network, ([127, 0, 0, 1], 0).into(), &key(1), Timing::default()).unwrap();
    println!("{}", endpoint.local_address().unwrap());
    while let Some(incoming) = endpoint.accept().await {
        let conn = incoming.answer().await.unwrap();
        conn.allow(ConnLimits::CLIENT);
        work(conn).await;
    }
}

async fn dial(address: &str) -> (Endpoint, Conn) {
    let network = Network::through_quinns_sockets();
    let endpoint =
        Endpoint::dialer_on(&network, ([127, 0, 0, 1], 0).into(), &key(2), Timing::default()).unwrap();
    let address: SocketAddr = address.parse().unwrap();
    let conn = endpoint.dial(address, Alpn::Client, Expect::Anybody).await.unwrap();
    (endpoint, conn)
}

/// Prints the median of a round trip, in microseconds.
pub(crate) async fn rounds(address: &str) {
    let (_endpoint, conn) = dial(address).await;
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    let mut times = Vec::new();
    let mut answer = MESSAGE;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        send.write_all(&MESSAGE).await.unwrap();
        recv.read_exact(&mut answer).await.unwrap();
        times.push(started.elapsed());
    }
    println!("{}", median(times).as_secs_f64() * 1e6);
}

/// Prints the echoed frames per second: this many numbers have one frame each under way, all on one stream.
pub(crate) async fn mux(in_flight: usize, address: &str) {
    let (_endpoint, conn) = dial(address).await;
    let (mut send, recv) = conn.open_bi().await.unwrap();
    let mut reader = FrameReader::new(recv, FRAME_BYTES_MAX);
    let started = Instant::now();
    for number in 0..in_flight as u64 {
        send.write_frame(&frame(number), FRAME_BYTES_MAX).await.unwrap();
    }
    let (mut answered, mut total) = (vec![0; in_flight], 0);
    while total < MESSAGES {
        let frames = reader.next_batch().await.unwrap().unwrap();
        for echoed in frames.bodies() {
            let number = u64::from_le_bytes(echoed[..8].try_into().unwrap());
            answered[number as usize] += 1;
            total += 1;
            send.write_frame(&frame(number), FRAME_BYTES_MAX).await.unwrap();
        }
    }
    println!("{}", total as f64 / started.elapsed().as_secs_f64());
}

fn frame(number: u64) -> Vec<u8> {
    [&number.to_le_bytes()[..], &MESSAGE].concat()
}

/// Takes all bytes of a stream, and then says that it has them.
pub(crate) async fn sink() {
    serve_each(async |conn| {
        let (mut send, mut recv) = conn.accept_bi().await.unwrap();
        while let Ok(Some(_)) = recv.read_chunk().await {}
        // The dialer may have gone.
        let _ = send.write_all(&[1]).await;
        conn.closed().await;
    })
    .await;
}

/// Bytes of one piece of a bulk transfer.
const PIECE_BYTES: usize = 8 << 20;

/// Prints the MiB per second of a transfer of `bytes` bytes on one stream.
pub(crate) async fn bulk(bytes: usize, address: &str) {
    let (_endpoint, conn) = dial(address).await;
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    let piece = Bytes::from(vec![7; PIECE_BYTES]);
    let started = Instant::now();
    for _ in 0..bytes / PIECE_BYTES {
        send.write_chunk(piece.clone()).await.unwrap();
    }
    send.finish().await;
    let mut done = [0];
    recv.read_exact(&mut done).await.unwrap();
    println!("{}", bytes as f64 / f64::from(1 << 20) / started.elapsed().as_secs_f64());
}
