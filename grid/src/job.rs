//! Jobs: hand the grid tasks, take each outcome once.

mod builder;
mod inputs;
mod map;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request, Subject};
use grid_protocol::job::{AttemptFailure, BlobRef, JobId, JobInfo, Outcome, OutcomeEntry, Payload};
use grid_protocol::limits::{BATCH_BYTES_MAX, BATCH_TASKS_MAX, PAYLOAD_BYTES_MAX};
use serde::de::DeserializeOwned;

use crate::cbor::{CborError, from_cbor};
use crate::client::Client;
use crate::command_output::CommandOutput;
use crate::denial::unexpected;

pub use builder::{JobBuilder, SubmitError};
pub use inputs::{CborInputs, Inputs};
pub use map::Map;

/// A task may take so long, unless its job says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A task is attempted so often, where it fails by its own fault, unless its job says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 3;

/// How long one request waits for outcomes.
const RESULTS_WAIT: Duration = Duration::from_secs(10);

/// A manager that does not answer is asked again so often, with a pause in between: two minutes for a restart.
const TRIES_MAX: u32 = 60;
const TRY_PAUSE: Duration = Duration::from_secs(2);

/// A job at the manager.
#[derive(Clone)]
pub struct Job<'a> {
    client: &'a Client,
    id: JobId,
}

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOutcome {
    /// The task's number in its job, from 0.
    pub task: u64,
    /// The outcome's own number in the job's record, from 1, in the order in which tasks ended.
    pub seq: u64,
    /// What people call the host that it ended on.
    pub host: String,
    /// How long its last attempt ran.
    pub ran: Duration,
    /// What it sent, in order, or why there is nothing.
    pub results: Result<Vec<Bytes>, TaskFailed>,
}

/// A task that has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task failed: {why}")]
pub struct TaskFailed {
    /// Why it was not tried again.
    pub why: String,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptFailure>,
}

impl TaskOutcome {
    /// The first thing that the task sent, as a value.
    ///
    /// # Errors
    ///
    /// [`CborError::Decode`], if it sent nothing, failed, or sent something else.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, CborError> {
        match &self.results {
            Ok(results) => match results.first() {
                Some(first) => from_cbor(first),
                None => Err(CborError::Decode("the task sent nothing".to_owned())),
            },
            Err(failed) => Err(CborError::Decode(failed.to_string())),
        }
    }
}

impl TaskOutcome {
    /// The answer of a command whose manifest asks for files.
    ///
    /// # Errors
    ///
    /// [`CborError::Decode`], if the task failed, or what it sent is no such answer.
    pub fn command_answer(&self) -> Result<CommandOutput, CborError> {
        match &self.results {
            Ok(results) => match &results[..] {
                [result] => CommandOutput::read(result),
                _ => Err(CborError::Decode("a command answers with one message".to_owned())),
            },
            Err(failed) => Err(CborError::Decode(failed.to_string())),
        }
    }
}

impl From<OutcomeEntry> for TaskOutcome {
    fn from(recorded: OutcomeEntry) -> Self {
        let OutcomeEntry { seq, task, host, ran_us, outcome } = recorded;
        let results = match outcome {
            Outcome::Done(results) => Ok(results.into_iter().map(here).collect()),
            Outcome::Dead { why, attempts } => Err(TaskFailed { why, attempts }),
        };
        Self { task, seq, host, ran: Duration::from_micros(ran_us), results }
    }
}

/// The bytes of a result. Those that the manager keeps were fetched before.
fn here(result: Payload) -> Bytes {
    match result {
        Payload::Here(bytes) => bytes.into(),
        _ => Bytes::new(),
    }
}

/// Results that are held in memory at once, beyond one task's.
const FETCHED_BYTES_MAX: u64 = 64 << 20;

impl Client {
    async fn ask_again(&self, request: Request) -> Result<Reply, Denial> {
        let mut tries = 0;
        loop {
            match self.request(request.clone()).await {
                // What is asked about jobs changes nothing when it is asked twice.
                Err(denial) if denial.code == DenialCode::ManagerFault && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }
}

impl Job<'_> {
    /// Its id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Whose job it is.
    pub fn client(&self) -> &Client {
        self.client
    }

    /// Brings tasks, of which the first has the number `first` in the job; when this returns they are on the manager's
    /// disk. A full queue holds this up.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn submit(&self, first: u64, inputs: Vec<Bytes>) -> Result<u64, Denial> {
        let end = first + inputs.len() as u64;
        let mut left: VecDeque<Bytes> = inputs.into();
        let mut next = first;
        while !left.is_empty() {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            for input in &left {
                // A long one is brought apart, and takes its place by name.
                bytes += if input.len() > PAYLOAD_BYTES_MAX { LONG_BYTES } else { input.len() + 16 };
                if !batch.is_empty() && (bytes > BATCH_BYTES_MAX || batch.len() == BATCH_TASKS_MAX) {
                    break;
                }
                batch.push(Payload::Here(input.to_vec()));
            }
            for input in &mut batch {
                self.put_away(input).await?;
            }
            let request = Request::JobSubmit { job: self.id, first: next, inputs: batch };
            let reply = self.client.ask_again(request).await?;
            let Reply::Submitted { next: expected } = reply else {
                return Err(unexpected(&reply));
            };
            let had = usize::try_from(expected.saturating_sub(next)).unwrap_or(usize::MAX).min(left.len());
            left.drain(..had);
            next = next.max(expected);
        }
        Ok(end)
    }

    /// No more tasks will come.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn close(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobClose { job: self.id }).await
    }

    /// How it stands.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn show(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobShow { job: self.id }).await
    }

    /// Why it is not further, in words, a line each: what `grid explain` prints.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn explain(&self) -> Result<Vec<String>, Denial> {
        match self.client.request(Request::Explain(Subject::Job(self.id))).await? {
            Reply::Explanation { lines } => Ok(lines),
            other => Err(unexpected(&other)),
        }
    }

    /// Stops it: what waits gets no outcome, what runs is ended.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn stop(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobStop { job: self.id }).await
    }

    /// Tries its dead tasks again. Asked twice, it tries those again that died in between: if no answer comes, look
    /// how the job stands.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn retry(&self) -> Result<JobInfo, Denial> {
        match self.client.request(Request::JobRetry { job: self.id }).await? {
            Reply::Job(info) => Ok(info),
            other => Err(unexpected(&other)),
        }
    }

    /// Forgets it, with its inputs and outcomes; it must be over.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn forget(&self) -> Result<(), Denial> {
        self.client.ask_again(Request::JobForget { job: self.id }).await.map(drop)
    }

    /// Outcomes after number `after`, waiting for the first of them for `wait` at the most; and how the job stands.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn outcomes(&self, after: u64, wait: Duration) -> Result<(Vec<OutcomeEntry>, JobInfo), Denial> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let request = Request::JobResults { job: self.id, after, wait_ms };
        match self.client.ask_again(request).await? {
            Reply::Results { mut outcomes, job } => {
                let mut fetched = 0;
                let mut whole = 0;
                for recorded in &mut outcomes {
                    let long = long_bytes(recorded);
                    if fetched > 0 && fetched + long > FETCHED_BYTES_MAX {
                        // The rest comes when it is asked for after these.
                        break;
                    }
                    fetched += long;
                    whole += 1;
                    self.fetch_results(recorded).await?;
                }
                outcomes.truncate(whole);
                Ok((outcomes, job))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Brings a long input, and leaves its name in its place.
    async fn put_away(&self, input: &mut Payload) -> Result<(), Denial> {
        let Payload::Here(bytes) = input else {
            return Ok(());
        };
        if bytes.len() <= PAYLOAD_BYTES_MAX {
            return Ok(());
        }
        let bytes = Bytes::from(std::mem::take(bytes));
        let stored = BlobRef::of(&bytes);
        let request = Request::PayloadKeep { job: self.id, payload: stored };
        let mut tries = 0;
        loop {
            match self.client.request_with(request.clone(), Some(bytes.clone())).await {
                Ok(_) => break,
                Err(denial) if denial.code == DenialCode::ManagerFault && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                }
                Err(denial) => return Err(denial),
            }
        }
        *input = Payload::Blob(stored);
        Ok(())
    }

    /// Fetches the results that the manager keeps.
    async fn fetch_results(&self, recorded: &mut OutcomeEntry) -> Result<(), Denial> {
        let Outcome::Done(results) = &mut recorded.outcome else {
            return Ok(());
        };
        for result in results {
            if let Payload::Blob(stored) = result {
                *result = Payload::Here(self.client.fetch(self.id, *stored).await?.into());
            }
        }
        Ok(())
    }

    /// Waits until it is over; how it stands then.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn wait(&self) -> Result<JobInfo, Denial> {
        let mut info = self.show().await?;
        while !info.state.is_over() {
            (_, info) = self.outcomes(info.recorded, RESULTS_WAIT).await?;
        }
        Ok(info)
    }

    async fn info_from(&self, request: Request) -> Result<JobInfo, Denial> {
        match self.client.ask_again(request).await? {
            Reply::Job(info) => Ok(info),
            other => Err(unexpected(&other)),
        }
    }
}

/// What a long input takes of a batch.
const LONG_BYTES: usize = 64;

/// Bytes of an outcome's results that the manager keeps apart.
fn long_bytes(recorded: &OutcomeEntry) -> u64 {
    let Outcome::Done(results) = &recorded.outcome else {
        return 0;
    };
    let long = |result: &Payload| if let Payload::Blob(stored) = result { stored.length } else { 0 };
    results.iter().map(long).sum()
}
