//! The coordinator: carries out the scheduler's decisions about jobs in two steps. What must be true after a crash
//! goes into the journal. What follows from it (a reply to a client, an attempt for a host) is an effect, which
//! takes place once the journal is on disk. The group commit does both.

mod reports;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::activity::{AttemptEnding, GridEvent, HostActivity};
use grid_protocol::host::HostCommand;
use grid_protocol::job::{AttemptId, JobBrief, JobId, JobInfo, JobSpec, JobState};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::JOBS_MAX;
use grid_protocol::submission::EncodedPayload;
use grid_protocol::time::{Moment, millis};
use grid_protocol::trace::TraceContext;
use grid_scheduler::jobs::{JobDecision, Jobs, ScheduledJob};
use tokio::sync::{Notify, oneshot};

use crate::activity::summary::JobSummaries;
use crate::activity::tracer::Tracer;
use crate::activity::{Activity, TraceRecord};
use crate::catalog::banned::{Ban, Banned};
use crate::jobs::announced::{Announced, AnnouncedJob};
use crate::jobs::journal::JobJournal;
use crate::jobs::store::{DeadTask, Recovered};
use crate::store::Change;

/// All jobs, while the manager lives.
pub(crate) struct Coordinator {
    pub(crate) jobs: Jobs,
    told: Announced,
    journal: JobJournal,
    effects: Vec<Effect>,
    /// Jobs that each host was told about in its present session.
    briefed: BTreeMap<PublicKey, BTreeSet<JobId>>,
    watchers: HashMap<JobId, Arc<Notify>>,
    /// Forgotten jobs that still have records or blobs on disk.
    leaving: BTreeSet<JobId>,
    /// Notified when the group commit has something to write or to do.
    pub(crate) wake: Arc<Notify>,
    /// Notified after each commit: the journal has room again.
    pub(crate) written: Arc<Notify>,
    /// Why the store takes no changes, or is short of room; `None` if all is well.
    trouble: Option<String>,
    /// The batch that is being written, or that the store has refused so far.
    pub(crate) writing: Option<Arc<Vec<Change>>>,
    /// Where what happens is noted for those who look.
    pub(crate) activity: Arc<Activity>,
    pub(crate) summaries: JobSummaries,
    pub(crate) tracer: Tracer,
}

/// Something that takes place once the journal so far is on disk.
pub(crate) enum Effect {
    /// Assigns attempts to a host; the group commit reads their inputs first.
    Assign { host: PublicKey, job: JobId, attempts: Vec<(AttemptId, u64)> },
    /// Sends a command to a host.
    Tell { host: PublicKey, command: HostCommand },
    /// Tells a client that its submission is on disk.
    Acknowledge(oneshot::Sender<()>),
    /// Wakes whoever waits for new outcomes of the job, or for a change of its state.
    OutcomeRecorded(JobId),
    /// Publishes the committed state of these jobs; `None` means that the job was forgotten.
    Committed(Vec<(JobId, Option<AnnouncedJob>)>),
    /// Ends the trace of a task.
    Traced(JobId, u64),
    /// Ends the trace of a job, which is in this state.
    JobTraced(JobId, &'static str),
}

/// Why a job was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdded {
    /// The id belongs to another client or another job, or to a forgotten job that is still being deleted.
    Taken,
    /// The client has [`JOBS_MAX`] jobs already.
    Full,
    /// The client or the module's publisher was revoked.
    Banned(Ban),
}

/// Bytes of unwritten journal above which clients must wait before they bring more, and no task is handed out.
pub(crate) const UNWRITTEN_BYTES_MAX: usize = 16 << 20;

/// The host that a report came from: its key and display name.
pub(crate) struct HostRef<'a> {
    pub(crate) key: PublicKey,
    pub(crate) name: &'a str,
}

impl Coordinator {
    pub(crate) fn new(recovered: Recovered, activity: Arc<Activity>) -> Self {
        let Recovered { jobs, leases, stale, leaving, contexts } = recovered;
        let mut journal = JobJournal::after(leases);
        stale.into_iter().for_each(|attempt| journal.end_lease(attempt));
        let mut tracer = Tracer::default();
        contexts.into_iter().for_each(|(job, context)| tracer.joins(job, context));
        let mut told = Announced::default();
        jobs.jobs().iter().for_each(|(id, job)| told.commit(*id, Some(AnnouncedJob::of(job))));
        Self {
            jobs,
            told,
            journal,
            effects: Vec::new(),
            briefed: BTreeMap::new(),
            watchers: HashMap::new(),
            leaving,
            wake: Arc::default(),
            written: Arc::default(),
            trouble: None,
            writing: None,
            activity,
            summaries: JobSummaries::default(),
            tracer,
        }
    }

    #[cfg(feature = "fault-injection")]
    pub(crate) fn sabotaged(mut self, sabotage: Option<crate::fault_injection::FaultInjection>) -> Self {
        self.jobs.never_fence = sabotage == Some(crate::fault_injection::FaultInjection::NeverFence);
        self
    }

    /// Adds a job under an id that its client chose. Adding the same job again changes nothing.
    ///
    /// # Errors
    ///
    /// [`NotAdded::Taken`] or [`NotAdded::Full`]; the caller checks for bans.
    pub(crate) fn add(
        &mut self,
        id: JobId,
        owner: PublicKey,
        spec: JobSpec,
        created: u64,
    ) -> Result<(), NotAdded> {
        if let Some(known) = self.job(id) {
            let same = known.owner == owner && *known.spec == spec;
            return if same { Ok(()) } else { Err(NotAdded::Taken) };
        }
        if self.leaving.contains(&id) {
            return Err(NotAdded::Taken);
        }
        if self.jobs.jobs().values().filter(|job| job.owner == owner).count() >= JOBS_MAX {
            return Err(NotAdded::Full);
        }
        let mut job = ScheduledJob::new(Arc::new(spec), owner);
        job.created = created;
        self.journal.job(id, &job);
        let (name, state) = (job.spec.name.clone(), JobState::Open);
        self.activity.note(GridEvent::Job { job: id, name, owner, state });
        self.jobs.add_job(id, job);
        Ok(())
    }

    /// Records what a job is a part of.
    pub(crate) fn join_trace(&mut self, id: JobId, context: TraceContext) {
        if self.tracer.context(id) != Some(context) {
            self.journal.context(id, &context);
            self.tracer.joins(id, context);
        }
    }

    /// Ends the trace of a task whose outcome is on disk.
    pub(crate) fn end_trace(&mut self, now: Moment, id: JobId, task: u64) {
        if let Some(trace) = self.tracer.recorded(now, id, task) {
            let context = self.tracer.context(id);
            self.activity.hand_on(|| TraceRecord::Task { trace, context });
        }
    }

    /// Ends the trace of a job whose end is on disk.
    pub(crate) fn end_job_trace(&mut self, id: JobId, state: &'static str) {
        let Some(job) = self.job(id) else { return };
        self.activity.hand_on(|| TraceRecord::Job {
            job: id,
            name: job.spec.name.clone(),
            began: self.tracer.began(id).unwrap_or(Duration::from_secs(job.created)),
            ended: self.activity.unix_time(),
            state,
            context: self.tracer.context(id),
        });
    }

    /// Adds those of the tasks from number `first` on that are new; returns the next task number expected.
    ///
    /// `None` if the job is unknown, tasks before `first` are missing, or the job takes no new tasks.
    pub(crate) fn submit(&mut self, id: JobId, first: u64, inputs: &[EncodedPayload]) -> Option<u64> {
        let job = self.job(id)?;
        let mut submitted = job.submitted();
        let known = usize::try_from(submitted.checked_sub(first)?).ok()?;
        let new = inputs.get(known..).unwrap_or_default();
        if new.is_empty() {
            return Some(submitted);
        }
        if job.state != JobState::Open {
            return None;
        }
        if known == 0 {
            self.journal.inputs(id, submitted, new);
        } else {
            // The others of the frame are not kept, and these do not keep it in memory.
            let copied: Vec<_> = new.iter().map(EncodedPayload::copied).collect();
            self.journal.inputs(id, submitted, &copied);
        }
        submitted += new.len() as u64;
        let bytes = new.iter().fold(0u64, |bytes, input| bytes.saturating_add(input.payload().length()));
        self.activity.metrics.tasks_submitted.inc_by(new.len() as u64);
        self.jobs.handle_submitted(id, submitted, bytes);
        self.note_down(id);
        Some(submitted)
    }

    /// Forgets a job that is over; false if it is not. The caller deletes the job's records and blobs and then calls
    /// [`Self::swept`]; until then the id cannot be used again.
    pub(crate) fn forget(&mut self, id: JobId) -> bool {
        if !self.job(id).is_some_and(|job| job.state.is_over()) {
            return false;
        }
        self.jobs.forget(id);
        self.summaries.forget(id);
        self.tracer.forget(id);
        self.watchers.remove(&id);
        self.journal.end_job(id);
        self.leaving.insert(id);
        true
    }

    /// Forgotten jobs that still have records or blobs on disk.
    pub(crate) fn leaving(&self) -> Vec<JobId> {
        self.leaving.iter().copied().collect()
    }

    /// Records that nothing of a forgotten job is left on disk; its id may be used again.
    pub(crate) fn swept(&mut self, id: JobId) {
        self.leaving.remove(&id);
    }

    /// Gives up the jobs whose owner or publisher is banned.
    pub(crate) fn withdraw(&mut self, now: Moment, banned: &Banned) {
        let open = self.jobs.jobs().iter().filter(|(_, job)| !job.state.is_over());
        let out = open.filter_map(|(id, job)| Some((*id, banned.on(&job.owner, &job.spec.module)?)));
        let out: Vec<_> = out.collect();
        for (id, ban) in out {
            self.jobs.end(now, id, JobState::GivenUp { why: ban.to_string() });
        }
    }

    /// Queues dead tasks again and deletes their outcomes and failures.
    pub(crate) fn retry(&mut self, now: Moment, id: JobId, dead: &[DeadTask]) {
        for task in dead {
            self.journal.revive(id, task);
        }
        let tasks: Vec<_> = dead.iter().map(|dead| dead.task).collect();
        self.jobs.retry(now, id, &tasks);
        self.note_down(id);
    }

    /// Journals the job's present state.
    fn note_down(&mut self, id: JobId) {
        if let Some(job) = self.jobs.jobs().get(&id) {
            self.journal.job(id, job);
        }
    }

    /// Queues an effect that takes place once everything journaled so far is on disk.
    pub(crate) fn after_commit(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// The job, as in memory.
    pub(crate) fn job(&self, id: JobId) -> Option<&ScheduledJob> {
        self.jobs.jobs().get(&id)
    }

    /// Number of tasks that wait, over all jobs of one client.
    pub(crate) fn waiting_of(&self, owner: PublicKey) -> u64 {
        self.jobs
            .jobs()
            .values()
            .filter(|job| job.owner == owner && !job.state.is_over())
            .map(ScheduledJob::waiting)
            .sum()
    }

    /// Why the store takes no changes, or is short of room. While there is a reason, no task is accepted or handed
    /// out.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Records that the store is in trouble, or (`None`) that it works again.
    pub(crate) fn turn_trouble(&mut self, trouble: Option<String>) {
        match (&self.trouble, &trouble) {
            (None, Some(why)) => {
                tracing::error!(%why, "the store takes nothing; jobs stand still until it does");
                self.activity.note(GridEvent::StoreTrouble { why: why.clone() });
            }
            (Some(_), None) => {
                tracing::info!("the store takes everything again; jobs go on");
                self.activity.note(GridEvent::StoreWorks);
            }
            _ => {}
        }
        self.trouble = trouble;
    }

    /// Size of the unwritten journal, in bytes of memory.
    pub(crate) fn unwritten(&self) -> usize {
        self.journal.bytes()
    }

    /// A job as its client sees it: its state at the last commit. `None` before the first commit of the job.
    pub(crate) fn info(&self, id: JobId) -> Option<JobInfo> {
        let job = self.job(id)?;
        let standing = self.told.get(id)?;
        let leases = self.jobs.lease_counts(&id);
        Some(JobInfo {
            id,
            owner: job.owner,
            spec: JobSpec::clone(&job.spec),
            state: standing.state.clone(),
            counts: standing.counts(job.counts().leased),
            created: job.created,
            recorded: standing.recorded,
            hosts: leases.hosts,
            executing: leases.running,
        })
    }

    /// All jobs, oldest first.
    pub(crate) fn infos(&self) -> Vec<JobInfo> {
        let mut infos: Vec<_> = self.jobs.jobs().iter().filter_map(|(id, _)| self.info(*id)).collect();
        infos.sort_by_key(|info| (info.created, info.id));
        infos
    }

    /// Notified when there are new outcomes of the job, or its state has changed.
    pub(crate) fn watch(&mut self, id: JobId) -> Arc<Notify> {
        self.watchers.entry(id).or_default().clone()
    }

    /// A host starts a session in which it was told of no job; its refusals of jobs no longer count.
    pub(crate) fn session_begins(&mut self, host: PublicKey) {
        self.briefed.remove(&host);
        self.jobs.forget_refusals(Some(host));
    }

    /// What a host must be told before it gets attempts of a job; `None` if it was told already.
    pub(crate) fn brief(&mut self, host: PublicKey, id: JobId) -> Option<JobBrief> {
        let spec = self.job(id)?.spec.clone();
        self.briefed.entry(host).or_default().insert(id).then(|| JobBrief {
            job: id,
            module: spec.module,
            arguments: spec.arguments.clone(),
            memory_bytes: spec.memory_bytes,
            timeout_ms: spec.timeout_ms,
        })
    }

    /// True if a host was told of a job that runs `module`, or holds a lease of one.
    pub(crate) fn runs_on(&self, module: &grid_protocol::digest::Digest, host: PublicKey) -> bool {
        let briefed = self.briefed.get(&host).into_iter().flatten().copied();
        // A host that reconnects may ask for a module before it has said which attempts it holds.
        let leased = self.jobs.leases_of(&host).map(|lease| lease.job);
        briefed.chain(leased).filter_map(|id| self.job(id)).any(|job| job.spec.module == *module)
    }

    /// True if a host holds a lease of a task of the job.
    pub(crate) fn works_on(&self, job: JobId, host: PublicKey) -> bool {
        self.jobs.leases_of(&host).any(|lease| lease.job == job)
    }

    /// True if a job that is not over runs `module`.
    pub(crate) fn needs(&self, module: &grid_protocol::digest::Digest) -> bool {
        self.jobs.jobs().values().any(|job| job.spec.module == *module && !job.state.is_over())
    }

    /// Hands out tasks and journals the scheduler's decisions. `name` returns the display name of a host.
    pub(crate) fn carry_out<'a>(&mut self, now: Moment, name: impl Fn(PublicKey) -> &'a str) {
        // Nothing is handed out while the store is in trouble or the journal is full.
        if self.trouble.is_none() && self.journal.bytes() <= UNWRITTEN_BYTES_MAX {
            self.jobs.dispatch(now);
        }
        while let Some(decision) = self.jobs.poll_decision() {
            match decision {
                JobDecision::Lease { host, job, attempts } => {
                    self.journal.leases(job, host, &attempts);
                    for (attempt, task) in &attempts {
                        self.tracer.leased(now, *attempt, job, *task);
                    }
                    self.effects.push(Effect::Assign { host, job, attempts });
                }
                JobDecision::Lost { attempt, host, verdict } => {
                    tracing::debug!(%attempt, host = name(host), ?verdict, "an attempt is lost");
                    self.note_loss(host, &verdict);
                    let host = HostRef { key: host, name: name(host) };
                    self.trace(now, attempt, &host, AttemptEnding::Lost, &verdict);
                    self.apply(verdict, attempt, &host, 0, None);
                }
                JobDecision::Abandon { host, attempts } => {
                    for attempt in &attempts {
                        self.journal.end_lease(*attempt);
                    }
                    self.effects.push(Effect::Tell { host, command: HostCommand::Abandon { attempts } });
                }
                JobDecision::Stray { host, attempts } => {
                    self.effects.push(Effect::Tell { host, command: HostCommand::Abandon { attempts } });
                }
                JobDecision::Turned { job, state } => self.turned(job, &state),
                JobDecision::Barred { host, job, pause } => {
                    let (name, for_ms) = (name(host).to_owned(), millis(pause));
                    let change = HostActivity::Barred { job, for_ms };
                    self.activity.note(GridEvent::Host { host, name, change });
                    tracing::warn!(host = %host.fingerprint(), %job, ?pause, "a host fails what others do of a job, and gets nothing of it for a while");
                }
                JobDecision::Quarantined { host, pause } => {
                    let (name, for_ms) = (name(host).to_owned(), millis(pause));
                    let change = HostActivity::Quarantined { for_ms };
                    self.activity.note(GridEvent::Host { host, name, change });
                    tracing::warn!(host = %host.fingerprint(), ?pause, "a host fails what others do, and gets nothing for a while");
                }
            }
        }
        if !self.effects.is_empty() || self.journal.bytes() > 0 {
            self.wake.notify_one();
        }
    }

    fn turned(&mut self, id: JobId, state: &JobState) {
        if state.is_over() {
            self.tracer.over(id);
            for (host, jobs) in &mut self.briefed {
                if jobs.remove(&id) {
                    let command = HostCommand::JobsOver { jobs: vec![id] };
                    self.effects.push(Effect::Tell { host: *host, command });
                }
            }
        }
        self.note_down(id);
        self.effects.push(Effect::OutcomeRecorded(id));
        if let Some(job) = self.job(id).filter(|_| *state != JobState::Closed) {
            let (name, owner) = (job.spec.name.clone(), job.owner);
            if state.is_over() {
                self.effects.push(Effect::JobTraced(id, state.label()));
            }
            self.activity.note(GridEvent::Job { job: id, name, owner, state: state.clone() });
        }
    }

    /// Takes the unwritten changes, and the effects that may take place once they are on disk.
    pub(crate) fn take_batch(&mut self) -> (Vec<Change>, Vec<Effect>) {
        let (changes, touched) = self.journal.take();
        let mut effects = std::mem::take(&mut self.effects);
        if !touched.is_empty() {
            let standing = |id| (id, self.jobs.jobs().get(&id).map(AnnouncedJob::of));
            // First, so that whoever another effect wakes sees the committed state.
            effects.insert(0, Effect::Committed(touched.into_iter().map(standing).collect()));
        }
        (changes, effects)
    }

    /// Publishes the state of jobs that was committed.
    pub(crate) fn committed(&mut self, standings: Vec<(JobId, Option<AnnouncedJob>)>) {
        standings.into_iter().for_each(|(id, standing)| self.told.commit(id, standing));
    }

    /// Wakes whoever waits for outcomes of the job.
    pub(crate) fn announce(&self, id: JobId) {
        if let Some(watcher) = self.watchers.get(&id) {
            watcher.notify_waiters();
        }
    }
}
