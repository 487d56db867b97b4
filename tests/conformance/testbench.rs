//! The grid that the suite runs on, and what a rule does with a worker.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use grid_tests::{ChildProcess, Grid, module};
use wasm_grid::{Bytes, Client, Digest, End, Event, LimitsAsked, LogLine, Reply, Request, WorkerId};

use crate::languages::SdkLanguage;

/// A manager and a host, as processes.
pub(crate) struct ConformanceGrid {
    processes: Mutex<(Grid, ChildProcess)>,
    uploaded: Mutex<HashMap<String, Digest>>,
}

impl ConformanceGrid {
    pub(crate) fn new() -> Self {
        let grid = Grid::closed();
        let host = grid.host("conformance", &["--slots", "1000", "--start-seconds", "60"]);
        Self { processes: Mutex::new((grid, host)), uploaded: Mutex::default() }
    }

    /// What a rule has to work with.
    pub(crate) fn bench(&self, language: &'static SdkLanguage) -> Result<Testbench, String> {
        let client = self.processes.lock().unwrap().0.client();
        let conformance = self.upload(&client, &format!("conformance-{}", language.name))?;
        Ok(Testbench { client, conformance, language })
    }

    fn upload(&self, client: &Client, name: &str) -> Result<Digest, String> {
        let mut uploaded = self.uploaded.lock().unwrap();
        if let Some(digest) = uploaded.get(name) {
            return Ok(*digest);
        }
        let digest = upload(client, name)?;
        uploaded.insert(name.to_owned(), digest);
        Ok(digest)
    }

    /// Ends the processes.
    pub(crate) fn end(&self) {
        let mut processes = self.processes.lock().unwrap();
        processes.1.kill();
        processes.0.manager.kill();
    }
}

fn upload(client: &Client, name: &str) -> Result<Digest, String> {
    let path: PathBuf = module(name);
    let wasm = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let uploaded = runtime.map_err(|error| error.to_string())?.block_on(client.upload(name, wasm));
    uploaded.map(|module| module.digest).map_err(|error| error.to_string())
}

/// A client with workers of one language.
pub(crate) struct Testbench {
    pub(crate) client: Client,
    pub(crate) conformance: Digest,
    pub(crate) language: &'static SdkLanguage,
}

/// What came of a message.
#[derive(Debug, Default)]
pub(crate) struct RuleOutcome {
    pub(crate) sent: Vec<Bytes>,
    pub(crate) failed: Option<String>,
    pub(crate) left: Option<End>,
}

impl RuleOutcome {
    /// The one message that was sent.
    pub(crate) fn one(&self) -> Result<&[u8], String> {
        match &self.sent[..] {
            [only] if self.failed.is_none() && self.left.is_none() => Ok(only),
            sent => {
                let sent: Vec<_> = sent.iter().map(|one| shown(one)).collect();
                Err(format!("sent {sent:?}, failed {:?}, left {:?}", self.failed, self.left))
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Message { payload, .. } => self.sent.push(payload),
            Event::Failed { reason, .. } => self.failed = Some(reason),
            Event::Left { end, .. } => self.left = Some(end),
            _ => {}
        }
    }
}

/// Bytes for a person, cut.
pub(crate) fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned()
}

/// Memory that a worker has in the rule about memory.
pub(crate) const LITTLE_MEMORY_BYTES: u64 = 64 << 20;

impl Testbench {
    /// A worker that takes messages.
    pub(crate) async fn worker(&self) -> Result<WorkerId, String> {
        self.spawn(self.conformance, b"", None).await?.map_err(|end| format!("it did not start: {end}"))
    }

    /// A worker of the language's counter of primes.
    pub(crate) async fn primes(&self) -> Result<WorkerId, String> {
        let name = match self.language.name {
            "rust" => "primes".to_owned(),
            other => format!("primes-{other}"),
        };
        let wasm = std::fs::read(module(&name)).map_err(|error| error.to_string())?;
        let module = self.client.upload(&name, wasm).await.map_err(|error| error.to_string())?;
        self.spawn(module.digest, b"", None).await?.map_err(|end| format!("it did not start: {end}"))
    }

    /// A worker that takes messages, or how it ended instead.
    pub(crate) async fn spawn(
        &self,
        module: Digest,
        arguments: &[u8],
        memory: Option<u64>,
    ) -> Result<Result<WorkerId, End>, String> {
        let mut spawn = self.client.spawn(module).arguments(arguments);
        if let Some(bytes) = memory {
            spawn = spawn.limits(LimitsAsked { memory_bytes: Some(bytes), call_ms: None });
        }
        let spawned = spawn.anywhere(1).await.map_err(|denial| denial.to_string())?;
        loop {
            match self.client.next_event().await {
                Event::Joined { worker, .. } if worker == spawned[0] => return Ok(Ok(worker)),
                Event::Left { worker, end, .. } if worker == spawned[0] => return Ok(Err(end)),
                _ => {}
            }
        }
    }

    /// Sends messages and waits until the worker is through with them, or gone.
    pub(crate) async fn ask_all(
        &self,
        worker: WorkerId,
        messages: &[Vec<u8>],
    ) -> Result<RuleOutcome, String> {
        for message in messages {
            let sent = self.client.send(worker, message.clone()).await;
            sent.map_err(|error| error.to_string())?;
        }
        let mut outcome = RuleOutcome::default();
        while !self.client.is_quiet(worker) {
            tokio::select! {
                event = self.client.next_event() => outcome.note(event),
                () = self.client.settled() => {}
            }
        }
        // What it sent has come before the word that it is through.
        while let Ok(event) = tokio::time::timeout(Duration::ZERO, self.client.next_event()).await {
            outcome.note(event);
        }
        Ok(outcome)
    }

    pub(crate) async fn ask(
        &self,
        worker: WorkerId,
        request: u8,
        body: impl AsRef<[u8]>,
    ) -> Result<RuleOutcome, String> {
        let body = body.as_ref();
        let mut outcome = self.ask_all(worker, &[[&[request], body].concat()]).await?;
        let answers = match request {
            b'*' => String::from_utf8_lossy(body).parse().unwrap_or_default(),
            _ => 1,
        };
        // A long answer comes on a stream of its own, and may be overtaken by the word that the worker is through.
        while outcome.sent.len() < answers && outcome.failed.is_none() && outcome.left.is_none() {
            outcome.note(self.client.next_event().await);
        }
        Ok(outcome)
    }

    /// Asks a new worker one thing.
    pub(crate) async fn ask_one(&self, request: u8, body: impl AsRef<[u8]>) -> Result<RuleOutcome, String> {
        let worker = self.worker().await?;
        self.ask(worker, request, body).await
    }

    /// What the worker has logged. What it wrote before a ping comes before the answer.
    pub(crate) async fn log(&self, worker: WorkerId) -> Result<Vec<LogLine>, String> {
        self.client.ping(worker).await.map_err(|denial| denial.to_string())?;
        self.written(worker).await
    }

    async fn written(&self, worker: WorkerId) -> Result<Vec<LogLine>, String> {
        let logs = self.client.request(Request::WorkerLogs { worker }).await;
        match logs.map_err(|denial| denial.to_string())? {
            Reply::Logs { lines, .. } => Ok(lines),
            other => Err(format!("no log: {other:?}")),
        }
    }

    /// Asks a worker to stop, and gives its log and its end. Its last words come before its end.
    pub(crate) async fn stop(&self, worker: WorkerId) -> Result<(Vec<LogLine>, End), String> {
        let stopped = self.client.stop_workers(&[worker], Duration::from_secs(5)).await;
        stopped.map_err(|denial| denial.to_string())?;
        loop {
            if let Event::Left { end, .. } = self.client.next_event().await {
                return Ok((self.written(worker).await?, end));
            }
        }
    }
}
