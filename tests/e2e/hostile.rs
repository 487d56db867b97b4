//! Hostile modules: each is stopped for the right reason, and a bystander on the same host answers all the while.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Grid, echo, local};
use wasm_grid::{Client, Event, Policy, WorkerId};

/// An attack, as its file describes it.
struct Attack {
    name: String,
    ends: String,
    compiles: bool,
    with_files: bool,
    text: String,
}

fn attacks() -> Vec<Attack> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../modules/hostile");
    let mut attacks: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "wat"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let ends = text.lines().find_map(|line| line.strip_prefix(";; ends: ")).unwrap().to_owned();
            assert!(text.starts_with(";; attack: ") && text.contains("\n;; when: "), "{name} lacks its head");
            let compiles = text.contains("\n;; when: compile");
            let with_files = text.contains("\n;; with: files");
            Attack { name, ends, compiles, with_files, text: expand(&text) }
        })
        .collect();
    attacks.sort_by(|a, b| a.name.cmp(&b.name));
    attacks
}

/// Writes out the lines that stand for many.
fn expand(text: &str) -> String {
    let mut expanded = String::new();
    for line in text.lines() {
        let (line, times) = match line.split_once(";; repeat ") {
            Some((line, times)) => (line, times.trim().parse().unwrap()),
            None => (line, 1),
        };
        for _ in 0..times {
            expanded.push_str(line);
            expanded.push('\n');
        }
    }
    expanded
}

/// A worker that is not attacked must answer within this.
const BYSTANDER_TIME_MAX: Duration = Duration::from_millis(50);

/// While a bomb is compiled on a machine with two processors, a host is silent for no longer than this.
const COMPILE_SILENCE_MAX: Duration = Duration::from_millis(100);

/// Times that an attack is faced before the bystander counts as starved.
const TRIES: u32 = 3;

/// An attack that lasts is watched for so long.
const WATCHED: Duration = Duration::from_millis(300);

/// A host of its own process, with a bystander on it.
struct HostileRun {
    host: ChildProcess,
    grid: Grid,
    client: Client,
    bystander: WorkerId,
    slowest: Duration,
    left: Option<String>,
    failed: bool,
}

impl HostileRun {
    async fn new() -> Self {
        let grid = Grid::closed();
        let limits = ["--slots", "4", "--call-seconds", "0.2", "--start-seconds", "0.4"];
        let host = grid.host("besieged", &limits);
        let client = grid.client();
        let module = client.upload("bystander", echo()).await.unwrap();
        let bystander = client.spawn(module.digest).anywhere(1).await.unwrap()[0];
        let mut arena =
            Self { host, grid, client, bystander, slowest: Duration::ZERO, left: None, failed: false };
        arena.ask_bystander().await;
        arena
    }

    /// One round trip with the bystander; what happens to the attacker meanwhile is noted.
    async fn ask_bystander(&mut self) {
        let asked = Instant::now();
        self.client.send(self.bystander, "still there?").await.unwrap();
        loop {
            match self.client.next_event().await {
                Event::Message { worker, .. } if worker == self.bystander => break,
                Event::Left { worker, end, .. } => {
                    assert_ne!(worker, self.bystander, "{end}");
                    self.left = Some(end.label().to_owned());
                }
                Event::Failed { .. } => self.failed = true,
                // What the attacker sends is left where it is, as far as may be.
                _ => {}
            }
        }
        self.slowest = self.slowest.max(asked.elapsed());
    }

    /// What became of the attack. If the bystander was too slow the attack is faced again: what starves it does so
    /// each time, and a machine that was busy with something else does not.
    async fn face_patiently(&mut self, attack: &Attack, patience: Duration) -> String {
        let mut outcome = String::new();
        for _ in 0..TRIES {
            self.slowest = Duration::ZERO;
            outcome = self.face(attack).await;
            if self.slowest <= patience {
                break;
            }
        }
        outcome
    }

    /// What became of the attack, once.
    async fn face(&mut self, attack: &Attack) -> String {
        (self.left, self.failed) = (None, false);
        let Ok(wasm) = wat::parse_str(&attack.text) else { return "no module".to_owned() };
        let uploaded = match attack.with_files {
            true => self.client.upload_with_files(&attack.name, wasm).await,
            false => self.client.upload(&attack.name, wasm).await,
        };
        let Ok(module) = uploaded else { return "rejected".to_owned() };
        let attacker = self.client.spawn(module.digest).anywhere(1).await.unwrap()[0];
        self.client.send(attacker, "strike").await.unwrap();
        let struck = Instant::now();
        let mut watched = None;
        while self.left.is_none() && watched.is_none_or(|since: Instant| since.elapsed() < WATCHED) {
            self.ask_bystander().await;
            if watched.is_none() && self.client.active_workers().contains(&attacker) {
                watched = Some(Instant::now());
            }
            assert!(struck.elapsed() < Duration::from_secs(30), "{} never came to an end", attack.name);
        }
        let outcome = match self.left.take() {
            Some(end) => end,
            None if module.entry_point.starts_with("command") && self.failed => "failed".to_owned(),
            None => "alive".to_owned(),
        };
        self.client.stop_workers(&[attacker], Duration::ZERO).await.unwrap();
        while ["alive", "failed"].contains(&outcome.as_str()) && self.left.is_none() {
            self.ask_bystander().await;
        }
        outcome
    }
}

#[tokio::test]
async fn every_attack_ends_for_the_right_reason_and_a_bystander_answers_within_50_ms() {
    let mut arena = HostileRun::new().await;
    let attacks = attacks();
    assert!(attacks.len() >= 30, "only {} attacks", attacks.len());
    let mut wrong = Vec::new();
    for attack in attacks {
        let patience = if attack.compiles { COMPILE_SILENCE_MAX } else { BYSTANDER_TIME_MAX };
        let outcome = arena.face_patiently(&attack, patience).await;
        let right = match attack.ends.as_str() {
            "survives" => outcome == "alive",
            // The test takes what comes, so that a flood may also run into its limit of time.
            "backpressure" => ["alive", "time-limit"].contains(&outcome.as_str()),
            "trap-or-survives" => ["alive", "trap", "out-of-bounds"].contains(&outcome.as_str()),
            ends => outcome == ends,
        };
        if !right {
            wrong.push(format!("{}: ended as {outcome}, not {}", attack.name, attack.ends));
        }
        if arena.slowest > patience {
            wrong.push(format!("{}: the bystander took {:?}", attack.name, arena.slowest));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    // The process that faced them all is the one that began.
    assert!(!arena.host.has_said("joined again"));
    let workers = arena.grid.must(&["worker", "ls", "--json"]).json();
    assert_eq!(workers["workers"].as_array().unwrap().len(), 1, "the bystander alone is left: {workers}");
}

#[tokio::test]
async fn guests_that_only_make_short_calls_give_way_to_others_on_every_thread() {
    let policy = Policy { compute_threads: 2, ..Policy::default() };
    let grid = local().local_slots(8).local_policy(policy).start().unwrap();
    let again = r#"(module (memory (export "memory") 1) (func (export "handle_msg") (param i32))
        (func (export "loop") (result i32) (i32.const 1)))"#;
    let again = grid.upload("again", wat::parse_str(again).unwrap()).await.unwrap();
    for spinner in grid.spawn(again.digest).anywhere(4).await.unwrap() {
        grid.send(spinner, "go").await.unwrap();
    }
    let module = grid.upload("bystander", echo()).await.unwrap();
    let bystander = grid.spawn(module.digest).anywhere(1).await.unwrap()[0];
    let answered = async {
        for _ in 0..10 {
            grid.send(bystander, "still there?").await.unwrap();
            while !matches!(grid.next_event().await, Event::Message { .. }) {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), answered).await.expect("the bystander was starved");
}
