//! Requests about jobs, and the replies.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request, Subject};
use grid_protocol::job::{BlobRef, JobId, JobInfo, JobSpec, JobState, Outcome, Payload};
use grid_protocol::limits::{
    ARGUMENTS_BYTES_MAX, ATTEMPTS_MAX, BATCH_BYTES_MAX, BATCH_TASKS_MAX, CONTROL_FRAME_BYTES_MAX, JOBS_MAX,
    LABELS_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, WAITING_TASKS_MAX,
};
use grid_protocol::name::check_name;
use grid_protocol::role::Role;
use grid_protocol::submission::JobSubmission;
use grid_protocol::trace::TraceContext;
use grid_scheduler::jobs::ScheduledJob;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::api::denials::{banned, deny, fault, found};
use crate::api::explain;
use crate::asker::Asker;
use crate::blobs::store::{BlobStore, bounded};
use crate::context::Context;
use crate::jobs::coordinator::{Effect, NotAdded, UNWRITTEN_BYTES_MAX};

/// Longest wait for queue space or for the disk; the client then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest wait for an outcome; the client then asks again.
const RESULTS_WAIT_MAX: Duration = Duration::from_secs(30);

/// Bytes of a frame that a list of jobs may fill.
const LISTED_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX / 2;

/// Answers a request about jobs.
pub(crate) async fn answer(context: &Arc<Context>, asker: Asker, request: Request) -> Result<Reply, Denial> {
    match request {
        Request::JobNew { job, spec } => make(context, asker, job, spec, None).await,
        Request::JobNewTraced { job, spec, context: part_of } => {
            make(context, asker, job, spec, Some(part_of)).await
        }
        Request::JobTraces { job } => {
            check_seen(context, asker, job)?;
            Ok(Reply::Traces(context.cluster().coordinator.tracer.traces(job)))
        }
        Request::JobSubmit { job, first, inputs } => {
            check_owner(context, asker, job)?;
            let inputs = inputs.split().ok_or_else(batch_too_large)?;
            submit(context, asker, JobSubmission { job, first, inputs }).await
        }
        Request::JobClose { job } => {
            change(context, asker, job, |context| {
                context.change(|cluster, _| cluster.coordinator.jobs.close(job))
            })
            .await
        }
        Request::JobStop { job } => {
            let stop = |context: &Context| {
                context.change(|cluster, now| cluster.coordinator.jobs.end(now, job, JobState::Cancelled))
            };
            change(context, asker, job, stop).await
        }
        Request::JobRetry { job } => {
            check_owner(context, asker, job)?;
            retry(context, asker, job).await
        }
        Request::JobForget { job } => forget(context, asker, job).await,
        Request::JobResults { job, after, wait_ms } => results(context, asker, job, after, wait_ms).await,
        Request::JobShow { job } => {
            check_seen(context, asker, job)?;
            let mut info = info_of(context, job)?;
            if check_owner(context, asker, job).is_err() {
                info.spec.arguments.clear();
            }
            Ok(Reply::Job(info))
        }
        Request::JobList { everyones } => {
            let mut jobs = context.cluster().coordinator.infos();
            jobs.retain(|job| everyones || job.owner == asker.key);
            jobs.iter_mut().for_each(shorten);
            // The newest jobs, as many as fit in the frame.
            let mut room = LISTED_BYTES_MAX;
            let fits = jobs.iter().rev().take_while(|job| {
                room = room.saturating_sub(bytes_of(job));
                room > 0
            });
            let fits = fits.count();
            jobs.drain(..jobs.len() - fits);
            Ok(Reply::Jobs(jobs))
        }
        Request::Explain(subject) => explain(context, asker, subject).await,
        _ => Err(deny(DenialCode::BadRequest, "request", "it is not about jobs", "")),
    }
}

async fn make(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    spec: JobSpec,
    part_of: Option<TraceContext>,
) -> Result<Reply, Denial> {
    check_spec(&spec)?;
    if context.catalog_now().module(&spec.module).is_none() {
        let why = format!("the manager has no module {}", spec.module);
        return Err(deny(DenialCode::NotFound, "module", why, "upload it first: `grid module upload FILE`"));
    }
    let created = context.unix_now();
    match context.change(|cluster, _| match cluster.banned.on(&asker.key, &spec.module) {
        Some(ban) => Err(NotAdded::Banned(ban)),
        None => {
            cluster.coordinator.add(job, asker.key, spec, created)?;
            cluster.coordinator.tracer.begins(job, context.config.machine.unix_time());
            part_of.into_iter().for_each(|part_of| cluster.coordinator.join_trace(job, part_of));
            Ok(())
        }
    }) {
        Ok(()) => {}
        Err(NotAdded::Banned(ban)) => return Err(banned(ban)),
        Err(NotAdded::Taken) => {
            let why = "there is another job of that id";
            return Err(deny(DenialCode::Conflict, "job", why, "draw another id"));
        }
        Err(NotAdded::Full) => {
            let why = format!("the manager keeps {JOBS_MAX} jobs of yours and takes no more");
            let help = "`grid job ls` lists them; `grid job rm JOB` forgets one that is over";
            return Err(deny(DenialCode::NoCapacity, "job", why, help));
        }
    }
    on_disk(context).await?;
    show(context, job)
}

/// Drops or cuts what is too long for a list of jobs or a reply with outcomes.
fn shorten(job: &mut JobInfo) {
    job.spec.arguments.clear();
    if let JobState::GivenUp { why } = &mut job.state {
        why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
    }
}

/// Bytes of the reason why a job was given up, where it is cut.
const WHY_BYTES_MAX: usize = 512;

fn bytes_of(job: &JobInfo) -> usize {
    let labels = job.spec.labels.iter().map(|label| label.name.len() + label.value.len() + 2);
    400 + WHY_BYTES_MAX + labels.sum::<usize>()
}

fn check_spec(spec: &JobSpec) -> Result<(), Denial> {
    let name = if spec.name.is_empty() { Ok(()) } else { check_name(&spec.name) };
    let why = if let Err(error) = name {
        error.to_string()
    } else if spec.arguments.len() > ARGUMENTS_BYTES_MAX {
        format!("the arguments have {} bytes; {ARGUMENTS_BYTES_MAX} is the limit", spec.arguments.len())
    } else if spec.labels.len() > LABELS_MAX {
        format!("{} labels were asked for; {LABELS_MAX} is the limit", spec.labels.len())
    } else if let Some(error) = spec.labels.iter().find_map(|label| check_name(&label.name).err()) {
        format!("a label: {error}")
    } else if spec.labels.iter().any(|label| label.value.len() > NAME_BYTES_MAX) {
        format!("a label is longer than {NAME_BYTES_MAX} bytes")
    } else if spec.attempts_max == 0 || spec.attempts_max > ATTEMPTS_MAX {
        format!("{} attempts were asked for; 1 to {ATTEMPTS_MAX} can be", spec.attempts_max)
    } else if spec.timeout_ms == 0 {
        "a task of no time cannot be done; ask for a timeout of a millisecond at least".to_owned()
    } else {
        return Ok(());
    };
    Err(deny(DenialCode::BadRequest, "job", why, ""))
}

/// Accepts tasks and replies once they are on disk: an acknowledged task is never lost.
pub(crate) async fn submit(
    context: &Arc<Context>,
    asker: Asker,
    submission: JobSubmission,
) -> Result<Reply, Denial> {
    let JobSubmission { job, first, inputs } = submission;
    check_owner(context, asker, job)?;
    let lengths = || inputs.iter().map(|input| input.payload().frame_bytes());
    let bytes: usize = lengths().sum();
    let longest = lengths().max().unwrap_or_default();
    if inputs.len() > BATCH_TASKS_MAX || bytes > 2 * BATCH_BYTES_MAX || longest > PAYLOAD_BYTES_MAX + 8 {
        return Err(batch_too_large());
    }
    let stored: Vec<_> = inputs.iter().filter_map(|input| stored(input.payload())).collect();
    stored.iter().try_for_each(|payload| check_payload(payload).map(drop))?;
    if !stored.is_empty() && !has_all(context, job, stored).await? {
        let why = "a payload was not brought, has another length, or its job was forgotten";
        return Err(deny(DenialCode::NotFound, "payload", why, "bring it first"));
    }
    if !room(context, asker).await? {
        // The client waited and is to ask again; nothing is buffered for it. `next` is `first` because earlier tasks
        // may not be on disk yet.
        return Ok(Reply::Submitted { next: first });
    }
    let next = context.change(|cluster, now| {
        let coordinator = &mut cluster.coordinator;
        let known = coordinator.job(job).map_or(0, ScheduledJob::submitted);
        let next = coordinator.submit(job, first, &inputs)?;
        let new = usize::try_from(next.saturating_sub(known)).unwrap_or(usize::MAX);
        coordinator.tracer.submitted(now, context.config.machine.unix_time(), job, known, new);
        Some(next)
    });
    let Some(next) = next else {
        // The client looks at the job next, so what this denial implies must be on disk, too.
        on_disk(context).await?;
        let why = format!("it expects another task than number {first}, or takes no more");
        return Err(deny(DenialCode::Conflict, "tasks", why, "`grid job show JOB` says how the job stands"));
    };
    on_disk(context).await?;
    Ok(Reply::Submitted { next })
}

fn batch_too_large() -> Denial {
    let why = format!("a task may have {PAYLOAD_BYTES_MAX} bytes, a batch {BATCH_TASKS_MAX} tasks");
    deny(DenialCode::BadRequest, "tasks", why, "send less at once")
}

fn stored(input: &Payload) -> Option<BlobRef> {
    match input {
        Payload::Blob(stored) => Some(*stored),
        _ => None,
    }
}

async fn has_all(context: &Arc<Context>, job: JobId, stored: Vec<BlobRef>) -> Result<bool, Denial> {
    let look = move |payloads: &BlobStore| {
        stored.iter().try_fold(true, |all, payload| Ok(all && payloads.has(job, payload)?))
    };
    context.payloads(look).await.map_err(fault)
}

/// The length of a blob, if it is within the limit.
pub(crate) fn check_payload(payload: &BlobRef) -> Result<usize, Denial> {
    bounded(payload).map_err(|error| deny(DenialCode::BadRequest, "payload", error, "send less"))
}

/// Stores a blob for a job of the asker.
pub(crate) async fn keep(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    payload: BlobRef,
    bytes: Bytes,
) -> Result<Reply, Denial> {
    check_owner(context, asker, job)?;
    check_payload(&payload)?;
    if let Some(trouble) = context.cluster().coordinator.trouble() {
        return Err(store_trouble(trouble));
    }
    context.payloads(move |payloads| payloads.keep(job, payload, &bytes)).await.map_err(fault)?;
    Ok(Reply::Done)
}

/// Reads a blob of a job of the asker.
pub(crate) async fn fetch(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    payload: BlobRef,
) -> Result<Bytes, Denial> {
    check_owner(context, asker, job)?;
    let bytes = context.payloads(move |payloads| payloads.fetch(job, &payload)).await.map_err(fault)?;
    bytes.ok_or_else(|| deny(DenialCode::NotFound, "payload", "the job has none of that digest", ""))
}

/// Waits up to [`PATIENCE`] for queue space; false if there is none.
async fn room(context: &Arc<Context>, asker: Asker) -> Result<bool, Denial> {
    let until = Instant::now() + PATIENCE;
    loop {
        let written = {
            let cluster = context.cluster();
            if let Some(trouble) = cluster.coordinator.trouble() {
                return Err(store_trouble(trouble));
            }
            let crowded = cluster.coordinator.unwritten() > UNWRITTEN_BYTES_MAX;
            if !crowded && cluster.coordinator.waiting_of(asker.key) < WAITING_TASKS_MAX {
                return Ok(true);
            }
            cluster.coordinator.written.clone().notified_owned()
        };
        if timeout_at(until, written).await.is_err() {
            return Ok(false);
        }
    }
}

/// Waits until every change so far is on disk; fails after [`PATIENCE`].
async fn on_disk(context: &Arc<Context>) -> Result<(), Denial> {
    let (written, is_written) = oneshot::channel();
    context.change(|cluster, _| cluster.coordinator.after_commit(Effect::Acknowledge(written)));
    match timeout(PATIENCE, is_written).await {
        Ok(Ok(())) => Ok(()),
        _ => {
            let cluster = context.cluster();
            Err(store_trouble(cluster.coordinator.trouble().unwrap_or("it takes too long")))
        }
    }
}

fn store_trouble(why: &str) -> Denial {
    let help = "look at the manager's disk: is it full?; then do the same again, which changes nothing twice";
    deny(DenialCode::ManagerFault, "the manager's store takes no changes", why, help)
}

async fn change(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    change: impl FnOnce(&Context),
) -> Result<Reply, Denial> {
    check_owner(context, asker, job)?;
    change(context);
    on_disk(context).await?;
    show(context, job)
}

/// Retries dead tasks. Requests take turns, so that none revives a task that another has revived.
async fn retry(context: &Arc<Context>, asker: Asker, job: JobId) -> Result<Reply, Denial> {
    let _alone = context.retrying.lock().await;
    on_disk(context).await?;
    let module = context.cluster().coordinator.job(job).map(|job| job.spec.module);
    if let Some(module) = module.filter(|module| context.catalog_now().module(module).is_none()) {
        let why = format!("the manager does not have its module {module} any more");
        return Err(deny(DenialCode::NotFound, "module", why, "upload it again: `grid module upload FILE`"));
    }
    let dead = context.job_store(move |job_store| job_store.dead(job)).await.map_err(fault)?;
    let retried = context.change(|cluster, now| {
        let known = cluster.coordinator.job(job);
        if let Some(ban) = known.and_then(|known| cluster.banned.on(&known.owner, &known.spec.module)) {
            return Err(ban);
        }
        cluster.coordinator.retry(now, job, &dead);
        Ok(())
    });
    retried.map_err(banned)?;
    change(context, asker, job, |_| ()).await
}

async fn forget(context: &Arc<Context>, asker: Asker, job: JobId) -> Result<Reply, Denial> {
    check_owner(context, asker, job)?;
    if !context.change(|cluster, _| cluster.coordinator.forget(job)) {
        return Err(deny(DenialCode::Conflict, "job", "it is not over", "`grid job stop JOB` stops it"));
    }
    let sweeper = context.clone();
    // Spawned, so that it completes even if the client disconnects.
    let swept = tokio::spawn(async move {
        // Unwritten records of the job must not be written after the sweep.
        on_disk(&sweeper).await?;
        sweep(&sweeper, job).await
    });
    swept.await.unwrap_or_else(|error| Err(store_trouble(&error.to_string())))?;
    Ok(Reply::Done)
}

/// Deletes the blobs and records of a forgotten job.
pub(crate) async fn sweep(context: &Arc<Context>, job: JobId) -> Result<(), Denial> {
    context.payloads(move |payloads| payloads.sweep(job)).await.map_err(fault)?;
    context.job_store(move |job_store| job_store.sweep(job)).await.map_err(fault)?;
    context.cluster().coordinator.swept(job);
    Ok(())
}

async fn results(
    context: &Arc<Context>,
    asker: Asker,
    job: JobId,
    after: u64,
    wait_ms: u32,
) -> Result<Reply, Denial> {
    check_owner(context, asker, job)?;
    let until = Instant::now() + Duration::from_millis(wait_ms.into()).min(RESULTS_WAIT_MAX);
    loop {
        // Listen before looking, so that an outcome recorded in between is not missed.
        let recorded = context.cluster().coordinator.watch(job).notified_owned();
        let mut recorded = std::pin::pin!(recorded);
        recorded.as_mut().enable();
        let before = info_of(context, job)?;
        let mut outcomes = context
            .job_store(move |job_store| job_store.outcomes(job, after, BATCH_BYTES_MAX))
            .await
            .map_err(fault)?;
        // A commit that has reached the disk since is announced in a moment. Until then nobody is given what it
        // brought, so that no client has outcomes that `show` does not count.
        outcomes.retain(|outcome| outcome.seq <= before.recorded);
        // All outcomes of a job that was over before the read are on disk, and no more will come.
        if !outcomes.is_empty() || before.state.is_over() || timeout_at(until, recorded).await.is_err() {
            let mut info = info_of(context, job)?;
            shorten(&mut info);
            return Ok(Reply::Results { outcomes, job: info });
        }
    }
}

fn show(context: &Context, job: JobId) -> Result<Reply, Denial> {
    info_of(context, job).map(Reply::Job)
}

fn info_of(context: &Context, job: JobId) -> Result<JobInfo, Denial> {
    context.cluster().coordinator.info(job).ok_or_else(|| {
        deny(DenialCode::NotFound, "job", "there is none of that id", "`grid job ls` lists them")
    })
}

pub(crate) fn check_owner(context: &Context, asker: Asker, job: JobId) -> Result<(), Denial> {
    let owner = context.cluster().coordinator.job(job).map(|job| job.owner);
    match owner {
        Some(owner) if owner == asker.key || asker.roles(context).has(Role::Admin) => Ok(()),
        // Nobody else learns that the job exists.
        _ => found(false, "job", "`grid job ls` lists them").map(drop),
    }
}

/// As [`check_owner`], for what a viewer may see, too.
pub(super) fn check_seen(context: &Context, asker: Asker, job: JobId) -> Result<(), Denial> {
    if asker.roles(context).sees_all() && context.cluster().coordinator.job(job).is_some() {
        return Ok(());
    }
    check_owner(context, asker, job)
}

async fn explain(context: &Arc<Context>, asker: Asker, subject: Subject) -> Result<Reply, Denial> {
    let lines = match subject {
        Subject::Job(job) => {
            check_seen(context, asker, job)?;
            explain::job(&context.cluster(), context.now(), job)
        }
        Subject::Task(job, task) => {
            check_seen(context, asker, job)?;
            let recorded = context.outcome_of(job, task).await.map_err(fault)?;
            match recorded.map(|recorded| (recorded.host, recorded.outcome)) {
                Some((host, Outcome::Done(results))) => {
                    vec![format!("task {task} is done, on {host}; it sent {} results", results.len())]
                }
                Some((_, Outcome::Dead { why, attempts })) => explain::dead(task, &why, &attempts),
                None => {
                    let failures = context
                        .job_store(move |job_store| job_store.failures(job, task))
                        .await
                        .map_err(fault)?;
                    explain::task(&context.cluster(), context.now(), job, task, &failures)
                }
            }
        }
        Subject::Host(host) => explain::host(&context.cluster(), context.now(), host),
        _ => {
            return Err(deny(
                DenialCode::BadRequest,
                "explain",
                "this manager cannot explain that",
                "upgrade it",
            ));
        }
    };
    if lines.is_empty() {
        return found(false, "what was named", "`grid job ls` and `grid host ls` list what there is");
    }
    Ok(Reply::Explanation { lines })
}
