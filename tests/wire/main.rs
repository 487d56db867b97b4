//! The wire: every message pinned to literal bytes, and mutated frames that neither panic nor allocate past the limit.
//!
//! The bytes stand in `docs/protocol.md`, which is the golden file: `GRID_BLESS=1` writes it anew.

mod sessions;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::PathBuf;

use bytes::Bytes;
use grid_protocol::activity::*;
use grid_protocol::client::*;
use grid_protocol::control::{HostEnd, ManagerEnd};
use grid_protocol::digest::Digest;
use grid_protocol::extensions::Extensions;
use grid_protocol::host::*;
use grid_protocol::id::{DeploymentId, SessionId, WorkerId};
use grid_protocol::job::*;
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::limits::CONTROL_DECODED_BYTES_MAX;
use grid_protocol::link::MessageKind;
use grid_protocol::mail::{BulkHead, MailFrame};
use grid_protocol::manifest::{FilesAsked, Manifest, SignedManifest};
use grid_protocol::record::{EndBlock, JobRecord, LeaseBlock, ModuleRecord, OutcomeRecord, TaskEnd};
use grid_protocol::role::{Role, Roles};
use grid_protocol::ticket::{Proof, Ticket};
use grid_protocol::token::TokenInfo;
use grid_protocol::trace::{AttemptTimes, PartKind, TaskTrace, TraceContext, TracePart};
use grid_protocol::wire::Wire;
use grid_protocol::worker::*;
use grid_tests::Dice;

/// Notes the largest block that a thread asked for.
struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no cell any more.
        let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(layout.size())));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public()
}

fn worker() -> WorkerId {
    WorkerId::new(1, 2)
}

fn capacity() -> HostCapacity {
    HostCapacity {
        name: "lab".into(),
        slots: 4,
        memory_bytes: 1 << 30,
        labels: vec![Label { name: "gpu".into(), value: "none".into() }],
        platform: "x86_64-linux".into(),
        software: "0.1.0".into(),
    }
}

fn resume() -> Resume {
    Resume {
        session: SessionId([7; 16]),
        control: 3,
        workers: vec![Position { worker: worker(), received: 300 }],
    }
}

fn failure() -> Failure {
    Failure { kind: FailureKind::Exit(-1), message: "why".into(), backtrace: vec!["f".into()] }
}

fn spawn_request(place: Placement) -> SpawnRequest {
    SpawnRequest {
        channel: Channel(9),
        module: Digest::from_bytes([8; 32]),
        arguments: vec![1, 2],
        place,
        labels: vec![Label { name: "a".into(), value: "b".into() }],
        memory_bytes: 5,
        limits: LimitsAsked { memory_bytes: Some(6), call_ms: None },
        restart: Restart::OnFailure { at_most: 3 },
        ttl_ms: 1000,
    }
}

fn module_info() -> ModuleInfo {
    ModuleInfo {
        digest: Digest::from_bytes([8; 32]),
        name: "m".into(),
        serial: 1,
        version: "v".into(),
        publisher: key(1),
        length: 2,
        expires: 0,
        entry_point: "core".into(),
        known: true,
    }
}

fn worker_info(state: WorkerState) -> WorkerInfo {
    WorkerInfo {
        id: worker(),
        module: Digest::from_bytes([8; 32]),
        host: key(1),
        state,
        owner: key(2),
        channel: Channel(9),
        unanswered: 1,
        uncollected: 2,
        deployment: Some(DeploymentId(4)),
    }
}

fn job() -> JobId {
    JobId([3; 16])
}

fn attempt() -> AttemptId {
    AttemptId::new(1, 2)
}

fn payload() -> Payload {
    Payload::Here(vec![1, 2].into())
}

fn stored() -> BlobRef {
    BlobRef { digest: Digest::from_bytes([9; 32]), length: 300_000 }
}

fn job_spec(give_up: GiveUp) -> JobSpec {
    JobSpec {
        name: "m".into(),
        module: Digest::from_bytes([8; 32]),
        arguments: vec![1],
        labels: vec![Label { name: "a".into(), value: "b".into() }],
        memory_bytes: 5,
        priority: -1,
        timeout_ms: 300,
        attempts_max: 3,
        give_up,
    }
}

fn job_info(state: JobState) -> JobInfo {
    JobInfo {
        id: job(),
        owner: key(1),
        spec: job_spec(GiveUp::Percent(5)),
        state,
        counts: JobCounts { submitted: 6, waiting: 3, leased: 0, done: 2, dead: 1, retried: 4 },
        created: 7,
        recorded: 3,
        hosts: 2,
        executing: 1,
    }
}

fn attempt_failure() -> AttemptFailure {
    let log = vec![LogLine { unix_ms: 1, level: LogLevel::Error, text: "t".into() }];
    AttemptFailure { host: key(1), host_name: "lab".into(), ran_us: 9, failure: Some(failure()), log }
}

fn dead() -> Outcome {
    Outcome::Dead { why: "w".into(), attempts: vec![attempt_failure()] }
}

/// What the manager keeps on disk and reads again after an upgrade.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let job = JobRecord {
        owner: key(1),
        spec: job_spec(GiveUp::Never),
        state: JobState::Open,
        created: 7,
        submitted: 8,
        input_bytes: 300,
        recorded: 9,
        done: 5,
        dead: 4,
    };
    let outcome =
        OutcomeRecord { task: 5, host: "lab".into(), ran_us: 9, outcome: Outcome::Done(vec![payload()]) };
    let ends = EndBlock { ends: vec![TaskEnd { task: 5, dead: true, ran_us: 9 }] };
    let attempts = [(attempt(), 5)].into();
    let leases = LeaseBlock { job: JobId([3; 16]), host: key(1), attempts };
    vec![
        ("ModuleRecord", ModuleRecord { manifest: vec![1], entry_point: "core".into() }.to_body()),
        ("JobRecord", job.to_body()),
        ("OutcomeRecord", outcome.to_body()),
        ("EndBlock", ends.to_body()),
        ("LeaseBlock", leases.to_body()),
        ("AttemptFailure", attempt_failure().to_body()),
        ("TokenInfo", token_info().to_body()),
        ("AuditEntry", audit_entry().to_body()),
        ("Payload::Here", payload().to_body()),
        ("Payload::Blob", Payload::Blob(stored()).to_body()),
    ]
}

/// Every greeting and every hello.
fn hellos() -> Vec<(&'static str, Vec<u8>)> {
    let proof = Some(Proof { id: [1; 16], mac: [2; 32] });
    let extensions = Extensions::default().with_software("0.1.0");
    let hello = Hello {
        version: 1,
        capacity: capacity(),
        proof,
        resume: Some(resume()),
        extensions: extensions.clone(),
    };
    let attach = Some(Attach { channel: Channel(9), resume: None });
    let welcome = Welcome {
        state: resume(),
        resumed: true,
        publishers: vec![key(1)],
        revoked: vec![key(2)],
        extensions: extensions.clone().with_unix_time(1_700_000_000),
    };
    let refusals = [
        ("Version", JoinRefusal::Version { manager: 1, peer: 2 }),
        ("TicketUnknown", JoinRefusal::TicketUnknown),
        ("TicketExpired", JoinRefusal::TicketExpired { at: 5 }),
        ("TicketUsed", JoinRefusal::TicketUsed { by: key(1) }),
        ("WrongProof", JoinRefusal::WrongProof),
        ("NotAllowed", JoinRefusal::NotAllowed { key: key(1), role: Role::Host }),
        ("Revoked", JoinRefusal::Revoked { key: key(1) }),
        ("Full", JoinRefusal::Full { what: "x".into() }),
        ("Malformed", JoinRefusal::Malformed { why: "x".into() }),
    ];
    let roles = Roles::NONE.with(Role::Client).with(Role::Publisher);
    let mut all = vec![
        ("Hello", hello.to_body()),
        ("Greeting::Pending", Greeting::Pending.to_body()),
        ("Greeting::Welcome", Greeting::Welcome(welcome).to_body()),
        (
            "ClientHello",
            ClientHello { version: 1, proof: None, attach, extensions: extensions.clone() }.to_body(),
        ),
        (
            "ClientGreeting::Welcome",
            ClientGreeting::Welcome { state: Some(resume()), resumed: false, roles, extensions }.to_body(),
        ),
        ("ClientGreeting::Refused", ClientGreeting::Refused(JoinRefusal::WrongProof).to_body()),
        ("Transfer::Module", Transfer::Module { module: Digest::from_bytes([8; 32]) }.to_body()),
        ("Transfer::Fetch", Transfer::Fetch { job: job(), payload: stored() }.to_body()),
        ("Transfer::Keep", Transfer::Keep { job: job(), payload: stored() }.to_body()),
        ("Transferred::Follows", Transferred::Follows.to_body()),
        ("Transferred::Kept", Transferred::Kept.to_body()),
        ("Transferred::Refused", Transferred::Refused { why: "w".into() }.to_body()),
        ("ModuleOffered::Found", ModuleOffered::Found { manifest: vec![1], length: 70_000 }.to_body()),
        ("ModuleOffered::Unknown", ModuleOffered::Unknown.to_body()),
    ];
    for (name, refusal) in refusals {
        let name: &'static str = format!("Greeting::Refused({name})").leak();
        all.push((name, Greeting::Refused(refusal).to_body()));
    }
    all
}

fn requests() -> Vec<(&'static str, Vec<u8>)> {
    let (digest, host) = (Digest::from_bytes([8; 32]), key(1));
    [
        ("Status", Request::Status),
        ("TicketNew", Request::TicketNew { role: Role::Admin, ttl_s: 60 }),
        ("TicketList", Request::TicketList),
        ("TicketRemove", Request::TicketRemove { id: [1; 16] }),
        ("HostList", Request::HostList),
        ("HostApprove", Request::HostApprove { host }),
        ("HostDrain", Request::HostDrain { host }),
        ("HostRemove", Request::HostRemove { host }),
        ("ModuleUpload", Request::ModuleUpload { manifest: vec![1, 2], length: 3 }),
        ("ModuleList", Request::ModuleList),
        ("ModuleRemove", Request::ModuleRemove { module: digest }),
        ("Spawn(On)", Request::Spawn(spawn_request(Placement::On(vec![host])))),
        ("Spawn(Anywhere)", Request::Spawn(spawn_request(Placement::Anywhere { count: 2 }))),
        ("Spawn(EverySlot)", Request::Spawn(spawn_request(Placement::EverySlot))),
        ("WorkerList", Request::WorkerList { everyones: true, ended: false }),
        ("WorkerStop", Request::WorkerStop { workers: vec![worker()], grace_ms: 500 }),
        ("WorkerLogs", Request::WorkerLogs { worker: worker() }),
        ("WorkerPing", Request::WorkerPing { worker: worker() }),
        ("DeploymentList", Request::DeploymentList),
        ("DeploymentRemove", Request::DeploymentRemove { deployment: DeploymentId(4) }),
        ("KeyList", Request::KeyList),
        ("KeyTrust", Request::KeyTrust { key: host, role: Role::Publisher }),
        ("KeyRevoke", Request::KeyRevoke { key: host }),
        ("JobNew", Request::JobNew { job: job(), spec: job_spec(GiveUp::Count(5)) }),
        (
            "JobSubmit",
            Request::JobSubmit { job: job(), first: 4, inputs: [(&payload()).into()].into_iter().collect() },
        ),
        ("JobClose", Request::JobClose { job: job() }),
        ("JobResults", Request::JobResults { job: job(), after: 4, wait_ms: 300 }),
        ("JobShow", Request::JobShow { job: job() }),
        ("JobList", Request::JobList { everyones: true }),
        ("JobStop", Request::JobStop { job: job() }),
        ("JobRetry", Request::JobRetry { job: job() }),
        ("JobForget", Request::JobForget { job: job() }),
        ("Explain(Job)", Request::Explain(Subject::Job(job()))),
        ("Explain(Task)", Request::Explain(Subject::Task(job(), 4))),
        ("Explain(Host)", Request::Explain(Subject::Host(host))),
        ("PayloadKeep", Request::PayloadKeep { job: job(), payload: stored() }),
        ("PayloadFetch", Request::PayloadFetch { job: job(), payload: stored() }),
        ("MessageSend", Request::MessageSend { worker: WorkerId::new(3, 4), length: 5 }),
        ("ModuleSerial", Request::ModuleSerial { publisher: host, name: "echo".into() }),
        ("Overview", Request::Overview),
        ("Feed", Request::Feed { after: 300, most: 4, wait_ms: 500 }),
        ("TaskSamples", Request::TaskSamples { after: 300, most: 4 }),
        ("JobSummary", Request::JobSummary { job: job() }),
        ("TaskShow", Request::TaskShow { job: job(), task: 4 }),
        ("HostShow", Request::HostShow { host }),
        ("AuditList", Request::AuditList { before: 300, most: 4 }),
        ("PageLink", Request::PageLink),
        ("TokenNew", Request::TokenNew { token: host, role: Role::Viewer, ttl_s: 60, name: "n".into() }),
        ("TokenList", Request::TokenList),
        ("TokenRemove", Request::TokenRemove { token: host }),
        (
            "JobNewTraced",
            Request::JobNewTraced { job: job(), spec: job_spec(GiveUp::Never), context: trace_context() },
        ),
        ("JobTraces", Request::JobTraces { job: job() }),
        ("HostLoads", Request::HostLoads),
        ("ModuleSpread", Request::ModuleSpread),
    ]
    .into_iter()
    .map(|(name, request)| (&*format!("Request::{name}").leak(), request.to_body()))
    .collect()
}

fn replies() -> Vec<(&'static str, Vec<u8>)> {
    let denial = Denial {
        code: DenialCode::NoCapacity,
        what: "workers".into(),
        why: "full".into(),
        help: "join".into(),
    };
    let host_info = HostInfo {
        key: key(1),
        state: HostState::Ready,
        capacity: capacity(),
        address: "a:1".into(),
        workers: 1,
        module_bytes_sent: 2,
        compilations: 3,
        compile_us: 4,
    };
    let status = Status {
        manager: key(1),
        software: "0.1.0".into(),
        uptime_ms: 1,
        hosts: 2,
        pending_hosts: 3,
        slots: 4,
        workers: 5,
        modules: 6,
        deployments: 7,
        store_trouble: Some("full".into()),
    };
    let ticket = TicketInfo { id: [1; 16], role: Role::Host, expires: 9, used_by: None };
    let line = LogLine { unix_ms: 1, level: LogLevel::Warn, text: "t".into() };
    let order = DeploymentInfo {
        id: DeploymentId(4),
        request: spawn_request(Placement::EverySlot),
        owner: key(1),
        workers: 2,
    };
    let ended = WorkerState::Ended(End::Failed(failure()));
    let recorded = |outcome| OutcomeEntry { seq: 1, task: 5, host: "lab".into(), ran_us: 9, outcome };
    [
        ("Done", Reply::Done),
        ("Denied", Reply::Denied(denial)),
        ("Status", Reply::Status(status)),
        ("Ticket", Reply::Ticket { text: "grid1".into() }),
        ("Tickets", Reply::Tickets(vec![ticket])),
        ("Hosts", Reply::Hosts(vec![host_info])),
        ("Module", Reply::Module(module_info())),
        ("Modules", Reply::Modules(vec![module_info()])),
        ("Spawned", Reply::Spawned { workers: vec![worker()], deployment: None }),
        ("Workers", Reply::Workers(vec![worker_info(WorkerState::Running), worker_info(ended)])),
        ("Logs", Reply::Logs { lines: vec![line], dropped: 1 }),
        ("WorkerStatus", Reply::WorkerStatus(WorkerStatus::Busy)),
        ("Deployments", Reply::Deployments(vec![order])),
        ("Keys", Reply::Keys(vec![KeyInfo { key: key(1), roles: Roles::NONE, revoked: true }])),
        ("Job", Reply::Job(job_info(JobState::Finished))),
        ("Jobs", Reply::Jobs(vec![job_info(JobState::GivenUp { why: "w".into() })])),
        ("Submitted", Reply::Submitted { next: 300 }),
        ("Results", Reply::Results { outcomes: vec![recorded(dead())], job: job_info(JobState::Cancelled) }),
        ("Explanation", Reply::Explanation { lines: vec!["l".into()] }),
        ("Payload", Reply::Payload { length: 300_000 }),
        ("Serial", Reply::Serial { seen: 300_000 }),
        ("Overview", Reply::Overview(overview())),
        ("Feed", Reply::Feed { entries: events(), missed: 300, next: 301 }),
        ("TaskSamples", Reply::TaskSamples { samples: vec![sample()], missed: 0, next: 1 }),
        ("JobSummary", Reply::JobSummary(job_summary())),
        ("Task(Waiting)", task_reply(TaskStanding::Waiting)),
        ("Task(Held)", task_reply(TaskStanding::Held(vec![held_attempt()]))),
        ("Task(Done)", task_reply(TaskStanding::Done { host: "lab".into(), ran_us: 9, results: vec![300] })),
        ("Task(Dead)", task_reply(TaskStanding::Dead { why: "w".into() })),
        ("HostWork", Reply::HostWork(host_work())),
        ("Audit", Reply::Audit(vec![audit_entry()])),
        ("PageLink", Reply::PageLink { url: "u".into(), certificate: Some(Digest::from_bytes([8; 32])) }),
        ("Tokens", Reply::Tokens(vec![token_info()])),
        ("Traces", Reply::Traces(vec![task_trace()])),
        ("HostLoads", Reply::HostLoads(vec![host_load()])),
        ("ModuleSpread", Reply::ModuleSpread(vec![module_spread()])),
    ]
    .into_iter()
    .map(|(name, reply)| (&*format!("Reply::{name}").leak(), reply.to_body()))
    .collect()
}

fn overview() -> Overview {
    Overview {
        unix_ms: 300,
        jobs: 1,
        waiting: 2,
        leased: 3,
        executing: 4,
        quarantined: 5,
        totals: Totals { done: 6, dead: 7, failed: 8, lost: 9, submitted: 10 },
        rates: vec![RateSecond { done: 1, failed: 2 }],
        newest_event: 11,
        newest_sample: 12,
    }
}

/// One of every kind of event.
fn events() -> Vec<FeedEntry> {
    let (host, module) = (key(1), Digest::from_bytes([8; 32]));
    let (name, why) = (String::from("lab"), String::from("w"));
    let change = |change| GridEvent::Host { host, name: name.clone(), change };
    let events = [
        change(HostActivity::Pending),
        change(HostActivity::Joined { slots: 4 }),
        change(HostActivity::Returned),
        change(HostActivity::Away),
        change(HostActivity::Draining),
        change(HostActivity::Gone),
        change(HostActivity::Quarantined { for_ms: 5 }),
        change(HostActivity::Barred { job: job(), for_ms: 5 }),
        change(HostActivity::Unfit { job: job(), why: why.clone() }),
        change(HostActivity::Compiled { module, us: 5 }),
        GridEvent::Refused { key: host, from: "a:1".into(), why: why.clone() },
        GridEvent::Login { key: host, from: "a:1".into() },
        GridEvent::Granted { key: host, role: Role::Viewer },
        GridEvent::Revoked { key: host },
        GridEvent::ModuleUploaded { module, name: name.clone(), publisher: host },
        GridEvent::ModuleRemoved { module, name: name.clone() },
        GridEvent::Job { job: job(), name: name.clone(), owner: host, state: JobState::Open },
        GridEvent::TaskDead { job: job(), task: 4, owner: host, why: why.clone() },
        GridEvent::WorkerStarted { worker: worker(), module, host, owner: host },
        GridEvent::WorkerEnded { worker: worker(), host, owner: host, end: "trap".into(), accident: true },
        GridEvent::StoreTrouble { why },
        GridEvent::StoreWorks,
    ];
    events.into_iter().map(|event| FeedEntry { seq: 1, unix_ms: 2, event }).collect()
}

fn sample() -> TaskSample {
    TaskSample {
        seq: 1,
        job: job(),
        task: 4,
        host: key(1),
        end_unix_us: 300,
        ran_us: 9,
        ending: AttemptEnding::Lost,
        stands_for: 7,
    }
}

fn host_load() -> HostLoad {
    HostLoad { host: key(1), held: 4, window: 5, executing: 3, quarantine_ms: Some(300) }
}

fn module_spread() -> ModuleSpread {
    ModuleSpread { module: Digest::from_bytes([8; 32]), hosts: 2, on: vec![key(1)] }
}

fn trace_context() -> TraceContext {
    TraceContext { trace: [5; 16], span: [6; 8], sampled: true }
}

fn times() -> AttemptTimes {
    AttemptTimes {
        attempt: attempt(),
        input_us: 1,
        module_us: 300,
        compile_us: 200,
        given_us: 301,
        begun_us: 302,
        ended_us: 303,
        told_us: 304,
    }
}

fn task_trace() -> TaskTrace {
    let kinds = [
        PartKind::Wait,
        PartKind::Lease,
        PartKind::Send,
        PartKind::Input,
        PartKind::Module,
        PartKind::Compile,
        PartKind::Queue,
        PartKind::Start,
        PartKind::Run,
        PartKind::Report,
        PartKind::Record,
        PartKind::Host,
    ];
    TaskTrace {
        job: job(),
        task: 4,
        host: "lab".into(),
        ending: AttemptEnding::Done,
        submitted_unix_us: 300,
        whole_us: 12,
        parts: kinds.map(|kind| TracePart { kind, us: 1 }).to_vec(),
    }
}

fn job_summary() -> JobSummary {
    let (kind, message, host) = ("trap".into(), "m".into(), "lab".to_owned());
    JobSummary {
        reasons: vec![FailureReason { kind, message, count: 2, task: 4, host: host.clone() }],
        other_failures: 1,
        slowest: vec![SlowTask { task: 4, ran_us: 9, host }],
        done: 5,
        ran_us: 300,
    }
}

fn held_attempt() -> HeldAttempt {
    let (attempt, host) = ("a1.2".into(), "lab".into());
    HeldAttempt { attempt, job: job(), task: 4, host, running_ms: Some(5), lease_ms: 300 }
}

fn task_reply(standing: TaskStanding) -> Reply {
    Reply::Task(TaskInfo { job: job(), task: 4, standing, failures: vec![attempt_failure()] })
}

fn host_work() -> HostWork {
    HostWork {
        host: key(1),
        attempts: vec![held_attempt()],
        held: 1,
        window: 2,
        modules: vec![Digest::from_bytes([8; 32])],
        explanation: vec!["l".into()],
    }
}

fn audit_entry() -> AuditEntry {
    AuditEntry {
        seq: 1,
        unix: 2,
        key: key(1),
        via: "client".into(),
        action: "job stop".into(),
        subject: "j".into(),
        refused: Some("w".into()),
    }
}

fn token_info() -> TokenInfo {
    TokenInfo { id: key(1), owner: key(2), role: Role::Viewer, expires: 9, name: "n".into() }
}

/// Control frames, each with the first note of a session in it.
fn notes() -> Vec<(&'static str, Vec<u8>)> {
    let line = LogLine { unix_ms: 1, level: LogLevel::Info, text: "t".into() };
    let spawn = SpawnWorker {
        workers: vec![worker()],
        module: Digest::from_bytes([8; 32]),
        arguments: vec![1],
        limits: LimitsAsked::default(),
    };
    let done = AttemptEnd { attempt: attempt(), ran_us: 9, result: AttemptResult::Done(vec![payload()]) };
    let result = AttemptResult::Failed { failure: failure(), log: vec![line.clone()] };
    let failed = AttemptEnd { attempt: attempt(), ran_us: 9, result };
    let reports = [
        ("HostEvent::Started", HostEvent::Started { workers: vec![worker()] }),
        (
            "HostEvent::Ended",
            HostEvent::Ended { worker: worker(), end: End::Silent { ms: 5 }, sent: 6, settled: 7 },
        ),
        ("HostEvent::Log", HostEvent::Log { worker: worker(), lines: vec![line], dropped: 2 }),
        (
            "HostEvent::ModuleReady",
            HostEvent::ModuleReady {
                module: Digest::from_bytes([8; 32]),
                fetched_bytes: 3,
                compile_us: Some(4),
            },
        ),
        ("HostEvent::Draining", HostEvent::Draining),
        ("HostEvent::Pong", HostEvent::Pong { nonce: 1, worker_status: WorkerStatus::Idle }),
        ("HostEvent::Window", HostEvent::Window { attempts: 300 }),
        ("HostEvent::Holding", HostEvent::Holding { attempts: vec![attempt()] }),
        ("HostEvent::Executing", HostEvent::Executing { attempts: vec![attempt()] }),
        ("HostEvent::Alive", HostEvent::Alive { attempts: vec![attempt()] }),
        ("HostEvent::Outcomes", HostEvent::Outcomes { ends: vec![done, failed] }),
        ("HostEvent::Returned", HostEvent::Returned { attempts: vec![attempt()] }),
        ("HostEvent::Traced", HostEvent::Traced { times: vec![times()] }),
    ];
    let brief = JobBrief {
        job: job(),
        module: Digest::from_bytes([8; 32]),
        arguments: vec![1],
        memory_bytes: 5,
        timeout_ms: 300,
    };
    let orders = [
        ("HostCommand::SpawnFor", HostCommand::SpawnFor { owner: key(1), spawn: spawn.clone() }),
        ("HostCommand::Spawn", HostCommand::Spawn(spawn)),
        ("HostCommand::Stop", HostCommand::Stop { workers: vec![worker()], grace_ms: 9 }),
        ("HostCommand::Publishers", HostCommand::Publishers { trusted: vec![key(1)], revoked: vec![] }),
        ("HostCommand::Drain", HostCommand::Drain),
        ("HostCommand::Ping", HostCommand::Ping { worker: worker(), nonce: 1 }),
        ("HostCommand::Job", HostCommand::Job(brief)),
        (
            "HostCommand::Assign",
            HostCommand::Assign {
                job: job(),
                attempts: vec![Assignment { attempt: attempt(), task: 5, input: payload() }],
            },
        ),
        ("HostCommand::Abandon", HostCommand::Abandon { attempts: vec![attempt()] }),
        ("HostCommand::Settled", HostCommand::Settled { attempts: vec![attempt()] }),
        ("HostCommand::JobsOver", HostCommand::JobsOver { jobs: vec![job()] }),
        ("HostCommand::Trace", HostCommand::Trace { attempts: vec![attempt()] }),
    ];
    let joined = ClientEvent::Joined {
        worker: worker(),
        host: key(1),
        module: Digest::from_bytes([8; 32]),
        replaces: None,
    };
    let left = ClientEvent::Left { worker: worker(), end: End::Failed(failure()), sent: 1, settled: 2 };
    let mut frames: Vec<_> = reports
        .into_iter()
        .map(|(name, report)| {
            let mut host = HostEnd::default();
            host.send(&report);
            (name, host.poll_transmit().unwrap())
        })
        .collect();
    for (name, order) in orders {
        let mut manager = ManagerEnd::default();
        manager.send(&order);
        frames.push((name, manager.poll_transmit().unwrap()));
    }
    for (name, event) in [("ClientEvent::Joined", joined), ("Event::Left", left)] {
        let mut manager = ManagerClientEnd::default();
        manager.send(&event);
        frames.push((name, manager.poll_transmit().unwrap()));
    }
    let mut client = ClientEnd::default();
    client.send(&ClientNote::Goodbye { grace_ms: 1 });
    frames.push(("ClientNote::Goodbye", client.poll_transmit().unwrap()));
    frames
}

fn mail() -> Vec<(&'static str, Vec<u8>)> {
    let worker = worker();
    let failure = MessageKind::Failure { about: 4 };
    let frames = [
        (
            "MailFrame::Inline",
            MailFrame::Inline { worker, seq: 5, settled: 3, kind: MessageKind::Message, payload: b"hi" },
        ),
        (
            "MailFrame::Inline(Failure)",
            MailFrame::Inline { worker, seq: 5, settled: 3, kind: failure, payload: b"no" },
        ),
        (
            "MailFrame::Bulk",
            MailFrame::Bulk { worker, seq: 5, settled: 3, kind: MessageKind::Message, length: 70_000 },
        ),
        ("MailFrame::Settled", MailFrame::Settled { worker, settled: 3 }),
    ];
    let mut all: Vec<_> = frames
        .into_iter()
        .map(|(name, frame)| {
            let mut body = Vec::new();
            frame.encode_into(&mut body);
            (name, body)
        })
        .collect();
    all.push(("BulkHead", BulkHead { worker, seq: 5, length: 70_000 }.encode()));
    all
}

fn manifest() -> Vec<(&'static str, Vec<u8>)> {
    let manifest = Manifest {
        name: "m".into(),
        serial: 1,
        version: "v".into(),
        digest: Digest::from_bytes([8; 32]),
        length: 2,
        abi: 1,
        limits: LimitsAsked::default(),
        not_before: 0,
        expires: 0,
        files: FilesAsked::Nothing,
    };
    let sign =
        |manifest: &Manifest| SignedManifest::sign(manifest, &SecretKey::from_seed(&[1; 32])).to_bytes();
    let with_files = Manifest { files: FilesAsked::Folder, ..manifest.clone() };
    vec![("SignedManifest", sign(&manifest)), ("SignedManifest, with files", sign(&with_files))]
}

fn ticket() -> String {
    Ticket::new(vec!["a:1".into()], key(1), Role::Host, 9, [5; 16], [6; 32]).to_string()
}

const BEGIN: &str = "<!-- bytes: begin -->\n";
const END: &str = "<!-- bytes: end -->";

#[test]
fn every_message_has_the_bytes_that_the_documentation_shows() {
    let all = [hellos(), notes(), mail(), requests(), replies(), manifest(), records()].concat();
    let mut table = String::from("| message | bytes of the frame's body |\n| --- | --- |\n");
    for (name, body) in &all {
        let hex: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
        table.push_str(&format!("| `{name}` | `{hex}` |\n"));
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/protocol.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("GRID_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    for (shown, made) in shown.lines().zip(table.lines()) {
        assert_eq!(shown, made, "the wire has changed");
    }
    assert_eq!(shown, table);
}

/// A frame that was a good one: bits flipped, bytes replaced, removed, doubled, cut off.
fn mutate(dice: &mut Dice, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..=dice.roll(4) {
        if frame.is_empty() {
            break;
        }
        let at = dice.roll(frame.len());
        match dice.roll(6) {
            0 => frame[at] ^= 1 << dice.roll(8),
            1 => frame[at] = dice.roll(256) as u8,
            2 => frame[at] = [0xfb, 0xfc, 0xfd, 0xff][dice.roll(4)],
            3 => drop(frame.remove(at)),
            4 => frame.insert(at, dice.roll(256) as u8),
            _ => frame.truncate(at),
        }
    }
    frame
}

/// Frames that each kind of message is tried with.
const MUTATIONS: usize = 1_000_000;

fn survives(seeds: &[(&str, Vec<u8>)], limit: usize, mut decode: impl FnMut(&[u8])) {
    let mut dice = Dice::new(2);
    for _ in 0..MUTATIONS {
        let (_, seed) = &seeds[dice.roll(seeds.len())];
        let frame = mutate(&mut dice, seed);
        LARGEST.set(0);
        decode(&frame);
        let largest = LARGEST.get();
        assert!(largest <= limit, "{largest} bytes were allocated for {frame:02x?}");
    }
}

#[test]
fn a_million_mutated_hellos_and_greetings_are_survived() {
    survives(&hellos(), CONTROL_DECODED_BYTES_MAX, |frame| {
        let _ = Hello::from_body(frame);
        let _ = Greeting::from_body(frame);
        let _ = ClientHello::from_body(frame);
        let _ = ClientGreeting::from_body(frame);
        let _ = Transfer::from_body(frame);
        let _ = Transferred::from_body(frame);
        let _ = ModuleOffered::from_body(frame);
    });
}

#[test]
fn a_million_mutated_requests_are_survived() {
    survives(&requests(), CONTROL_DECODED_BYTES_MAX, |frame| drop(Request::from_body(frame)));
}

#[test]
fn a_million_mutated_replies_are_survived() {
    survives(&replies(), CONTROL_DECODED_BYTES_MAX, |frame| drop(Reply::from_body(frame)));
}

#[test]
fn a_million_mutated_control_frames_are_survived_by_each_end() {
    survives(&notes(), CONTROL_DECODED_BYTES_MAX, |frame| {
        let _ = HostEnd::default().handle_frame(frame);
        let _ = ManagerEnd::default().handle_frame(frame);
        let _ = ClientEnd::default().handle_frame(frame);
        let _ = ManagerClientEnd::default().handle_frame(frame);
    });
}

#[test]
fn a_million_mutated_mail_frames_are_survived() {
    survives(&mail(), 1024, |frame| {
        let body = Bytes::copy_from_slice(frame);
        let _ = MailFrame::decode(&body);
        let _ = BulkHead::decode(frame);
    });
}

#[test]
fn a_hundred_thousand_mutated_manifests_and_tickets_are_survived() {
    let manifests = manifest();
    let text = ticket();
    let mut dice = Dice::new(1);
    for _ in 0..100_000 {
        let frame = mutate(&mut dice, &manifests[0].1);
        let verified = SignedManifest::from_bytes(&frame).and_then(|signed| signed.verify());
        assert!(frame == manifests[0].1 || verified.is_err());
        let changed = String::from_utf8_lossy(&mutate(&mut dice, text.as_bytes())).into_owned();
        // Whoever reads a ticket aloud need not say which letters are capitals.
        assert!(changed.trim().to_lowercase() == text || changed.parse::<Ticket>().is_err());
    }
}
