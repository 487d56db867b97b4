//! Jobs: hand the grid tasks, take each outcome once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request};
use grid_protocol::digest::Digest;
use grid_protocol::host::Label;
use grid_protocol::job::{AttemptFailure, GiveUp, JobId, JobInfo, JobSpec, Outcome, Payload, Recorded};
use grid_protocol::limits::{BATCH_BYTES_MAX, BATCH_TASKS_MAX};
use serde::de::DeserializeOwned;

use crate::client::{Client, unexpected};
use crate::typed::{CborError, from_cbor};

/// A task may take so long, unless its job says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A task is attempted so often, where it fails by its own fault, unless its job says otherwise.
pub const DEFAULT_ATTEMPTS: u32 = 3;

/// Tasks that [`Map`] brings before it has taken the outcomes of earlier ones.
const AHEAD_MAX: u64 = 50_000;

/// How long one request waits for outcomes.
const RESULTS_WAIT: Duration = Duration::from_secs(10);

/// A manager that does not answer is asked again so often, with a pause in between: two minutes for a restart.
const TRIES_MAX: u32 = 60;
const TRY_PAUSE: Duration = Duration::from_secs(2);

/// A job that is about to be made.
#[must_use = "nothing is made before `start`"]
pub struct JobBuilder<'a> {
    client: &'a Client,
    id: Option<JobId>,
    spec: JobSpec,
}

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

impl From<Recorded> for TaskOutcome {
    fn from(recorded: Recorded) -> Self {
        let Recorded { task, host, ran_us, outcome, .. } = recorded;
        let results = match outcome {
            Outcome::Done(results) => {
                Ok(results.into_iter().map(|result| result.into_bytes().into()).collect())
            }
            Outcome::Dead { why, attempts } => Err(TaskFailed { why, attempts }),
        };
        Self { task, host, ran: Duration::from_micros(ran_us), results }
    }
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
    pub fn give_up(mut self, give_up: GiveUp) -> Self {
        self.spec.give_up = give_up;
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
        let job = self.start().await?;
        Ok(Map {
            job,
            inputs: inputs.into_iter(),
            brought: 0,
            taken: 0,
            after: 0,
            exhausted: false,
            batch: Vec::new(),
            in_order: None,
            waiting: VecDeque::new(),
            info: None,
        })
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

impl Job<'_> {
    /// Its id.
    pub fn id(&self) -> JobId {
        self.id
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
                bytes += input.len() + 16;
                if !batch.is_empty() && (bytes > BATCH_BYTES_MAX || batch.len() == BATCH_TASKS_MAX) {
                    break;
                }
                batch.push(Payload::Here(input.to_vec()));
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

    /// Stops it: what waits gets no outcome, what runs is ended.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn stop(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobStop { job: self.id }).await
    }

    /// Tries its dead tasks again.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn retry(&self) -> Result<JobInfo, Denial> {
        self.info_from(Request::JobRetry { job: self.id }).await
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
    pub async fn outcomes(&self, after: u64, wait: Duration) -> Result<(Vec<Recorded>, JobInfo), Denial> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let request = Request::JobResults { job: self.id, after, wait_ms };
        match self.client.ask_again(request).await? {
            Reply::Results { outcomes, job } => Ok((outcomes, job)),
            other => Err(unexpected(&other)),
        }
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

/// The outcomes of a job whose tasks are brought as they are taken.
pub struct Map<'a, I> {
    job: Job<'a>,
    inputs: I,
    brought: u64,
    taken: u64,
    after: u64,
    exhausted: bool,
    /// Tasks that are on their way, in case that the way is left half-way.
    batch: Vec<Bytes>,
    /// Outcomes that came before their turn, if they are wanted in order.
    in_order: Option<BTreeMap<u64, TaskOutcome>>,
    waiting: VecDeque<TaskOutcome>,
    info: Option<JobInfo>,
}

impl<I> Map<'_, I>
where
    I: Iterator<Item: Into<Bytes>>,
{
    /// Gives outcomes in the order of their tasks; a slow one holds back those after it.
    pub fn in_order(mut self) -> Self {
        self.in_order = Some(BTreeMap::new());
        self
    }

    /// The job.
    pub fn job(&self) -> &Job<'_> {
        &self.job
    }

    /// How far it is, as far as is known here.
    pub fn progress(&self) -> Option<&JobInfo> {
        self.info.as_ref()
    }

    /// Brings no more tasks: the outcomes of those that were brought still come.
    pub fn bring_no_more(&mut self) {
        self.exhausted = true;
    }

    /// The next outcome; `None` when there are no more. One whose future was dropped half-way is not lost.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn next(&mut self) -> Result<Option<TaskOutcome>, Denial> {
        loop {
            if let Some(outcome) = self.take_waiting() {
                return Ok(Some(outcome));
            }
            let over =
                self.info.as_ref().is_some_and(|info| info.state.is_over() && self.after >= info.recorded);
            if over && self.in_order.as_mut().is_none_or(|early| early.is_empty()) {
                return Ok(None);
            }
            if over {
                // Tasks that were stopped leave holes.
                let early = self.in_order.take().unwrap_or_default();
                self.waiting.extend(early.into_values());
                continue;
            }
            let brought = self.bring().await?;
            let wait = if brought { Duration::ZERO } else { RESULTS_WAIT };
            let (outcomes, info) = self.job.outcomes(self.after, wait).await?;
            self.info = Some(info);
            for recorded in outcomes {
                self.after = recorded.seq;
                match &mut self.in_order {
                    Some(early) => {
                        early.insert(recorded.task, recorded.into());
                    }
                    None => self.waiting.push_back(recorded.into()),
                }
            }
        }
    }

    fn take_waiting(&mut self) -> Option<TaskOutcome> {
        let outcome = match &mut self.in_order {
            Some(early) => early.remove(&self.taken),
            None => self.waiting.pop_front(),
        }?;
        self.taken += 1;
        Some(outcome)
    }

    /// Brings another batch of tasks, if there is room; true if there may be more.
    async fn bring(&mut self) -> Result<bool, Denial> {
        if (self.exhausted && self.batch.is_empty()) || self.brought - self.after >= AHEAD_MAX {
            if self.exhausted
                && self.info.as_ref().is_none_or(|info| info.state == grid_protocol::job::JobState::Open)
            {
                self.info = Some(self.job.close().await?);
            }
            return Ok(false);
        }
        let mut bytes = 0;
        while self.batch.len() < BATCH_TASKS_MAX / 2 && bytes < BATCH_BYTES_MAX / 2 {
            let Some(input) = self.inputs.next() else {
                self.exhausted = true;
                break;
            };
            let input = input.into();
            bytes += input.len() + 16;
            self.batch.push(input);
        }
        self.brought = self.job.submit(self.brought, self.batch.clone()).await?;
        self.batch.clear();
        if self.exhausted {
            self.info = Some(self.job.close().await?);
        }
        Ok(!self.exhausted)
    }
}
