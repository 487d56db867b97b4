//! Attacks by hosts: peers that were let in to run guests, and lie.

use grid_net::{Alpn, CloseReason, code};
use grid_protocol::digest::Digest;
use grid_protocol::host::{Hello, HostEvent, ModuleOffered, Position, Resume, Transfer, Transferred};
use grid_protocol::id::WorkerId;
use grid_protocol::job::{AttemptEnd, AttemptId, AttemptResult, BlobRef, JobId, Payload};
use grid_protocol::wire::Wire;
use grid_protocol::worker::{End, LogLevel, LogLine};
use grid_tests::{Dice, Grid, echo};

use super::peer::{HostPeer, Peer, gone, hello};
use super::{Held, memory_mib, rows};

/// Workers that are others', or nobody's.
fn workers(count: u32) -> Vec<WorkerId> {
    (0..count).map(|number| WorkerId::new(1, number)).collect()
}

fn attempts(count: u64) -> Vec<AttemptId> {
    (0..count).map(|number| AttemptId::new(1, number)).collect()
}

/// A host that has made these reports, all of which the manager has taken.
async fn reported(grid: &Grid, seed: u8, reports: &[HostEvent]) -> Held {
    let peer = Peer::stranger(grid, seed);
    let mut host = HostPeer::join(grid, &peer).await;
    for report in reports {
        assert!(host.report(report).await, "cut for {report:?}");
        host.settle().await;
    }
    Box::new((peer, host))
}

async fn workers_that_never_were(grid: &Grid) -> Held {
    let (peer, before) = (Peer::stranger(grid, 90), memory_mib(grid));
    let mut host = HostPeer::join(grid, &peer).await;
    let report = HostEvent::Started { workers: workers(100_000) };
    let mut reports = 0;
    // It reads none of the orders to stop them.
    while host.report(&report).await {
        reports += 1;
        assert!(reports < 500, "the manager takes {reports} reports, and keeps an answer to each");
    }
    gone(&host.conn).await;
    let now = memory_mib(grid);
    assert!(now < before + 80, "{before} MiB before, {now} now");
    Box::new((peer, host))
}

async fn ends_of_others_workers(grid: &Grid) -> Held {
    let ended = |worker| HostEvent::Ended { worker, end: End::Stopped, sent: u64::MAX, settled: u64::MAX };
    let reports: Vec<_> = workers(100).into_iter().map(ended).collect();
    reported(grid, 91, &reports).await
}

async fn logs_of_others_workers(grid: &Grid) -> Held {
    let line = LogLine { unix_ms: u64::MAX, level: LogLevel::Error, text: "x".repeat(16 << 10) };
    let log = |worker| HostEvent::Log { worker, lines: vec![line.clone(); 50], dropped: u64::MAX };
    let reports: Vec<_> = workers(50).into_iter().map(log).collect();
    reported(grid, 92, &reports).await
}

async fn outcomes_of_others_attempts(grid: &Grid) -> Held {
    let result = AttemptResult::Done(vec![Payload::Here(b"wrong".to_vec().into()); 4]);
    let end = |attempt| AttemptEnd { attempt, ran_us: u64::MAX, result: result.clone() };
    let ends: Vec<_> = attempts(1000).into_iter().map(end).collect();
    reported(grid, 93, &vec![HostEvent::Outcomes { ends }; 10]).await
}

async fn renewals_of_everything(grid: &Grid) -> Held {
    let attempts = attempts(60_000);
    reported(
        grid,
        94,
        &[
            HostEvent::Holding { attempts: attempts.clone() },
            HostEvent::Executing { attempts: attempts.clone() },
            HostEvent::Alive { attempts: attempts.clone() },
            HostEvent::Returned { attempts },
        ],
    )
    .await
}

async fn a_host_that_drains_again_and_again(grid: &Grid) -> Held {
    reported(grid, 95, &vec![HostEvent::Draining; 200]).await
}

async fn a_control_stream_of_garbage(grid: &Grid) -> Held {
    let mut dice = Dice::new(3);
    for seed in 96..101 {
        let peer = Peer::stranger(grid, seed);
        let mut host = HostPeer::join(grid, &peer).await;
        let garbage: Vec<u8> = (0..64).map(|_| dice.next_u64() as u8 | 0x80).collect();
        let _ = host.send.write_frame(&garbage, usize::MAX).await;
        gone(&host.conn).await;
    }
    Box::new(())
}

async fn notes_with_a_gap(grid: &Grid) -> Held {
    let peer = Peer::stranger(grid, 101);
    let mut host = HostPeer::join(grid, &peer).await;
    host.control.send(&HostEvent::Draining);
    // The first is never written.
    drop(host.control.poll_transmit());
    host.report(&HostEvent::Draining).await;
    gone(&host.conn).await;
    Box::new(peer)
}

async fn modules_and_payloads_of_others(grid: &Grid) -> Held {
    let peer = Peer::stranger(grid, 102);
    let host = HostPeer::join(grid, &peer).await;
    let ask = async |transfer: Transfer| {
        let (mut send, mut recv) = host.conn.open_bi().await.unwrap();
        send.write_frame(&transfer.to_body(), 1 << 20).await.unwrap();
        send.finish().await;
        recv.read_frame(1 << 20).await.unwrap()
    };
    // It is there, and nothing of it is to run on this host.
    let said =
        ModuleOffered::from_body(&ask(Transfer::Module { module: Digest::of(&echo()) }).await).unwrap();
    assert_eq!(said, ModuleOffered::Unknown);
    for length in [1, u64::MAX] {
        let payload = BlobRef { digest: Digest::of(b"x"), length };
        let said = ask(Transfer::Fetch { job: JobId([1; 16]), payload }).await;
        let said = Transferred::from_body(&said).unwrap();
        assert!(matches!(said, Transferred::Refused { .. }), "{said:?}");
    }
    Box::new((peer, host))
}

async fn one_key_again_and_again(grid: &Grid) -> Held {
    let peer = Peer::stranger(grid, 103);
    let mut last = HostPeer::join(grid, &peer).await;
    for _ in 0..50 {
        let newer = HostPeer::enter(peer.dial(Alpn::Host).await, &hello("liar")).await;
        let reason = gone(&last.conn).await;
        assert!(matches!(reason, CloseReason::Peer { code: code::REPLACED, .. }), "{reason:?}");
        last = newer;
    }
    Box::new((peer, last))
}

async fn a_memory_of_what_never_was(grid: &Grid) -> Held {
    let peer = Peer::stranger(grid, 104);
    let host = HostPeer::join(grid, &peer).await;
    let worker = WorkerId::new(1, 1);
    let resume = Some(Resume {
        session: host.welcome.state.session,
        control: u64::MAX,
        workers: vec![Position { worker, received: u64::MAX }; 100],
    });
    let conn = peer.dial(Alpn::Host).await;
    let (mut send, mut recv) = conn.open_bi().await.unwrap();
    let hello = Hello { resume, ..hello("liar") };
    send.write_frame(&hello.to_body(), usize::MAX).await.unwrap();
    // It is refused, or the connection just ends.
    let _ = recv.read_frame(1 << 20).await;
    gone(&conn).await;
    Box::new((peer, host))
}

rows! {
    workers_that_never_were_cost_a_bounded_sum: workers_that_never_were;
    the_end_of_another_hosts_worker_is_not_believed: ends_of_others_workers;
    lines_of_another_hosts_worker_are_not_kept: logs_of_others_workers;
    outcomes_of_another_hosts_attempts_are_fenced: outcomes_of_others_attempts;
    another_hosts_attempts_are_not_renewed: renewals_of_everything;
    a_host_that_drains_two_hundred_times_drains: a_host_that_drains_again_and_again;
    a_control_stream_of_garbage_ends_its_connection: a_control_stream_of_garbage;
    notes_with_a_gap_end_their_connection: notes_with_a_gap;
    modules_and_payloads_of_others_are_not_handed_out: modules_and_payloads_of_others;
    a_host_has_one_connection: one_key_again_and_again;
    a_host_that_remembers_what_never_was_is_not_resumed: a_memory_of_what_never_was;
}
