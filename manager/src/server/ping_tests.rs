use grid_net::{FrameReader, SendStream};
use grid_protocol::client::{Channel, Denial, DenialCode, Placement, Reply, Request};
use grid_protocol::control::HostEnd;
use grid_protocol::digest::Digest;
use grid_protocol::extensions::Extensions;
use grid_protocol::host::{
    Greeting, Hello, HostCapacity, HostCommand, HostEvent, PROTOCOL_VERSION, Resume, Welcome, WorkerStatus,
};
use grid_protocol::id::WorkerId;
use grid_protocol::limits::CONTROL_FRAME_BYTES_MAX;
use grid_protocol::wire::Wire;
use grid_protocol::worker::{LimitsAsked, Restart};
use grid_scheduler::{Owner, Spec};
use tokio::time::timeout;

use super::*;
use crate::asker::{Asker, Via};
use crate::cluster::pings::PINGS_MAX;

/// A host that answers pings only when the test says so.
struct SlowHost {
    conn: Conn,
    send: SendStream,
    reader: FrameReader,
    control: HostEnd,
    welcome: Welcome,
}

impl SlowHost {
    async fn join(manager: &ManagerServer, key: PublicKey, resume: Option<Resume>, control: HostEnd) -> Self {
        let capacity = HostCapacity {
            name: "slow".into(),
            slots: 1,
            memory_bytes: 1 << 30,
            labels: Vec::new(),
            platform: String::new(),
            software: String::new(),
        };
        let extensions = Extensions::default();
        let hello = Hello { version: PROTOCOL_VERSION, capacity, proof: None, resume, extensions };
        let conn = manager.connect_local(key, Alpn::Host);
        let (mut send, recv) = conn.open_bi().await.unwrap();
        send.write_frame(&hello.to_body(), CONTROL_FRAME_BYTES_MAX).await.unwrap();
        let mut reader = FrameReader::new(recv, CONTROL_FRAME_BYTES_MAX);
        let greeting = Greeting::from_body(&reader.next().await.unwrap().unwrap());
        let Ok(Greeting::Welcome(welcome)) = greeting else { panic!("{greeting:?}") };
        Self { conn, send, reader, control, welcome }
    }

    /// Takes every command that comes within a second, and answers the pings among them; returns how many there were.
    async fn answer_all(&mut self) -> usize {
        let mut answered = 0;
        while let Ok(frame) = timeout(Duration::from_secs(1), self.reader.next()).await {
            if let Some(HostCommand::Ping { nonce, .. }) =
                self.control.handle_frame(&frame.unwrap().unwrap()).unwrap()
            {
                answered += 1;
                self.control.send(&HostEvent::Pong { nonce, worker_status: WorkerStatus::Idle });
            }
            while let Some(frame) = self.control.poll_transmit() {
                self.send.write_frame(&frame, CONTROL_FRAME_BYTES_MAX).await.unwrap();
            }
        }
        answered
    }
}

/// Pings the worker `count` times at the same time.
async fn ping(manager: &ManagerServer, worker: WorkerId, count: usize) -> Vec<Result<WorkerStatus, Denial>> {
    let mut asked = JoinSet::new();
    for _ in 0..count {
        let (context, key) = (manager.context.clone(), manager.key());
        asked.spawn(async move {
            match api::handle(
                &context,
                Asker { via: Via::Program, ..Asker::client(key) },
                Request::WorkerPing { worker },
                None,
            )
            .await
            {
                Reply::WorkerStatus(worker_status) => Ok(worker_status),
                Reply::Denied(denial) => Err(denial),
                other => panic!("{other:?}"),
            }
        });
    }
    asked.join_all().await
}

/// Pings that the manager remembers of the host, and commands that wait for it.
fn remembered(manager: &ManagerServer, host: PublicKey) -> (usize, usize) {
    let cluster = manager.context.cluster();
    let session = &cluster.sessions[&host];
    (session.pings.len(), session.control.backlog())
}

/// Places a worker on the host, which never says that it has started.
fn place(manager: &ManagerServer, host: PublicKey) -> WorkerId {
    let spec = Spec {
        owner: Owner { key: manager.key(), channel: Channel(1) },
        module: Digest::from_bytes([1; 32]),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        limits: LimitsAsked::default(),
        restart: Restart::Never,
        ttl_ms: 0,
    };
    manager.context.change(|cluster, _| cluster.scheduler.spawn(spec, &Placement::On(vec![host]))).unwrap()[0]
}

fn timed_out(pinged: &[Result<WorkerStatus, Denial>]) -> usize {
    let denied =
        |pinged: &&Result<_, Denial>| matches!(pinged, Err(denial) if denial.code == DenialCode::Conflict);
    pinged.iter().filter(denied).count()
}

#[tokio::test(start_paused = true)]
async fn pings_that_a_host_never_answers_do_not_pile_up() {
    let folder = tempfile::tempdir().unwrap();
    // The host is away for longer than the pings that it misses take.
    let away_grace = Duration::from_secs(100);
    let config = ManagerConfig { away_grace, ..ManagerConfig::new(folder.path().to_path_buf()) };
    let manager = ManagerServer::start_here(config).unwrap();
    let host = SecretKey::from_seed(&[9; 32]).public();
    let mut slow = SlowHost::join(&manager, host, None, HostEnd::default()).await;
    let worker = place(&manager, host);
    slow.answer_all().await;
    assert_eq!(remembered(&manager, host), (0, 0));

    assert_eq!(timed_out(&ping(&manager, worker, 1000).await), 1000, "the host does not answer");
    assert_eq!(remembered(&manager, host), (PINGS_MAX, PINGS_MAX));

    let Resume { session, .. } = slow.welcome.state;
    let control = slow.control.position();
    slow.conn.close(code::PROTOCOL, "the network is gone");
    while manager.context.cluster().sessions[&host].conn.is_some() {
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(timed_out(&ping(&manager, worker, 1000).await), 1000, "the host is away");
    // A client that goes before the answer comes.
    let gone = timeout(Duration::from_secs(1), ping(&manager, worker, 1000)).await;
    assert!(gone.is_err());
    assert_eq!(remembered(&manager, host), (PINGS_MAX, PINGS_MAX));

    let resume = Resume { session, control, workers: Vec::new() };
    let mut slow = SlowHost::join(&manager, host, Some(resume), slow.control).await;
    assert!(slow.welcome.resumed);
    assert_eq!(slow.answer_all().await, PINGS_MAX, "pings that the host missed");
    assert_eq!(slow.control.backlog(), 0, "answers that the host remembers");
    assert_eq!(remembered(&manager, host), (0, 0));

    let (pinged, _) = tokio::join!(ping(&manager, worker, 1000), slow.answer_all());
    assert_eq!(pinged, vec![Ok(WorkerStatus::Idle); 1000], "there is room for all, one after the other");
    assert_eq!(remembered(&manager, host), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_a_host_that_begins_a_new_session_is_told_that_the_worker_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let manager = ManagerServer::start_here(ManagerConfig::new(folder.path().to_path_buf())).unwrap();
    let host = SecretKey::from_seed(&[9; 32]).public();
    let _slow = SlowHost::join(&manager, host, None, HostEnd::default()).await;
    let worker = place(&manager, host);
    let again = async {
        sleep(Duration::from_secs(1)).await;
        SlowHost::join(&manager, host, None, HostEnd::default()).await
    };
    let (pinged, _slow) = tokio::join!(ping(&manager, worker, 1000), again);
    assert_eq!(pinged, vec![Ok(WorkerStatus::Absent); 1000]);
    assert_eq!(remembered(&manager, host).0, 0);
}
