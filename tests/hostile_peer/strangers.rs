//! Attacks by strangers: peers of whom the manager has never heard.

use std::time::{Duration, Instant};

use grid_net::{Alpn, CloseReason};
use grid_protocol::client::{Attach, Channel, ClientGreeting, ClientHello, Request};
use grid_protocol::extensions::Extensions;
use grid_protocol::host::{Greeting, Hello, JoinRefusal, PROTOCOL_VERSION, Position, Resume};
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::ticket::{ManagerAddress, Proof, Ticket};
use grid_protocol::wire::Wire;
use grid_tests::{Dice, Grid};

use super::peer::{Peer, begin, gone, hello};
use super::{Held, memory_mib, rows};

/// Hosts that wait for approval.
fn pending(grid: &Grid) -> usize {
    let hosts = grid.must(&["host", "ls", "--json"]).json();
    hosts["hosts"].as_array().unwrap().iter().filter(|host| host["state"] == "pending").count()
}

async fn six_hundred_hellos_of_one_key(grid: &Grid) -> Held {
    let (stranger, before) = (Peer::stranger(grid, 66), memory_mib(grid));
    let mut held = Vec::new();
    for _ in 0..600 {
        held.push(stranger.say(&hello("many").to_body()).await);
    }
    assert_eq!(pending(grid), 1);
    // A newer connection takes the place of an older one, which hears of it.
    for (conn, ..) in held.iter().rev().skip(2) {
        let ended = tokio::time::timeout(Duration::from_secs(10), conn.closed()).await;
        assert!(ended.is_ok(), "more than two connections of one key wait");
    }
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
        let (conn, send, recv) = stranger.say(&long).await;
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

/// What the manager answers to a host's first frame.
async fn answer(peer: &Peer, hello: &Hello) -> Greeting {
    answer_to(peer, &hello.to_body()).await
}

async fn answer_to(peer: &Peer, hello: &[u8]) -> Greeting {
    let (_conn, _send, mut recv) = peer.say(hello).await;
    Greeting::from_body(&recv.read_frame(1 << 20).await.unwrap()).unwrap()
}

fn ticket(grid: &Grid, role: &str) -> Ticket {
    match grid.ticket(role).parse().unwrap() {
        ManagerAddress::Ticket(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

async fn many_keys_of_one_machine(grid: &Grid) -> Held {
    let (mut held, mut refused) = (Vec::new(), 0);
    for seed in 0..70 {
        let stranger = Peer::stranger_from(grid, 1, seed);
        let (conn, send, mut recv) = stranger.say(&hello("many").to_body()).await;
        let said = Greeting::from_body(&recv.read_frame(1 << 20).await.unwrap()).unwrap();
        refused += usize::from(matches!(said, Greeting::Refused(JoinRefusal::Full { .. })));
        held.push((stranger, conn, send, recv));
    }
    assert_eq!(refused, 70 - 64, "of one machine 64 wait");
    // Another machine finds room.
    let other = Peer::stranger_from(grid, 2, 1000);
    let said = answer(&other, &hello("other")).await;
    assert!(matches!(said, Greeting::Pending), "{said:?}");
    Box::new((held, other))
}

async fn many_mute_connections_of_one_machine(grid: &Grid) -> Held {
    let stranger = Peer::stranger_from(grid, 1, 0);
    let mut held = Vec::new();
    for _ in 0..300 {
        held.push(stranger.dial(Alpn::Host).await);
    }
    for conn in &held {
        gone(conn).await;
    }
    let for_its_address = |conn: &&grid_net::Conn| matches!(conn.close_reason(), Some(CloseReason::Peer { reason, .. }) if reason.contains("your address"));
    // The first may have been sent away for their silence by then, and have left their room to others.
    let sent_away = held.iter().filter(for_its_address).count();
    assert!((20..=300 - 256).contains(&sent_away), "{sent_away} were sent away at once");
    Box::new((stranger, held))
}

async fn hellos_of_garbage(grid: &Grid) -> Held {
    let (stranger, mut dice, mut held) = (Peer::stranger(grid, 69), Dice::new(1), Vec::new());
    for alpn in [Alpn::Host, Alpn::Client].into_iter().cycle().take(100) {
        let conn = stranger.dial(alpn).await;
        let (mut send, recv) = conn.open_bi().await.unwrap();
        let garbage: Vec<u8> = (0..1 + dice.roll(4096)).map(|_| dice.next_u64() as u8).collect();
        let _ = send.write_frame(&garbage, usize::MAX).await;
        held.push((conn, send, recv));
    }
    for (conn, ..) in &held {
        gone(conn).await;
    }
    assert_eq!(pending(grid), 0);
    Box::new((stranger, held))
}

async fn hellos_of_another_version(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 70);
    for version in [0, PROTOCOL_VERSION + 1, u16::MAX] {
        let whole = Hello { version, ..hello("other") }.to_body();
        // What a version to come says may be longer, or something else altogether.
        let (longer, other) = ([&whole[..], b"more"].concat(), [&whole[..3], b"\xff\xff\xff"].concat());
        for hello in [whole, longer, other] {
            let said = answer_to(&stranger, &hello).await;
            assert!(matches!(said, Greeting::Refused(JoinRefusal::Version { .. })), "{said:?}");
        }
    }
    Box::new(stranger)
}

async fn hellos_that_stop_in_the_middle(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 71);
    let mut held = Vec::new();
    for length in [1_u32, 1000, 4096, 1 << 20, u32::MAX] {
        for _ in 0..10 {
            let conn = stranger.dial(Alpn::Host).await;
            let (mut send, recv) = conn.open_bi().await.unwrap();
            let _ = send.write_all(&length.to_le_bytes()).await;
            held.push((conn, send, recv));
        }
    }
    for (conn, ..) in &held {
        gone(conn).await;
    }
    Box::new((stranger, held))
}

async fn proofs_of_no_ticket(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 72);
    for seed in 0..50 {
        let proof = Some(Proof { id: [seed; 16], mac: [seed; 32] });
        let said = answer(&stranger, &Hello { proof, ..hello("prover") }).await;
        assert!(matches!(said, Greeting::Refused(JoinRefusal::TicketUnknown)), "{said:?}");
    }
    Box::new(stranger)
}

async fn a_proof_of_another_connection(grid: &Grid) -> Held {
    let (stranger, thief) = (Peer::stranger(grid, 73), Peer::stranger(grid, 74));
    let ticket = ticket(grid, "host");
    let conn = stranger.dial(Alpn::Host).await;
    let proof = Some(ticket.prove(&stranger.key(), &conn.exporter()));
    for peer in [&stranger, &thief] {
        let said = answer(peer, &Hello { proof, ..hello("replay") }).await;
        assert!(matches!(said, Greeting::Refused(JoinRefusal::WrongProof)), "{said:?}");
    }
    Box::new((stranger, thief, conn))
}

async fn a_ticket_for_another_role(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 75);
    let ticket = ticket(grid, "client");
    let conn = stranger.dial(Alpn::Host).await;
    let proof = Some(ticket.prove(&stranger.key(), &conn.exporter()));
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    let hello = Hello { proof, ..hello("client as host") };
    send.write_frame(&hello.to_body(), usize::MAX).await.unwrap();
    let said = Greeting::from_body(&recv.read_frame(1 << 20).await.unwrap()).unwrap();
    assert!(!matches!(said, Greeting::Welcome(_)), "{said:?}");
    Box::new((stranger, conn, send, recv))
}

async fn connections_made_and_dropped(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 76);
    for alpn in [Alpn::Host, Alpn::Client].into_iter().cycle().take(300) {
        drop(stranger.dial(alpn).await);
    }
    Box::new(stranger)
}

async fn requests_before_a_hello(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 77);
    for request in [Request::Status, Request::KeyList, Request::JobList { everyones: true }] {
        let conn = stranger.dial(Alpn::Client).await;
        let (_send, _recv) = begin(&conn, &request).await;
        gone(&conn).await;
    }
    Box::new(stranger)
}

async fn more_streams_than_a_stranger_has(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 78);
    let conn = stranger.dial(Alpn::Host).await;
    let mut held = Vec::new();
    while let Ok(Ok(opened)) = tokio::time::timeout(Duration::from_millis(200), conn.open_bi()).await {
        held.push(opened);
        assert!(held.len() <= 8, "a stranger has opened {} streams", held.len());
    }
    gone(&conn).await;
    Box::new((stranger, conn, held))
}

async fn clients_without_a_ticket(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 79);
    for channel in 0..50 {
        let attach = Some(Attach { channel: Channel(channel), resume: None });
        let extensions = Extensions::default();
        let hello = ClientHello { version: PROTOCOL_VERSION, proof: None, attach, extensions };
        let (_conn, _send, _recv, said) = stranger.greet(&hello).await;
        assert!(matches!(said, ClientGreeting::Refused(JoinRefusal::NotAllowed { .. })), "{said:?}");
    }
    Box::new(stranger)
}

async fn names_that_cannot_be_seen(grid: &Grid) -> Held {
    let stranger = Peer::stranger(grid, 80);
    for name in ["", "  ", "\u{202e}host", "a\nb", "\u{1b}[2J", &"x".repeat(256)] {
        let said = answer(&stranger, &hello(name)).await;
        assert!(matches!(said, Greeting::Refused(JoinRefusal::Malformed { .. })), "{name:?}: {said:?}");
    }
    assert_eq!(pending(grid), 0);
    Box::new(stranger)
}

async fn hellos_with_more_than_is_known(grid: &Grid) -> Held {
    let peers = [80, 81].map(|number| Peer::stranger(grid, number));
    let many = (2..500).fold(Extensions::default(), |all, number| all.with(number, &"what is to come"));
    let long = Extensions::default().with(u16::MAX, &vec![7u8; 40_000].as_slice());
    for (peer, extensions) in peers.iter().zip([many, long]) {
        let said = answer(peer, &Hello { extensions, ..hello("newer") }).await;
        assert_eq!(said, Greeting::Pending);
    }
    Box::new(peers)
}

rows! {
    a_hello_that_says_more_than_the_manager_knows_is_understood: hellos_with_more_than_is_known;
    a_stranger_that_says_hello_six_hundred_times_with_one_key_takes_one_place: six_hundred_hellos_of_one_key;
    what_a_stranger_claims_to_remember_is_not_taken_in: hellos_that_remember_much;
    connections_that_say_nothing_are_sent_away: connections_that_say_nothing;
    a_machine_with_many_keys_leaves_room_for_others_to_wait: many_keys_of_one_machine;
    a_machine_with_many_mute_connections_leaves_room_for_others: many_mute_connections_of_one_machine;
    garbage_is_no_hello: hellos_of_garbage;
    a_hello_of_another_version_is_told_so: hellos_of_another_version;
    hellos_that_stop_in_the_middle_are_sent_away: hellos_that_stop_in_the_middle;
    a_proof_that_was_made_up_lets_nobody_in: proofs_of_no_ticket;
    a_proof_that_was_overheard_lets_nobody_in: a_proof_of_another_connection;
    a_ticket_for_a_client_makes_no_host: a_ticket_for_another_role;
    connections_that_are_dropped_at_once_leave_nothing: connections_made_and_dropped;
    a_request_before_a_hello_is_not_answered: requests_before_a_hello;
    a_stranger_has_no_more_than_a_few_streams: more_streams_than_a_stranger_has;
    a_client_without_a_ticket_is_not_let_in: clients_without_a_ticket;
    a_host_whose_name_cannot_be_seen_is_not_let_in: names_that_cannot_be_seen;
}
