//! The description of a job, before it is made.

use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Request};
use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::job::{GiveUp, JobId, JobSpec};
use grid_protocol::time::millis;
use grid_protocol::trace::TraceContext;
use grid_protocol::wall::Wall;
use serde::Serialize;

use crate::cbor::{CborError, to_cbor};
use crate::client::Client;
use crate::job::{CborInputs, DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT, Inputs, Job, Map, TaskOutcome};

/// Describes a job; made by [`Client::job`].
#[must_use = "nothing is made before `start`"]
pub struct JobBuilder {
    client: Client,
    id: Option<JobId>,
    spec: JobSpec,
    part_of: Option<TraceContext>,
}

/// Why a task submitted with [`Client::submit`] has no outcome.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The task has no CBOR encoding: the program must act.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The manager denied a request.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// Its job was stopped before the task had an outcome.
    #[error("the task was stopped")]
    Stopped,
}

impl Client {
    /// Describes a job: tasks for a module that the manager has. Nothing is sent before [`JobBuilder::start`] or one of
    /// the `map` methods.
    pub fn job(&self, name: &str, module: Digest) -> JobBuilder {
        JobBuilder {
            client: self.clone(),
            id: None,
            part_of: None,
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

    /// A handle to an existing job. Does not ask the manager whether the job exists.
    pub fn find_job(&self, id: JobId) -> Job {
        Job { client: self.clone(), id }
    }

    /// Makes a job with default settings whose tasks are `inputs`, and gives their outcomes as they come; see
    /// [`JobBuilder::map`].
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`JobBuilder::start`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let grid = grid_client::Client::connect("manager.example:4747")?;
    /// let module = grid.upload("echo", std::fs::read("echo.wasm")?).await?;
    /// let mut outcomes = grid.map(module.digest, ["one", "two", "three"]).await?;
    /// while let Some(outcome) = outcomes.next().await? {
    ///     println!("task {}: {:?}", outcome.task, outcome.results?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn map<I>(&self, module: Digest, inputs: I) -> Result<Map<I::IntoIter>, Denial>
    where
        I: IntoIterator<Item: Into<Bytes>>,
    {
        self.job("map", module).map(inputs).await
    }

    /// Runs one task, whose input is `task` in CBOR, waits for its outcome, and makes the manager forget its job.
    ///
    /// # Errors
    ///
    /// [`SubmitError`]. A task that fails is not an error but an outcome.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(grid: grid_client::Client, module: grid_client::Digest) -> Result<(), Box<dyn std::error::Error>> {
    /// let sum: u64 = grid.submit(module, &[1u64, 2, 3]).await?.value()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn submit<T: Serialize>(&self, module: Digest, task: &T) -> Result<TaskOutcome, SubmitError> {
        let mut outcomes = self.job("submit", module).map([to_cbor(task)?]).await?;
        let outcome = outcomes.next().await?.ok_or(SubmitError::Stopped)?;
        // It ends once it is closed, which is what the next call does unless this one has done so.
        while outcomes.next().await?.is_some() {}
        outcomes.job().forget().await?;
        Ok(outcome)
    }
}

impl JobBuilder {
    /// Bytes that each guest's `init` receives, at most 512 KiB; none by default.
    pub fn arguments(mut self, arguments: impl Into<Vec<u8>>) -> Self {
        self.spec.arguments = arguments.into();
        self
    }

    /// Adds a label that the job's hosts must carry; up to 64.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.spec.labels.push(Label { name: name.to_owned(), value: value.to_owned() });
        self
    }

    /// Only hosts with the [usual walls](Wall::USUAL) around guests, as they say.
    pub fn require_walls(self) -> Self {
        Wall::USUAL.into_iter().fold(self, Self::require_wall)
    }

    /// Only hosts with this wall around guests, as they say.
    pub fn require_wall(mut self, wall: Wall) -> Self {
        self.spec.labels.push(wall.label());
        self
    }

    /// Memory that a task may use, in bytes; 0, the default, leaves it to the manifest and the host.
    pub fn memory(mut self, bytes: u64) -> Self {
        self.spec.memory_bytes = bytes;
        self
    }

    /// Priority among the jobs of this client: higher goes first, 0 by default. Shares between clients do not depend on
    /// it.
    pub fn priority(mut self, priority: i32) -> Self {
        self.spec.priority = priority;
        self
    }

    /// How long a task may take from its start, one hour by default; an attempt that takes longer is stopped and counts
    /// as failed by its own fault.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.spec.timeout_ms = millis(timeout);
        self
    }

    /// How often a task that fails by its own fault is retried: twice by default, 99 times at most.
    pub fn retries(mut self, retries: u32) -> Self {
        self.spec.attempts_max = retries.saturating_add(1);
        self
    }

    /// When the manager gives up the whole job; never by default.
    pub fn max_failures(mut self, most: GiveUp) -> Self {
        self.spec.give_up = most;
        self
    }

    /// Sets the job's id, so that starting the same job again makes no second one. Drawn at random by default.
    pub fn id(mut self, id: JobId) -> Self {
        self.id = Some(id);
        self
    }

    /// What the job is a part of, as a `traceparent` says it: if the manager exports traces, the job and its tasks appear
    /// there. None by default.
    pub fn part_of(mut self, context: TraceContext) -> Self {
        self.part_of = Some(context);
        self
    }

    /// Makes the job; when this returns it is on the manager's disk.
    ///
    /// # Errors
    ///
    /// [`Denial`]: `BadRequest` if a setting is out of range, `NotFound` if the manager does not have the module,
    /// `Conflict` if another job has the id, `NoCapacity` if the manager keeps 1000 jobs of this key already.
    pub async fn start(self) -> Result<Job, Denial> {
        let id = match self.id {
            Some(id) => id,
            None => JobId(self.client.machine.random().map_err(|error| no_random(&error))?),
        };
        let (job, spec) = (id, self.spec);
        self.client
            .ask_again(match self.part_of {
                None => Request::JobNew { job, spec },
                Some(context) => Request::JobNewTraced { job, spec, context },
            })
            .await?;
        Ok(Job { client: self.client, id })
    }

    /// Makes the job, and submits `inputs` while its outcomes are taken from the returned [`Map`].
    ///
    /// At most some 50 000 tasks are submitted ahead of the outcomes taken, so that memory does not grow with the
    /// number of inputs.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::start`].
    pub async fn map<I>(self, inputs: I) -> Result<Map<I::IntoIter>, Denial>
    where
        I: IntoIterator<Item: Into<Bytes>>,
    {
        self.map_from(inputs.into_iter()).await
    }

    /// As [`Self::map`], with inputs that are encoded as CBOR; [`TaskOutcome::value`] decodes a result.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::start`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example(grid: grid_client::Client, module: grid_client::Digest) -> Result<(), Box<dyn std::error::Error>> {
    /// let ranges = (0..150).map(|thousand| (thousand * 1000, (thousand + 1) * 1000));
    /// let mut outcomes = grid.job("primes", module).retries(5).map_typed(ranges).await?.in_order();
    /// while let Some(outcome) = outcomes.next().await? {
    ///     let (count, largest): (u32, u32) = outcome.value()?;
    ///     println!("{count} primes, the largest is {largest}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn map_typed<I>(self, inputs: I) -> Result<Map<CborInputs<I::IntoIter>>, Denial>
    where
        I: IntoIterator<Item: Serialize>,
    {
        self.map_from(CborInputs(inputs.into_iter())).await
    }

    /// As [`Self::map`], from a source whose next input may have to be waited for.
    ///
    /// # Errors
    ///
    /// [`Denial`], as for [`Self::start`].
    pub async fn map_from<I: Inputs>(self, inputs: I) -> Result<Map<I>, Denial> {
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
