//! A grid for tests: a round of answers, and keys.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use grid_protocol::activity::{
    FailureReason, FeedEntry, GridEvent, HeldAttempt, HostActivity, HostWork, JobSummary, Overview,
    RateSecond, SlowTask, TaskInfo, TaskStanding, Totals,
};
use grid_protocol::client::Channel;
use grid_protocol::label::Label;
use wasm_grid::{
    AttemptFailure, Digest, End, Failure, FailureKind, GiveUp, HostCapacity, HostInfo, HostState, JobCounts,
    JobId, JobInfo, JobSpec, JobState, LogLevel, LogLine, ModuleInfo, PublicKey, Role, Roles, SecretKey,
    Status, WorkerId, WorkerInfo, WorkerState,
};

use crate::command::top::data::{TopDetail, TopNews, TopRound, TopWanted};
use crate::command::top::layout::TopSize;
use crate::command::top::state::{TopEffect, TopState};

/// When everything in the samples happens, in milliseconds since 1970.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

pub(crate) fn key(seed: u8) -> PublicKey {
    SecretKey::from_seed(&[seed; 32]).public()
}

pub(crate) fn host(seed: u8, name: &str, state: HostState) -> HostInfo {
    HostInfo {
        key: key(seed),
        state,
        capacity: HostCapacity {
            name: name.to_owned(),
            slots: 4,
            memory_bytes: 1 << 30,
            labels: vec![Label { name: "zone".to_owned(), value: "a".to_owned() }],
            platform: "x86_64-linux".to_owned(),
            software: "0.1.0".to_owned(),
        },
        address: format!("192.0.2.{seed}:4747"),
        workers: 2,
        module_bytes_sent: 70_000,
        compilations: 2,
        compile_us: 1500,
    }
}

pub(crate) fn job(seed: u8, name: &str, state: JobState, done: u64, dead: u64) -> JobInfo {
    let spec = JobSpec {
        name: name.to_owned(),
        module: Digest::of(b"primes"),
        arguments: Vec::new(),
        labels: Vec::new(),
        memory_bytes: 0,
        priority: 0,
        timeout_ms: 0,
        attempts_max: 1,
        give_up: GiveUp::Never,
    };
    let leased = if state.is_over() { 0 } else { 8 };
    let waiting = if state.is_over() { 0 } else { 10_000 - done - dead - leased };
    let submitted = waiting + leased + done + dead;
    let counts = JobCounts { submitted, waiting, leased, done, dead, retried: 5 };
    let (id, owner) = (JobId([seed; 16]), key(9));
    let created = NOW_MS / 1000 - 60 - u64::from(seed);
    JobInfo { id, owner, spec, state, counts, created, recorded: done + dead, hosts: 2, executing: 6 }
}

pub(crate) fn worker(count: u32, state: WorkerState) -> WorkerInfo {
    WorkerInfo {
        id: WorkerId::new(1, count),
        module: Digest::of(b"primes"),
        host: key(1),
        state,
        owner: key(9),
        channel: Channel::COMMAND,
        unanswered: 3,
        uncollected: count,
        deployment: None,
    }
}

pub(crate) fn module() -> ModuleInfo {
    ModuleInfo {
        digest: Digest::of(b"primes"),
        name: "primes".to_owned(),
        serial: 1_700_000_000,
        version: "1.2".to_owned(),
        publisher: key(9),
        length: 83_713,
        expires: 0,
        entry_point: "command with files".to_owned(),
        known: true,
    }
}

pub(crate) fn joined(seq: u64, name: &str) -> FeedEntry {
    let event =
        GridEvent::Host { host: key(1), name: name.to_owned(), change: HostActivity::Joined { slots: 4 } };
    FeedEntry { seq, unix_ms: NOW_MS + seq * 1000, event }
}

pub(crate) fn overview(unix_ms: u64) -> Overview {
    let rate = |second: u32| RateSecond { done: second % 50, failed: u32::from(second.is_multiple_of(100)) };
    Overview {
        unix_ms,
        jobs: 1,
        waiting: 5589,
        leased: 8,
        executing: 6,
        quarantined: 1,
        totals: Totals { done: 4400, dead: 3, failed: 7, lost: 2, submitted: 10_000 },
        rates: (0..300).map(rate).collect(),
        newest_event: 2,
        newest_sample: 0,
    }
}

/// The answers of a round in which a grid with a bit of everything is seen.
pub(crate) fn round(wanted: TopWanted) -> TopRound {
    let dead = JobState::GivenUp { why: "more than 2 tasks failed".to_owned() };
    let task_dead = GridEvent::TaskDead {
        job: JobId([7; 16]),
        task: 17,
        owner: key(9),
        why: "it failed 3 times".to_owned(),
    };
    TopRound {
        wanted,
        status: Status {
            manager: key(5),
            software: "0.1.0".to_owned(),
            uptime_ms: 3_725_000,
            hosts: 2,
            pending_hosts: 1,
            slots: 8,
            workers: 2,
            modules: 1,
            deployments: 0,
            store_trouble: None,
        },
        roles: Some(Roles::of(Role::Admin)),
        overview: Some(overview(NOW_MS)),
        hosts: Some(vec![
            host(1, "rack-1", HostState::Ready),
            host(2, "rack-2", HostState::Away),
            host(3, "stranger", HostState::Pending),
        ]),
        jobs: Some(vec![
            job(7, "to-a-million", JobState::Closed, 4400, 3),
            job(8, "wordcounts", JobState::Finished, 50, 0),
            job(6, "sums", dead, 10, 3),
        ]),
        workers: Some(vec![
            worker(2, WorkerState::Running),
            worker(1, WorkerState::Starting),
            worker(3, WorkerState::Ended(End::HostLost)),
        ]),
        modules: Some(vec![module()]),
        events: vec![joined(1, "rack-1"), FeedEntry { seq: 2, unix_ms: NOW_MS + 2500, event: task_dead }],
        missed: 0,
        started_anew: false,
        detail: None,
        refused: None,
    }
}

pub(crate) fn job_detail() -> TopDetail {
    let (kind, message) = ("trap".to_owned(), "wasm `unreachable` instruction executed".to_owned());
    let reason = FailureReason { kind, message, count: 7, task: 17, host: "rack-1".to_owned() };
    let slow = |task, ran_us| SlowTask { task, ran_us, host: "rack-2".to_owned() };
    let summary = JobSummary {
        reasons: vec![reason],
        other_failures: 2,
        slowest: vec![slow(4211, 2_500_000), slow(12, 900_000)],
        done: 4400,
        ran_us: 4400 * 20_000,
    };
    let info = job(7, "to-a-million", JobState::Closed, 4400, 3);
    let explained = vec!["host rack-2 is away, and is expected back".to_owned()];
    TopDetail::Job(Box::new(info), summary, explained)
}

pub(crate) fn host_detail() -> TopDetail {
    let held = |task, running_ms| HeldAttempt {
        attempt: "a1.17".to_owned(),
        job: JobId([7; 16]),
        task,
        host: "rack-1".to_owned(),
        running_ms,
        lease_ms: 14_000,
    };
    TopDetail::Host(HostWork {
        host: key(1),
        attempts: vec![held(17, Some(1200)), held(18, None)],
        held: 2,
        window: 8,
        modules: vec![Digest::of(b"primes")],
        explanation: vec!["it has 2 of 8 attempts that it would take".to_owned()],
    })
}

pub(crate) fn task_detail() -> TopDetail {
    let message = "wasm `unreachable` instruction executed".to_owned();
    let failure = Failure { kind: FailureKind::Trap, message, backtrace: vec!["sieve".to_owned()] };
    let line = LogLine { unix_ms: NOW_MS, level: LogLevel::Error, text: "no number: \x1b[31mx".to_owned() };
    let host_name = "rack-1".to_owned();
    let attempt =
        AttemptFailure { host: key(1), host_name, ran_us: 1500, failure: Some(failure), log: vec![line] };
    let standing = TaskStanding::Dead { why: "it failed 3 times".to_owned() };
    let info = TaskInfo { job: JobId([7; 16]), task: 17, standing, failures: vec![attempt] };
    TopDetail::Task(info, vec!["task 17 is dead: it failed 3 times".to_owned()])
}

/// A screen of this size that has seen a round.
pub(crate) fn seen(columns: u16, lines: u16) -> TopState {
    let mut state = TopState::new(TopSize { columns, lines }, false);
    answer(&mut state, |_| {});
    state
}

/// Answers what the screen wants, after `change`.
pub(crate) fn answer(state: &mut TopState, change: impl FnOnce(&mut TopRound)) {
    let mut round = round(state.wanted());
    if state.known().status.is_some() {
        round.events.clear();
    }
    change(&mut round);
    state.handle_news(TopNews::Round(Box::new(round)));
}

/// Types letters, one key each; `\n` is enter, `\t` tab, `\x1b` escape, and a letter after `^` is with control.
pub(crate) fn keys(state: &mut TopState, typed: &str) -> Option<TopEffect> {
    let (mut letters, mut effect) = (typed.chars(), None);
    while let Some(letter) = letters.next() {
        let (code, modifiers) = match letter {
            '\n' => (KeyCode::Enter, KeyModifiers::NONE),
            '\t' => (KeyCode::Tab, KeyModifiers::NONE),
            '\x1b' => (KeyCode::Esc, KeyModifiers::NONE),
            '\x08' => (KeyCode::Backspace, KeyModifiers::NONE),
            '^' => (KeyCode::Char(letters.next().unwrap()), KeyModifiers::CONTROL),
            letter => (KeyCode::Char(letter), KeyModifiers::NONE),
        };
        effect = state.handle_key(KeyEvent::new(code, modifiers));
    }
    effect
}

pub(crate) fn click(state: &mut TopState, column: u16, row: u16) -> Option<TopEffect> {
    mouse(state, MouseEventKind::Down(MouseButton::Left), column, row)
}

pub(crate) fn mouse(state: &mut TopState, kind: MouseEventKind, column: u16, row: u16) -> Option<TopEffect> {
    state.handle_mouse(MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }).1
}
