//! The attacks: by strangers, and by clients.

use std::time::{Duration, Instant};

use grid_net::Alpn;
use grid_protocol::client::{DenialCode, Reply, Request};
use grid_protocol::digest::Digest;
use grid_protocol::host::{Hello, Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::job::{GiveUp, JobId, JobSpec, Payload, Stored};
use grid_protocol::wire::Wire;
use grid_tests::{Grid, echo};

use super::peer::{Peer, ask, begin, hello};
use super::{Held, rows};

/// A job of the echo worker.
fn spec() -> JobSpec {
    JobSpec {
        name: "attack".to_owned(),
        module: Digest::of(&echo()),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        priority: 0,
        timeout_ms: 5000,
        attempts_max: 1,
        give_up: GiveUp::Never,
    }
}

/// Hosts that wait for approval.
fn pending(grid: &Grid) -> usize {
    let hosts = grid.must(&["host", "ls", "--json"]).json();
    hosts["hosts"].as_array().unwrap().iter().filter(|host| host["state"] == "pending").count()
}

/// The manager's resident memory, in MiB.
fn memory_mib(grid: &Grid) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", grid.manager.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

async fn six_hundred_knocks_of_one_key(grid: &Grid) -> Held {
    let (stranger, before) = (Peer::stranger(grid, 66), memory_mib(grid));
    let mut held = Vec::new();
    for _ in 0..600 {
        held.push(stranger.knock(&hello("knock").to_body()).await);
    }
    assert_eq!(pending(grid), 1);
    let open = held.iter().filter(|(conn, ..)| conn.close_reason().is_none()).count();
    assert!(open <= 2, "{open} connections of one key wait");
    assert!(memory_mib(grid) < before + 50, "{before} MiB before, {} now", memory_mib(grid));
    Box::new((stranger, held))
}

async fn hellos_that_remember_much(grid: &Grid) -> Held {
    let (stranger, before) = (Peer::stranger(grid, 67), memory_mib(grid));
    // A megabyte at the most, and much more than that once it is decoded.
    let position = Position { worker: WorkerId::new(1, 1), received: 0 };
    let resume = Resume { session: SessionId([1; 16]), control: 0, workers: vec![position; 100_000] };
    let long = Hello { resume: Some(resume), ..hello("long") }.to_body();
    assert!(long.len() > 200 << 10 && long.len() < 1 << 20, "{}", long.len());
    let mut held = Vec::new();
    for seed in 0..50 {
        // Another key each time.
        let stranger = Peer::stranger(grid, 100 + seed);
        let (conn, send, recv) = stranger.knock(&long).await;
        let reason = tokio::time::timeout(Duration::from_secs(10), conn.closed()).await;
        assert!(reason.is_ok(), "what a stranger remembers is taken in");
        held.push((stranger, conn, send, recv));
    }
    assert_eq!(pending(grid), 0);
    assert!(memory_mib(grid) < before + 20, "{before} MiB before, {} now", memory_mib(grid));
    Box::new((stranger, held))
}

async fn connections_that_say_nothing(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 68);
    let mut held = Vec::new();
    for _ in 0..100 {
        held.push(stranger.dial(Alpn::Host).await);
    }
    // They are sent away by themselves.
    let began = Instant::now();
    for conn in &held {
        let closed = tokio::time::timeout(Duration::from_secs(15), conn.closed()).await;
        assert!(closed.is_ok(), "a mute connection is open after {:?}", began.elapsed());
    }
    Box::new((stranger, held))
}

async fn eight_payloads_without_bytes(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "staller");
    let entered = peer.enter().await;
    let (conn, job) = (&entered.0, JobId([7; 16]));
    let made = ask(conn, &Request::JobNew { job, spec: spec() }).await;
    assert!(matches!(made, Reply::Job(_)), "{made:?}");
    let mut held = Vec::new();
    for seed in 0..8_u8 {
        let payload = Stored { digest: Digest::of(&[seed]), length: 32 << 20 };
        held.push(begin(conn, &Request::PayloadKeep { job, payload }).await);
    }
    // Another client's long input comes through meanwhile.
    let client = grid.another_client("honest");
    let module = Digest::of(&echo());
    let long = vec![7; 3 << 20];
    let mut results = client.job("long", module).map(vec![long.clone()]).await.unwrap();
    let outcome = tokio::time::timeout(Duration::from_secs(20), results.next()).await;
    let outcome = outcome.expect("a long input waits for a staller's").unwrap().unwrap();
    assert!(outcome.results.unwrap()[0] == long);
    Box::new((peer, entered, held))
}

async fn payloads_of_lengths_that_are_none(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "liar");
    let entered = peer.enter().await;
    let (conn, job) = (&entered.0, JobId([8; 16]));
    assert!(matches!(ask(conn, &Request::JobNew { job, spec: spec() }).await, Reply::Job(_)));
    let bytes = vec![1; 300 << 10];
    let payload = Stored::of(&bytes);
    let (mut send, mut recv) = begin(conn, &Request::PayloadKeep { job, payload }).await;
    send.write_all(&bytes).await.unwrap();
    send.finish().await;
    assert_eq!(Reply::from_body(&recv.read_frame(1 << 20).await.unwrap()).unwrap(), Reply::Done);
    for length in [0, payload.length - 1, payload.length + 1, 64 << 20, u64::MAX] {
        let inputs = vec![Payload::Stored(Stored { length, ..payload })];
        let reply = ask(conn, &Request::JobSubmit { job, first: 0, inputs }).await;
        let Reply::Denied(denial) = reply else { panic!("{length}: {reply:?}") };
        assert!(matches!(denial.code, DenialCode::NotFound | DenialCode::BadRequest), "{denial:?}");
    }
    let inputs = vec![Payload::Stored(payload)];
    assert_eq!(ask(conn, &Request::JobSubmit { job, first: 0, inputs }).await, Reply::Submitted { next: 1 });
    Box::new((peer, entered))
}

rows! {
    a_stranger_that_knocks_six_hundred_times_with_one_key_takes_one_place: six_hundred_knocks_of_one_key;
    what_a_stranger_claims_to_remember_is_not_taken_in: hellos_that_remember_much;
    connections_that_say_nothing_are_sent_away: connections_that_say_nothing;
    a_client_that_stalls_with_eight_payloads_holds_up_itself_alone: eight_payloads_without_bytes;
    a_payload_of_another_length_than_it_says_is_refused_when_it_is_submitted: payloads_of_lengths_that_are_none;
}
