//! A flood of datagrams from unknown peers: garbage, and first datagrams of connections that go no further.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grid_net::{Alpn, Endpoint, Expect, Timing};
use grid_tests::{Dice, Grid};
use tokio::net::UdpSocket;
use wasm_grid::SecretKey;

/// Number of ports that the flood comes from.
const PORTS: usize = 2000;

/// Number of different first datagrams, each of its own connection.
const INITIALS: usize = 2000;

/// Sends a number of datagrams, half of them garbage, while a host joins. Checks that the host joins within 2 s, that
/// the manager answers with at most three times the bytes, and that it takes at most 50 MiB more memory.
pub(crate) async fn flood(datagrams: u64) {
    let grid = Grid::closed();
    let manager: SocketAddr = grid.bare_address().parse().unwrap();
    let initials = initials().await;
    let before = grid.manager.memory_kib();
    let ticket = grid.ticket("host");
    let received = Arc::<AtomicU64>::default();
    let mut sockets = Vec::new();
    for _ in 0..PORTS {
        let socket = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
        sockets.push(socket.clone());
        tokio::spawn(count(socket, received.clone()));
    }
    let mut dice = Dice::new(4);
    let garbage: Vec<_> = (0..200 * 8).flat_map(|_| dice.next_u64().to_le_bytes()).collect();
    let (mut sent, mut bytes, mut joining) = (0, 0, None);
    let began = Instant::now();
    while sent < datagrams {
        if sent == datagrams / 10 {
            let host = grid.host_at(&ticket, "honest", &[]);
            let began = Instant::now();
            joining = Some(tokio::spawn(async move { (host.hear("joined").await, began.elapsed()) }));
        }
        let socket = &sockets[dice.roll(PORTS)];
        let datagram = if sent % 2 == 0 {
            let from = dice.roll(garbage.len() - 1200);
            &garbage[from..from + 1 + dice.roll(1200)]
        } else {
            &initials[dice.roll(INITIALS)][..]
        };
        if socket.send_to(datagram, manager).await.is_ok() {
            bytes += datagram.len() as u64;
        }
        sent += 1;
        if sent % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let took = began.elapsed();
    let (_host, joined) = joining.expect("there are ten datagrams at least").await.unwrap();
    // Answers may still be on their way to the sockets.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let answered = received.load(Ordering::Relaxed);
    let memory = grid.manager.memory_kib() - before;
    println!(
        "{sent} datagrams, {bytes} bytes in {:.1} s from {PORTS} ports; {answered} bytes came back ({:.2} times as many); a host joined \
         in {:.2} s; the manager took {memory} KiB more at the most",
        took.as_secs_f64(),
        answered as f64 / bytes as f64,
        joined.as_secs_f64()
    );
    assert!(answered <= 3 * bytes && joined < Duration::from_secs(2) && memory <= 50 << 10);
}

async fn count(socket: Arc<UdpSocket>, received: Arc<AtomicU64>) {
    let mut buffer = [0; 2048];
    while let Ok(length) = socket.recv(&mut buffer).await {
        received.fetch_add(length as u64, Ordering::Relaxed);
    }
}

/// Makes first datagrams of connections, by dialling an address that never answers.
async fn initials() -> Vec<Vec<u8>> {
    let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = silent.local_addr().unwrap();
    let key = SecretKey::from_seed(&[9; 32]);
    let dialer = Endpoint::dialer((Ipv4Addr::LOCALHOST, 0).into(), &key, Timing::default()).unwrap();
    let mut initials = Vec::new();
    let mut buffer = [0; 2048];
    while initials.len() < INITIALS {
        let dial = dialer.dial(address, Alpn::Host, Expect::Anybody);
        tokio::select! {
            _ = dial => {}
            received = silent.recv(&mut buffer) => initials.push(buffer[..received.unwrap()].to_vec()),
        }
    }
    initials
}
