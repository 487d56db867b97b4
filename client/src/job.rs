//! Jobs: submit tasks to the grid, and take each outcome once.

mod batch;
mod builder;
mod inputs;
mod map;

use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request, Subject};
use grid_protocol::job::{AttemptFailure, BlobRef, JobId, JobInfo, Outcome, OutcomeEntry, Payload};
use grid_protocol::trace::TaskTrace;
use serde::de::DeserializeOwned;

use crate::cbor::{CborError, from_cbor};
use crate::client::Client;
use crate::command_output::CommandOutput;
use crate::denial::unexpected;

use batch::{TaskBatch, TaskBatchBuilder};
pub use builder::{JobBuilder, SubmitError};
pub use inputs::{CborInputs, Inputs};
pub use map::Map;

/// Default of [`JobBuilder::timeout`]: one hour.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// Default number of attempts at a task that fails by its own fault; see [`JobBuilder::retries`].
pub const DEFAULT_ATTEMPTS: u32 = 3;

/// How long one request waits for outcomes.
const RESULTS_WAIT: Duration = Duration::from_secs(10);

/// Repetitions of a request that the manager does not answer: 60, 2 s apart, allow it two minutes to restart.
const TRIES_MAX: u32 = 60;
const TRY_PAUSE: Duration = Duration::from_secs(2);

/// A job that the manager keeps. Dropping this handle does not stop the job.
#[derive(Clone)]
pub struct Job {
    client: Client,
    id: JobId,
}

/// The outcome of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskOutcome {
    /// The task's number in its job, from 0.
    pub task: u64,
    /// The outcome's own number in the job's record, from 1, in the order in which tasks ended.
    pub seq: u64,
    /// The display name of the host that the task ended on.
    pub host: String,
    /// How long its last attempt ran, as the host says.
    pub ran: Duration,
    /// The messages that the task sent, in order, or why it failed.
    pub results: Result<Vec<Bytes>, TaskFailed>,
}

/// A task that has failed for good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task failed: {why}")]
pub struct TaskFailed {
    /// Why it was not retried.
    pub why: String,
    /// Its newest failed attempts, at most 8, oldest first.
    pub attempts: Vec<AttemptFailure>,
}

impl TaskOutcome {
    /// Decodes the first message that the task sent, which must be CBOR.
    ///
    /// # Errors
    ///
    /// [`CborError::Decode`] if the task failed, sent nothing, or sent something else.
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
    /// Decodes the output of a command whose manifest asks for files.
    ///
    /// # Errors
    ///
    /// [`CborError::Decode`] if the task failed, or did not send exactly one such output.
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

/// The bytes of a result. One that the manager stores must have been fetched before.
fn here(result: Payload) -> Bytes {
    match result {
        Payload::Here(bytes) => bytes,
        _ => Bytes::new(),
    }
}

/// Stored results that one call fetches into memory, in bytes; those of one task may exceed it.
const FETCHED_BYTES_MAX: u64 = 64 << 20;

impl Client {
    async fn ask_again(&self, request: Request) -> Result<Reply, Denial> {
        let mut tries = 0;
        loop {
            match self.request(request.clone()).await {
                // Repeating a request about jobs changes nothing.
                Err(denial) if denial.code == DenialCode::ManagerFault && tries < TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(TRY_PAUSE).await;
                }
                answered => return answered,
            }
        }
    }
}

impl Job {
    /// The job's id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// The client that this handle sends its requests with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Submits tasks, numbered from `first`; returns the number after the last. When this returns they are on the
    /// manager's disk.
    ///
    /// Waits while the manager's queue is full. Tasks that the manager already has are skipped, so that it is safe to
    /// submit the same again. An input may have up to 64 MiB.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `Conflict` if `first` is beyond the next task or the job takes no more; `ManagerFault` if the
    /// manager does not answer for some minutes.
    pub async fn submit(&self, first: u64, inputs: Vec<Bytes>) -> Result<u64, Denial> {
        let end = first + inputs.len() as u64;
        let (mut inputs, mut next) = (inputs.into_iter().peekable(), first);
        loop {
            let mut batch = TaskBatchBuilder::default();
            while let Some(input) = inputs.next_if(|input| batch.has_room(input)) {
                batch.push(input);
            }
            let Some(batch) = batch.finish() else { return Ok(end) };
            let after = next + batch.inputs.count();
            next = self.submit_batch(next, batch).await?.min(end);
            // It had these before.
            (after..next).for_each(|_| drop(inputs.next()));
        }
    }

    /// Submits a batch, whose first task is number `first`; returns the number before which the manager has all tasks.
    async fn submit_batch(&self, first: u64, batch: TaskBatch) -> Result<u64, Denial> {
        let TaskBatch { inputs, long } = batch;
        for (stored, bytes) in long {
            self.put_away(stored, bytes).await?;
        }
        let end = first + inputs.count();
        loop {
            let request = Request::JobSubmit { job: self.id, first, inputs: inputs.clone() };
            match self.client.ask_again(request).await? {
                Reply::Submitted { next } if next >= end => return Ok(next),
                // The manager has waited for room in its queue. What it has of these it passes over.
                Reply::Submitted { .. } => {}
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Declares that no more tasks will come: the job finishes when all of its tasks have outcomes.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::show`].
    pub async fn close(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobClose { job: self.id }).await
    }

    /// The job's state and counts.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if there is no such job of this key; `ManagerFault` if the manager does not answer for
    /// some minutes.
    pub async fn show(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobShow { job: self.id }).await
    }

    /// Explains why the job has not got further, one sentence per line, as `grid explain` prints it.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::show`].
    pub async fn explain(&self) -> Result<Vec<String>, Denial> {
        match self.client.request(Request::Explain(Subject::Job(self.id))).await? {
            Reply::Explanation { lines } => Ok(lines),
            other => Err(unexpected(&other)),
        }
    }

    /// Where the time of its tasks went, of the first ones and some of the others: those that the manager has traced since it
    /// started and that are over.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::show`]; `NotFound`, too, if the manager is too old to trace anything.
    pub async fn traces(&self) -> Result<Vec<TaskTrace>, Denial> {
        match self.client.request(Request::JobTraces { job: self.id }).await? {
            Reply::Traces(traces) => Ok(traces),
            other => Err(unexpected(&other)),
        }
    }

    /// Stops the job: waiting tasks get no outcome, and running attempts are ended.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::show`].
    pub async fn stop(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobStop { job: self.id }).await
    }

    /// Retries the tasks that have failed for good.
    ///
    /// The request is not repeated, because that would also retry tasks that failed in between: if no reply comes,
    /// check with [`Self::show`].
    ///
    /// # Errors
    ///
    /// [`Denial`]: `NotFound` if there is no such job of this key, or the manager no longer has its module.
    pub async fn retry(&self) -> Result<JobInfo, Denial> {
        match self.client.request(Request::JobRetry { job: self.id }).await? {
            Reply::Job(info) => Ok(info),
            other => Err(unexpected(&other)),
        }
    }

    /// Makes the manager forget the job, with its inputs and outcomes.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `Conflict` if the job is not over; `NotFound` if there is no such job, which may also mean that the
    /// reply to an earlier request was lost.
    pub async fn forget(&self) -> Result<(), Denial> {
        self.client.ask_again(Request::JobForget { job: self.id }).await.map(drop)
    }

    /// Returns outcomes with numbers after `after`, and the job's state. Waits for the first of them for up to `wait`,
    /// and never more than 30 s.
    ///
    /// May return fewer than there are: ask again after the last one.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::show`].
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
                        // The caller asks for the rest after these.
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

    /// Uploads an input that is too long for a batch.
    async fn put_away(&self, stored: BlobRef, bytes: Bytes) -> Result<(), Denial> {
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
        Ok(())
    }

    /// Fetches those results of an outcome that the manager stores as blobs.
    async fn fetch_results(&self, recorded: &mut OutcomeEntry) -> Result<(), Denial> {
        let Outcome::Done(results) = &mut recorded.outcome else {
            return Ok(());
        };
        for result in results {
            if let Payload::Blob(stored) = result {
                *result = Payload::Here(self.client.fetch(self.id, *stored).await?);
            }
        }
        Ok(())
    }

    /// Waits until the job is over, and returns its state.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::show`].
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

/// Bytes of those results of an outcome that the manager stores as blobs.
fn long_bytes(recorded: &OutcomeEntry) -> u64 {
    let Outcome::Done(results) = &recorded.outcome else {
        return 0;
    };
    let long = |result: &Payload| if let Payload::Blob(stored) = result { stored.length } else { 0 };
    results.iter().map(long).sum()
}
