//! A job that is about to be made.

use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Request};
use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::job::{GiveUp, JobId, JobSpec};
use serde::Serialize;

use crate::cbor::{CborError, to_cbor};
use crate::client::Client;
use crate::job::{CborInputs, DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT, Inputs, Job, Map, TaskOutcome};

/// A job that is about to be made.
#[must_use = "nothing is made before `start`"]
pub struct JobBuilder<'a> {
    client: &'a Client,
    id: Option<JobId>,
    spec: JobSpec,
}

/// Why there is no outcome of a task that was submitted alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The task has no encoding: the program must act.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The manager says no.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// Somebody stopped its job.
    #[error("the task was stopped")]
    Stopped,
}

impl Client {
    /// Begins to describe a job: tasks for a module that the manager has.
    pub fn job(&self, name: &str, module: Digest) -> JobBuilder<'_> {
        JobBuilder {
            client: self,
            id: None,
            spec: JobSpec {
                name: name.to_owned(),
                module,
                arguments: Vec::new(),
                labels: Vec::new(),
                memory_bytes: 0,
                priority: 0,
                timeout_ms: millis(DEFAULT_TIMEOUT),
                attempts_max: DEFAULT_ATTEMPTS,
                give_up: GiveUp::Never,
            },
        }
    }

    /// A job that exists.
    pub fn find_job(&self, id: JobId) -> Job<'_> {
        Job { client: self, id }
    }

    /// Brings `inputs` to a module, as tasks of a job with the defaults, and gives their outcomes as they come.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let grid = wasm_grid::Manager::builder().local_slots(2).start()?;
    /// let module = grid.upload("echo", std::fs::read("echo.wasm")?).await?;
    /// let mut outcomes = grid.map(module.digest, ["one", "two", "three"]).await?;
    /// while let Some(outcome) = outcomes.next().await? {
    ///     println!("task {}: {:?}", outcome.task, outcome.results?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn map<I>(&self, module: Digest, inputs: I) -> Result<Map<'_, I::IntoIter>, Denial>
    where
        I: IntoIterator<Item: Into<Bytes>>,
    {
        self.job("map", module).map(inputs).await
    }

    /// Has one task done, whose input is `task` in CBOR, and waits for its outcome. The manager forgets it then.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]; a task that fails is no error here, but an outcome.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(grid: wasm_grid::Client, module: wasm_grid::Digest) -> Result<(), Box<dyn std::error::Error>> {
    /// let sum: u64 = grid.submit(module, &[1u64, 2, 3]).await?.value()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit<T: Serialize>(&self, module: Digest, task: &T) -> Result<TaskOutcome, SubmitError> {
        let mut outcomes = self.job("submit", module).map([to_cbor(task)?]).await?;
        let outcome = outcomes.next().await?.ok_or(SubmitError::Stopped)?;
        outcomes.job().wait().await?;
        outcomes.job().forget().await?;
        Ok(outcome)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl<'a> JobBuilder<'a> {
    /// What each executor's `init` receives.
    pub fn arguments(mut self, arguments: impl Into<Vec<u8>>) -> Self {
        self.spec.arguments = arguments.into();
        self
    }

    /// A label that hosts must carry.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.spec.labels.push(Label { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// Most memory of a task, in bytes.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.spec.memory_bytes = bytes;
        self
    }

    /// Higher goes first among this client's jobs.
    pub fn priority(mut self, priority: i32) -> Self {
        self.spec.priority = priority;
        self
    }

    /// How long a task may take from its start: an hour, unless this is called.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout_ms = millis(timeout);
        self
    }

    /// How often a task that failed by its own fault is tried again: twice, unless this is called.
    pub fn retries(mut self, retries: u32) -> Self {
        self.spec.attempts_max = retries.saturating_add(1);
        self
    }

    /// When to give the whole job up: never, unless this is called.
    pub fn max_failures(mut self, most: GiveUp) -> Self {
        self.spec.give_up = most;
        self
    }

    /// The id, so that the same job is made once however often it is asked for; drawn at random without.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// Makes the job; when this returns it is on the manager's disk.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn start(self) -> Result<Job<'a>, Denial> {
        let id = match self.id {
            Some(id) => id,
            None => JobId(self.client.machine.random().map_err(|error| no_random(&error))?),
        };
        self.client.ask_again(Request::JobNew { job: id, spec: self.spec }).await?;
        Ok(Job { client: self.client, id })
    }

    /// Makes the job and brings it `inputs` as outcomes are taken: with a bounded number of tasks under way, in
    /// memory that does not grow with their number.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn map<I>(self, inputs: I) -> Result<Map<'a, I::IntoIter>, Denial>
    where
        I: IntoIterator<Item: Into<Bytes>>,
    {
        self.map_from(inputs.into_iter()).await
    }

    /// As [`Self::map`], with values of the program's own, which become CBOR; [`TaskOutcome::value`] is the way back.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(grid: wasm_grid::Client, module: wasm_grid::Digest) -> Result<(), Box<dyn std::error::Error>> {
    /// let ranges = (0..150).map(|thousand| (thousand * 1000, (thousand + 1) * 1000));
    /// let mut outcomes = grid.job("primes", module).retries(5).map_typed(ranges).await?.in_order();
    /// while let Some(outcome) = outcomes.next().await? {
    ///     let (count, largest): (u32, u32) = outcome.value()?;
    ///     println!("{count} primes, the largest is {largest}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn map_typed<I>(self, inputs: I) -> Result<Map<'a, CborInputs<I::IntoIter>>, Denial>
    where
        I: IntoIterator<Item: Serialize>,
    {
        self.map_from(CborInputs(inputs.into_iter())).await
    }

    /// As [`Self::map`], from a source that may have to be waited for.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn map_from<I: Inputs>(self, inputs: I) -> Result<Map<'a, I>, Denial> {
        Ok(self.start().await?.go_on(0, inputs, 0))
    }
}

fn no_random(error: &impl std::fmt::Display) -> Denial {
    Denial {
        code: DenialCode::Conflict,
        what: "no id can be drawn".to_owned(),
        why: error.to_string(),
        help: String::new(),
    }
}
