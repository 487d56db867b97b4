//! Attacks by clients: peers that may make requests.

use std::time::{Duration, Instant};

use grid_net::CloseReason;
use grid_protocol::client::{
    Attach, Channel, ClientGreeting, ClientHello, DenialCode, Placement, Reply, Request, SpawnRequest,
};
use grid_protocol::digest::Digest;
use grid_protocol::host::{Label, PROTOCOL_VERSION, Position, Resume};
use grid_protocol::id::{DeploymentId, SessionId, WorkerId};
use grid_protocol::job::{BlobRef, GiveUp, JobId, JobSpec};
use grid_protocol::role::Role;
use grid_protocol::submission::BorrowedPayload;
use grid_protocol::wire::Wire;
use grid_protocol::worker::{LimitsAsked, Restart};
use grid_tests::{Dice, Grid, echo};

use super::peer::{Peer, ask, begin, gone};
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

async fn eight_payloads_without_bytes(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "staller");
    let entered = peer.enter().await;
    let (conn, job) = (&entered.0, JobId([7; 16]));
    let made = ask(conn, &Request::JobNew { job, spec: spec() }).await;
    assert!(matches!(made, Reply::Job(_)), "{made:?}");
    let mut held = Vec::new();
    for seed in 0..8_u8 {
        let payload = BlobRef { digest: Digest::of(&[seed]), length: 32 << 20 };
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
    let payload = BlobRef::of(&bytes);
    let (mut send, mut recv) = begin(conn, &Request::PayloadKeep { job, payload }).await;
    send.write_all(&bytes).await.unwrap();
    send.finish().await;
    assert_eq!(Reply::from_body(&recv.read_frame(1 << 20).await.unwrap()).unwrap(), Reply::Done);
    for length in [0, payload.length - 1, payload.length + 1, 64 << 20, u64::MAX] {
        let inputs = [BorrowedPayload::Blob(BlobRef { length, ..payload })].into_iter().collect();
        let reply = ask(conn, &Request::JobSubmit { job, first: 0, inputs }).await;
        let Reply::Denied(denial) = reply else { panic!("{length}: {reply:?}") };
        assert!(matches!(denial.code, DenialCode::NotFound | DenialCode::BadRequest), "{denial:?}");
    }
    let inputs = [BorrowedPayload::Blob(payload)].into_iter().collect();
    assert_eq!(ask(conn, &Request::JobSubmit { job, first: 0, inputs }).await, Reply::Submitted { next: 1 });
    Box::new((peer, entered))
}

/// A worker of the echo module.
fn spawn() -> SpawnRequest {
    SpawnRequest {
        channel: Channel(66),
        module: Digest::of(&echo()),
        arguments: Vec::new(),
        place: Placement::Anywhere { count: 1 },
        labels: Vec::new(),
        memory_bytes: 0,
        limits: LimitsAsked::default(),
        restart: Restart::Never,
        ttl_ms: 0,
    }
}

/// Makes a request that must be denied; how it was.
async fn denied(conn: &grid_net::Conn, request: &Request) -> DenialCode {
    match ask(conn, request).await {
        Reply::Denied(denial) => denial.code,
        other => panic!("{request:?}: {other:?}"),
    }
}

async fn what_needs_a_role(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "climber");
    let entered = peer.enter().await;
    let key = peer.key();
    for request in [
        Request::TicketNew { role: Role::Admin, ttl_s: 60 },
        Request::TicketList,
        Request::HostApprove { host: key },
        Request::HostDrain { host: key },
        Request::HostRemove { host: key },
        Request::KeyList,
        Request::KeyTrust { key, role: Role::Admin },
        Request::KeyRevoke { key },
        Request::JobList { everyones: true },
        Request::ModuleUpload { manifest: Vec::new(), length: 1 << 40 },
    ] {
        assert_eq!(denied(&entered.0, &request).await, DenialCode::NotAllowed, "{request:?}");
    }
    Box::new((peer, entered))
}

async fn requests_of_garbage(grid: &Grid) -> Held {
    let (peer, mut dice) = (Peer::client(grid, "babbler"), Dice::new(2));
    let entered = peer.enter().await;
    for _ in 0..500 {
        let garbage: Vec<u8> = (0..dice.roll(256)).map(|_| dice.next_u64() as u8).collect();
        let (mut send, mut recv) = entered.0.open_bi().await.unwrap();
        send.write_frame(&garbage, usize::MAX).await.unwrap();
        send.finish().await;
        // Some garbage is a request by chance; what matters is that there is an answer, or an end.
        let _ = recv.read_frame(1 << 20).await;
    }
    assert!(matches!(ask(&entered.0, &Request::Status).await, Reply::Status(_)));
    Box::new((peer, entered))
}

async fn requests_that_never_end(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "mumbler");
    let entered = peer.enter().await;
    let mut held = Vec::new();
    while let Ok(Ok((mut send, recv))) =
        tokio::time::timeout(Duration::from_millis(200), entered.0.open_bi()).await
    {
        send.write_all(&1000_u32.to_le_bytes()).await.unwrap();
        held.push((send, recv));
        assert!(held.len() <= 1000, "there is no limit to the streams of a client");
    }
    Box::new((peer, entered, held))
}

async fn answers_that_nobody_reads(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "heedless");
    let entered = peer.enter().await;
    let mut held = Vec::new();
    for _ in 0..60 {
        held.push(begin(&entered.0, &Request::WorkerList { everyones: false, ended: true }).await);
    }
    Box::new((peer, entered, held))
}

async fn what_is_anothers(grid: &Grid) -> Held {
    let victim = Peer::client(grid, "victim");
    let robbed = victim.enter().await;
    let job = JobId([9; 16]);
    assert!(matches!(ask(&robbed.0, &Request::JobNew { job, spec: spec() }).await, Reply::Job(_)));
    let peer = Peer::client(grid, "thief");
    let entered = peer.enter().await;
    for request in [
        Request::JobShow { job },
        Request::JobStop { job },
        Request::JobClose { job },
        Request::JobForget { job },
        Request::JobResults { job, after: 0, wait_ms: 0 },
        Request::JobSubmit { job, first: 0, inputs: [BorrowedPayload::Here(b"x")].into_iter().collect() },
        Request::PayloadKeep { job, payload: BlobRef::of(b"x") },
        Request::DeploymentRemove { deployment: DeploymentId(1) },
    ] {
        let code = denied(&entered.0, &request).await;
        assert!(matches!(code, DenialCode::NotFound | DenialCode::NotAllowed), "{request:?}: {code:?}");
    }
    let told = ask(&entered.0, &Request::JobNew { job, spec: spec() }).await;
    assert!(matches!(told, Reply::Denied(_)), "{told:?}");
    // The bystander's worker is one of these.
    for number in 0..50 {
        let worker = WorkerId::new(1, number);
        for request in [
            Request::WorkerStop { workers: vec![worker], grace_ms: 0 },
            Request::WorkerLogs { worker },
            Request::WorkerPing { worker },
            Request::MessageSend { worker, length: 1 },
        ] {
            assert_eq!(denied(&entered.0, &request).await, DenialCode::NotFound, "{request:?}");
        }
    }
    Box::new((victim, robbed, peer, entered))
}

async fn workers_beyond_all_bounds(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "glutton");
    let entered = peer.enter().await;
    let label = Label { name: "a".to_owned(), value: "b".to_owned() };
    for request in [
        SpawnRequest { place: Placement::Anywhere { count: 0 }, ..spawn() },
        SpawnRequest { place: Placement::Anywhere { count: u32::MAX }, ..spawn() },
        SpawnRequest { arguments: vec![0; 600 << 10], ..spawn() },
        SpawnRequest { labels: vec![label; 65], ..spawn() },
        SpawnRequest { memory_bytes: u64::MAX, ..spawn() },
        SpawnRequest { place: Placement::Anywhere { count: 60_000 }, ..spawn() },
    ] {
        let code = denied(&entered.0, &Request::Spawn(request)).await;
        assert!(matches!(code, DenialCode::BadRequest | DenialCode::NoCapacity), "{code:?}");
    }
    Box::new((peer, entered))
}

async fn a_channel_taken_to_and_fro(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "double");
    let attach = Some(Attach { channel: Channel(5), resume: None });
    let hello =
        ClientHello { version: PROTOCOL_VERSION, proof: None, attach, extensions: Default::default() };
    let mut last: Option<(_, _, _, ClientGreeting)> = None;
    for _ in 0..100 {
        let newer = peer.greet(&hello).await;
        assert!(matches!(newer.3, ClientGreeting::Welcome { .. }), "{:?}", newer.3);
        if let Some((older, ..)) = last.replace(newer) {
            let reason = gone(&older).await;
            assert!(matches!(reason, CloseReason::Peer { code: grid_net::code::REPLACED, .. }), "{reason:?}");
        }
    }
    Box::new((peer, last))
}

async fn a_session_that_never_was(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "dreamer");
    let position = Position { worker: WorkerId::new(1, 1), received: u64::MAX };
    for count in [0, 1, 100] {
        let resume =
            Some(Resume { session: SessionId([3; 16]), control: u64::MAX, workers: vec![position; count] });
        let attach = Some(Attach { channel: Channel(6), resume });
        let hello =
            ClientHello { version: PROTOCOL_VERSION, proof: None, attach, extensions: Default::default() };
        let (_conn, _send, _recv, said) = peer.greet(&hello).await;
        let anew =
            matches!(said, ClientGreeting::Welcome { resumed: false, .. } | ClientGreeting::Refused(_));
        assert!(anew, "{said:?}");
    }
    Box::new(peer)
}

async fn messages_without_bytes(grid: &Grid) -> Held {
    let peer = Peer::client(grid, "slow");
    let entered = peer.enter().await;
    let spawned = ask(&entered.0, &Request::Spawn(spawn())).await;
    let Reply::Spawned { workers, .. } = spawned else { panic!("{spawned:?}") };
    let mut held = Vec::new();
    for length in [32 << 20; 8] {
        held.push(begin(&entered.0, &Request::MessageSend { worker: workers[0], length }).await);
    }
    for length in [(64 << 20) + 1, u64::MAX] {
        let request = Request::MessageSend { worker: workers[0], length };
        assert_eq!(denied(&entered.0, &request).await, DenialCode::BadRequest);
    }
    Box::new((peer, entered, held))
}

async fn failures_that_nobody_collects(grid: &Grid) -> Held {
    let refuses = r#"(module (import "grid" "fail" (func $fail (param i32 i32)))
        (memory (export "memory") 1) (data (i32.const 0) "no")
        (func (export "handle_msg") (param i32) (call $fail (i32.const 0) (i32.const 2))))"#;
    let module = grid.client().upload("refuses", wat::parse_str(refuses).unwrap()).await.unwrap().digest;
    let client = grid.another_client("heedless");
    let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
    let mut sent = 0;
    while let Ok(taken) = tokio::time::timeout(Duration::from_millis(500), client.send(worker, "x")).await {
        taken.unwrap();
        sent += 1;
        assert!(sent < 100_000, "there is no limit to what a worker may owe");
    }
    let hosts = grid.must(&["host", "ls", "--json"]).json();
    assert_eq!(hosts["hosts"][0]["state"], "ready", "{hosts}");
    Box::new(client)
}

/// The echo worker with 60 MiB beside its code.
fn long_module() -> Vec<u8> {
    let mut wasm = echo();
    let content = 60_u32 << 20;
    wasm.push(0);
    let mut left = content;
    while left >= 0x80 {
        wasm.push(left as u8 | 0x80);
        left >>= 7;
    }
    wasm.push(left as u8);
    wasm.extend([1, b'x']);
    wasm.resize(wasm.len() + content as usize - 2, 0);
    wasm
}

async fn a_module_of_sixty_mebibytes(grid: &Grid) -> Held {
    let file = grid.folder("long.wasm");
    std::fs::write(&file, long_module()).unwrap();
    let client = grid.another_client("asker");
    let mut upload = grid.command(&["module", "upload", file.to_str().unwrap()]).spawn().unwrap();
    let (mut worst, mut asked) = (Duration::ZERO, 0);
    let status = loop {
        let began = Instant::now();
        client.workers().await.unwrap();
        worst = worst.max(began.elapsed());
        asked += 1;
        if let Some(status) = upload.try_wait().unwrap() {
            break status;
        }
    };
    assert!(status.success() && asked > 10, "{status}, {asked} questions");
    assert!(worst < Duration::from_millis(250), "a question waited for {worst:?} of {asked}");
    Box::new(client)
}

rows! {
    a_client_that_stalls_with_eight_payloads_holds_up_itself_alone: eight_payloads_without_bytes;
    a_payload_of_another_length_than_it_says_is_refused_when_it_is_submitted: payloads_of_lengths_that_are_none;
    what_needs_a_role_is_denied_without_it: what_needs_a_role;
    requests_of_garbage_end_nothing_but_themselves: requests_of_garbage;
    requests_that_never_end_hold_up_nobody: requests_that_never_end;
    answers_that_nobody_reads_hold_up_nobody: answers_that_nobody_reads;
    what_is_anothers_is_not_there: what_is_anothers;
    workers_beyond_all_bounds_are_not_started: workers_beyond_all_bounds;
    a_channel_belongs_to_the_client_that_came_last: a_channel_taken_to_and_fro;
    a_session_that_never_was_is_begun_anew: a_session_that_never_was;
    messages_whose_bytes_do_not_come_hold_up_their_client_alone: messages_without_bytes;
    failures_that_nobody_collects_end_no_connection: failures_that_nobody_collects;
    a_question_does_not_wait_for_a_module_of_sixty_mebibytes: a_module_of_sixty_mebibytes;
}
