//! What a client may ask about jobs, and the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request, Subject};
use grid_protocol::job::{BlobRef, JobId, JobInfo, JobSpec, JobState, Outcome, OutcomeEntry, Payload};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::{
    ARGUMENTS_BYTES_MAX, ATTEMPTS_MAX, BATCH_BYTES_MAX, BATCH_TASKS_MAX, CONTROL_FRAME_BYTES_MAX, JOBS_MAX,
    LABELS_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, WAITING_TASKS_MAX,
};
use grid_protocol::name::check_name;
use grid_protocol::role::Role;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use crate::explain;
use crate::foreman::{Effect, NotAdded, UNWRITTEN_BYTES_MAX};
use crate::hub::Hub;
use crate::payloads::{Payloads, bounded};
use crate::requests::{banned, deny, fault, found, roles};

/// A client waits so long for room, or for the disk, and then asks again.
const PATIENCE: Duration = Duration::from_secs(10);

/// A client waits so long for an outcome at the most, and then asks again.
const RESULTS_WAIT_MAX: Duration = Duration::from_secs(30);

/// What a list of jobs may fill of a frame.
const LISTED_BYTES_MAX: usize = CONTROL_FRAME_BYTES_MAX / 2;

/// Answers a request about jobs.
pub(crate) async fn answer(hub: &Arc<Hub>, asker: PublicKey, request: Request) -> Result<Reply, Denial> {
    match request {
        Request::JobNew { job, spec } => make(hub, asker, job, spec).await,
        Request::JobSubmit { job, first, inputs } => submit(hub, asker, job, first, inputs).await,
        Request::JobClose { job } => {
            change(hub, asker, job, |hub| hub.change(|state, _| state.foreman.jobs.close(job))).await
        }
        Request::JobStop { job } => {
            let stop =
                |hub: &Hub| hub.change(|state, now| state.foreman.jobs.end(now, job, JobState::Cancelled));
            change(hub, asker, job, stop).await
        }
        Request::JobRetry { job } => {
            check_owner(hub, asker, job)?;
            retry(hub, asker, job).await
        }
        Request::JobForget { job } => forget(hub, asker, job).await,
        Request::JobResults { job, after, wait_ms } => results(hub, asker, job, after, wait_ms).await,
        Request::JobShow { job } => {
            check_owner(hub, asker, job)?;
            show(hub, job)
        }
        Request::JobList { everyones } => {
            let mut jobs = hub.state().foreman.infos();
            jobs.retain(|job| everyones || job.owner == asker);
            jobs.iter_mut().for_each(shorten);
            // The newest, as many as fit.
            let mut room = LISTED_BYTES_MAX;
            let fits = jobs.iter().rev().take_while(|job| {
                room = room.saturating_sub(bytes_of(job));
                room > 0
            });
            let fits = fits.count();
            jobs.drain(..jobs.len() - fits);
            Ok(Reply::Jobs(jobs))
        }
        Request::Explain(subject) => explain(hub, asker, subject).await,
        _ => Err(deny(DenialCode::BadRequest, "request", "it is not about jobs", "")),
    }
}

async fn make(hub: &Arc<Hub>, asker: PublicKey, job: JobId, spec: JobSpec) -> Result<Reply, Denial> {
    check_spec(&spec)?;
    if hub.registry_now().module(&spec.module).is_none() {
        let why = format!("the manager has no module {}", spec.module);
        return Err(deny(DenialCode::NotFound, "module", why, "upload it first: `grid module upload FILE`"));
    }
    let created = hub.unix_now();
    match hub.change(|state, _| match state.banned.on(&asker, &spec.module) {
        Some(ban) => Err(NotAdded::Banned(ban)),
        None => state.foreman.add(job, asker, spec, created),
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
    on_disk(hub).await?;
    show(hub, job)
}

/// What a list or an answer with outcomes has no room for.
fn shorten(job: &mut JobInfo) {
    job.spec.arguments.clear();
    if let JobState::GivenUp { why } = &mut job.state {
        why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
    }
}

/// Why a job was given up, in an answer that is about more than that.
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

/// Takes tasks in, and answers when they are on disk: what is acknowledged is never lost.
async fn submit(
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    first: u64,
    inputs: Vec<Payload>,
) -> Result<Reply, Denial> {
    check_owner(hub, asker, job)?;
    let bytes: usize = inputs.iter().map(Payload::frame_bytes).sum();
    let longest = inputs.iter().map(Payload::frame_bytes).max().unwrap_or_default();
    if inputs.len() > BATCH_TASKS_MAX || bytes > 2 * BATCH_BYTES_MAX || longest > PAYLOAD_BYTES_MAX + 8 {
        let why = format!("a task may have {PAYLOAD_BYTES_MAX} bytes, a batch {BATCH_TASKS_MAX} tasks");
        return Err(deny(DenialCode::BadRequest, "tasks", why, "send less at once"));
    }
    let stored: Vec<_> = inputs.iter().filter_map(stored).collect();
    if let Some(Err(error)) = stored.iter().map(bounded).find(Result::is_err) {
        return Err(deny(DenialCode::BadRequest, "payload", error, "send less at once"));
    }
    if !stored.is_empty() && !has_all(hub, job, stored).await? {
        let why = "a payload was not brought, has another length, or its job was forgotten";
        return Err(deny(DenialCode::NotFound, "payload", why, "bring it first"));
    }
    if !room(hub, asker).await? {
        // The client has waited, and asks again: it is held back, and nothing is buffered for it. What it brought
        // earlier may not be on disk yet.
        return Ok(Reply::Submitted { next: first });
    }
    let next = hub.change(|state, _| state.foreman.submit(job, first, &inputs));
    let Some(next) = next else {
        // What this tells of the job must be on disk, too: the client looks next how it stands.
        on_disk(hub).await?;
        let why = format!("it expects another task than number {first}, or takes no more");
        return Err(deny(DenialCode::Conflict, "tasks", why, "`grid job show JOB` says how the job stands"));
    };
    on_disk(hub).await?;
    Ok(Reply::Submitted { next })
}

fn stored(input: &Payload) -> Option<BlobRef> {
    match input {
        Payload::Blob(stored) => Some(*stored),
        _ => None,
    }
}

async fn has_all(hub: &Arc<Hub>, job: JobId, stored: Vec<BlobRef>) -> Result<bool, Denial> {
    let look = move |payloads: &Payloads| {
        stored.iter().try_fold(true, |all, payload| Ok(all && payloads.has(job, payload)?))
    };
    hub.payloads(look).await.map_err(fault)
}

/// Takes a payload in for a job of the asker.
pub(crate) async fn keep(
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    payload: BlobRef,
    bytes: Bytes,
) -> Result<Reply, Denial> {
    check_owner(hub, asker, job)?;
    if let Some(trouble) = hub.state().foreman.trouble() {
        return Err(store_trouble(trouble));
    }
    hub.payloads(move |payloads| payloads.keep(job, payload, &bytes)).await.map_err(fault)?;
    Ok(Reply::Done)
}

/// The bytes of a payload of a job of the asker.
pub(crate) async fn fetch(
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    payload: BlobRef,
) -> Result<Bytes, Denial> {
    check_owner(hub, asker, job)?;
    let bytes = hub.payloads(move |payloads| payloads.fetch(job, &payload)).await.map_err(fault)?;
    bytes.ok_or_else(|| deny(DenialCode::NotFound, "payload", "the job has none of that digest", ""))
}

/// Waits a while for room in the queue; whether there is any.
async fn room(hub: &Arc<Hub>, asker: PublicKey) -> Result<bool, Denial> {
    let until = Instant::now() + PATIENCE;
    loop {
        let written = {
            let state = hub.state();
            if let Some(trouble) = state.foreman.trouble() {
                return Err(store_trouble(trouble));
            }
            let crowded = state.foreman.unwritten() > UNWRITTEN_BYTES_MAX;
            if !crowded && state.foreman.waiting_of(asker) < WAITING_TASKS_MAX {
                return Ok(true);
            }
            state.foreman.written.clone().notified_owned()
        };
        if timeout_at(until, written).await.is_err() {
            return Ok(false);
        }
    }
}

/// Waits until everything so far is on disk.
async fn on_disk(hub: &Arc<Hub>) -> Result<(), Denial> {
    let (written, is_written) = oneshot::channel();
    hub.change(|state, _| state.foreman.after_commit(Effect::Acknowledge(written)));
    match timeout(PATIENCE, is_written).await {
        Ok(Ok(())) => Ok(()),
        _ => {
            let state = hub.state();
            Err(store_trouble(state.foreman.trouble().unwrap_or("it takes too long")))
        }
    }
}

fn store_trouble(why: &str) -> Denial {
    let help = "look at the manager's disk: is it full?; then do the same again, which changes nothing twice";
    deny(DenialCode::ManagerFault, "the manager's store takes no changes", why, help)
}

async fn change(
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    change: impl FnOnce(&Hub),
) -> Result<Reply, Denial> {
    check_owner(hub, asker, job)?;
    change(hub);
    on_disk(hub).await?;
    show(hub, job)
}

/// Tries dead tasks again. One request at a time: what another has brought back to life is not dead any more.
async fn retry(hub: &Arc<Hub>, asker: PublicKey, job: JobId) -> Result<Reply, Denial> {
    let _alone = hub.retrying.lock().await;
    on_disk(hub).await?;
    let module = hub.state().foreman.record(job).map(|record| record.spec.module);
    if let Some(module) = module.filter(|module| hub.registry_now().module(module).is_none()) {
        let why = format!("the manager does not have its module {module} any more");
        return Err(deny(DenialCode::NotFound, "module", why, "upload it again: `grid module upload FILE`"));
    }
    let dead = hub.ledger(move |ledger| ledger.dead(job)).await.map_err(fault)?;
    let retried = hub.change(|state, now| {
        let record = state.foreman.record(job);
        if let Some(ban) = record.and_then(|record| state.banned.on(&record.owner, &record.spec.module)) {
            return Err(ban);
        }
        state.foreman.retry(now, job, &dead);
        Ok(())
    });
    retried.map_err(banned)?;
    change(hub, asker, job, |_| ()).await
}

async fn forget(hub: &Arc<Hub>, asker: PublicKey, job: JobId) -> Result<Reply, Denial> {
    check_owner(hub, asker, job)?;
    if !hub.change(|state, _| state.foreman.forget(job)) {
        return Err(deny(DenialCode::Conflict, "job", "it is not over", "`grid job stop JOB` stops it"));
    }
    let sweeper = hub.clone();
    // It goes on when the client does not wait for it.
    let swept = tokio::spawn(async move {
        // What was written for it must not come after its removal.
        on_disk(&sweeper).await?;
        sweep(&sweeper, job).await
    });
    swept.await.unwrap_or_else(|error| Err(store_trouble(&error.to_string())))?;
    Ok(Reply::Done)
}

/// Removes what is kept of a job that there is no more.
pub(crate) async fn sweep(hub: &Arc<Hub>, job: JobId) -> Result<(), Denial> {
    hub.payloads(move |payloads| payloads.sweep(job)).await.map_err(fault)?;
    hub.ledger(move |ledger| ledger.sweep(job)).await.map_err(fault)?;
    hub.state().foreman.swept(job);
    Ok(())
}

async fn results(
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    after: u64,
    wait_ms: u32,
) -> Result<Reply, Denial> {
    check_owner(hub, asker, job)?;
    let until = Instant::now() + Duration::from_millis(wait_ms.into()).min(RESULTS_WAIT_MAX);
    loop {
        // Listening comes before looking, so that what is recorded in between is not missed.
        let recorded = hub.state().foreman.watch(job).notified_owned();
        let mut recorded = std::pin::pin!(recorded);
        recorded.as_mut().enable();
        let outcomes =
            hub.ledger(move |ledger| ledger.outcomes(job, after, BATCH_BYTES_MAX)).await.map_err(fault)?;
        let info = info_of(hub, job)?;
        if outcomes.is_empty() && info.state.is_over() {
            // It may have come to its end since the look at the disk; everything is there then, and nothing more comes.
            let outcomes = hub
                .ledger(move |ledger| ledger.outcomes(job, after, BATCH_BYTES_MAX))
                .await
                .map_err(fault)?;
            return results_of(hub, job, outcomes);
        }
        if !outcomes.is_empty() || timeout_at(until, recorded).await.is_err() {
            return results_of(hub, job, outcomes);
        }
    }
}

fn results_of(hub: &Hub, job: JobId, outcomes: Vec<OutcomeEntry>) -> Result<Reply, Denial> {
    let mut job = info_of(hub, job)?;
    shorten(&mut job);
    Ok(Reply::Results { outcomes, job })
}

fn show(hub: &Hub, job: JobId) -> Result<Reply, Denial> {
    info_of(hub, job).map(Reply::Job)
}

fn info_of(hub: &Hub, job: JobId) -> Result<JobInfo, Denial> {
    hub.state().foreman.info(job).ok_or_else(|| {
        deny(DenialCode::NotFound, "job", "there is none of that id", "`grid job ls` lists them")
    })
}

pub(crate) fn check_owner(hub: &Hub, asker: PublicKey, job: JobId) -> Result<(), Denial> {
    let owner = hub.state().foreman.record(job).map(|record| record.owner);
    match owner {
        Some(owner) if owner == asker || roles(hub, asker).has(Role::Admin) => Ok(()),
        // Others' jobs are not even admitted to be there.
        _ => found(false, "job", "`grid job ls` lists them").map(drop),
    }
}

async fn explain(hub: &Arc<Hub>, asker: PublicKey, subject: Subject) -> Result<Reply, Denial> {
    let lines = match subject {
        Subject::Job(job) => {
            check_owner(hub, asker, job)?;
            explain::job(&hub.state(), hub.now(), job)
        }
        Subject::Task(job, task) => {
            check_owner(hub, asker, job)?;
            let recorded = hub.ledger(move |ledger| ledger.outcome_of(job, task)).await.map_err(fault)?;
            match recorded.map(|recorded| (recorded.host, recorded.outcome)) {
                Some((host, Outcome::Done(results))) => {
                    vec![format!("task {task} is done, on {host}; it sent {} results", results.len())]
                }
                Some((_, Outcome::Dead { why, attempts })) => explain::dead(task, &why, &attempts),
                None => {
                    let failures =
                        hub.ledger(move |ledger| ledger.failures(job, task)).await.map_err(fault)?;
                    explain::task(&hub.state(), hub.now(), job, task, &failures)
                }
            }
        }
        Subject::Host(host) => explain::host(&hub.state(), hub.now(), host),
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
