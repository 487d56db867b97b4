//! Jobs.

use axum::extract::Extension;
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use grid_client::view::{DoneView, JobSummaryView, JobView, List, OutcomeView};
use grid_client::{DEFAULT_ATTEMPTS, DEFAULT_TIMEOUT, TaskOutcome, find_module, from_json};
use grid_http::HttpProblem;
use grid_protocol::client::{Reply, Request, Subject};
use grid_protocol::host::Label;
use grid_protocol::job::{GiveUp, JobId, JobSpec, Outcome, OutcomeEntry, Payload};
use grid_protocol::limits::{BATCH_BYTES_MAX, BATCH_TASKS_MAX};
use grid_protocol::role::Role;
use grid_protocol::submission::BorrowedPayload;
use grid_protocol::time::millis;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use crate::answer::{HttpAnswer, bad, document, odd, problem};
use crate::api::Asks;
use crate::api::arguments::{AnyBody, InPath, InQuery, read};
use crate::api::modules::modules;
use crate::auth::Caller;
use crate::openapi::{ApiRoutes, operation};

/// Longest list of tasks, in bytes. More tasks go into several jobs, or through a client.
pub(super) const TASKS_BYTES_MAX: usize = 16 << 20;

/// Longest input of a task, in bytes of CBOR.
const TASK_BYTES_MAX: usize = BATCH_BYTES_MAX / 2;

/// Bytes of long results that one answer carries.
const RESULT_BYTES_MAX: u64 = 16 << 20;

/// Which jobs.
#[derive(Debug, Deserialize, IntoParams)]
struct JobQuery {
    /// Everybody's, for a viewer or an admin; else only the caller's.
    #[serde(default)]
    #[param(default = false)]
    everyones: bool,
}

/// A job, with what the manager has seen of it and why it is not finished.
#[derive(Serialize, ToSchema)]
struct JobPage {
    /// Why it is not finished, one sentence a line.
    explanation: Vec<String>,
    #[serde(flatten)]
    job: JobView,
    /// What the manager has seen of its attempts.
    summary: JobSummaryView,
}

/// What the tasks of a new job have in common.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct NewJob {
    /// The module's name, or the beginning of its digest.
    module: String,
    /// What the guest's `init` receives, as JSON.
    #[param(nullable = false)]
    arguments: Option<String>,
    /// Attempts at a task that fails by its own fault.
    #[serde(default = "attempts")]
    #[param(default = attempts, minimum = 1, maximum = 100)]
    attempts: u32,
    /// Labels that a host must have, each as `NAME=VALUE`, with commas between them.
    #[serde(default)]
    labels: String,
    /// Memory limit of a task, in bytes; 0 leaves it to the manifest and the host.
    #[serde(default)]
    #[param(default = 0)]
    memory_bytes: u64,
    /// The job's display name; without it, the module's name.
    #[param(nullable = false)]
    name: Option<String>,
    /// Jobs of one owner with a higher number go first; between owners it has no effect.
    #[serde(default)]
    #[param(default = 0)]
    priority: i32,
    /// Longest time of an attempt, in milliseconds.
    #[serde(default = "timeout_ms")]
    #[param(default = timeout_ms, minimum = 1)]
    timeout_ms: u64,
}

fn attempts() -> u32 {
    DEFAULT_ATTEMPTS
}

fn timeout_ms() -> u64 {
    millis(DEFAULT_TIMEOUT)
}

/// Which outcomes.
#[derive(Debug, Deserialize, IntoParams)]
struct OutcomeQuery {
    /// The number of the last outcome that the caller has: `next` of the answer before.
    #[serde(default)]
    #[param(default = 0)]
    after: u64,
    /// How long to wait for an outcome if there is none yet, in milliseconds; at most 30 000.
    #[serde(default)]
    #[param(default = 0)]
    wait_ms: u32,
}

/// Outcomes of a job.
#[derive(Serialize, ToSchema)]
struct Results {
    /// The job: there are no more outcomes if it is over and this answer has none.
    job: JobView,
    /// The number to ask with next, as `after`.
    next: u64,
    /// The outcomes, in the order in which they came.
    results: Vec<OutcomeView>,
}

pub(super) fn routes() -> ApiRoutes {
    let job = "The job's id.";
    let read = ApiRoutes::new("jobs")
        .get(
            "/jobs",
            list,
            operation("listJobs", "Lists jobs; only the newest if there are very many.")
                .query::<JobQuery>()
                .answers::<List<JobView>>("The jobs."),
        )
        .get(
            "/jobs/{job}",
            show,
            operation("showJob", "Shows one job, and why it is not finished.")
                .in_path("job", job)
                .answers::<JobPage>("The job.")
                .problems(&[StatusCode::NOT_FOUND]),
        )
        .get(
            "/jobs/{job}/results",
            results,
            operation("listResults", "Lists outcomes of a job, from a number on; waits for one.")
                .needs(Role::Client)
                .in_path("job", job)
                .query::<OutcomeQuery>()
                .answers::<Results>("The outcomes, as many as fit in an answer.")
                .problems(&[StatusCode::NOT_FOUND]),
        );
    new_job_routes().merge(read).merge(change_routes(job))
}

fn new_job_routes() -> ApiRoutes {
    let lines = ObjectBuilder::new().schema_type(Type::String);
    let tasks = format!(
        "The input of each task: a line of JSON, which becomes CBOR of at most {TASK_BYTES_MAX} bytes. All lines have \
         at most {TASKS_BYTES_MAX} bytes. The type is not looked at."
    );
    ApiRoutes::new("jobs")
        .post(
            "/jobs",
            make,
            operation("createJob", "Makes a job whose tasks are the lines of the body.")
                .note("The answer comes when all tasks are on disk. The job takes no more tasks then.")
                .needs(Role::Client)
                .query::<NewJob>()
                .in_header(
                    "traceparent",
                    "What the job is a part of; one that cannot be read is passed over.",
                )
                .takes(&["application/x-ndjson", "application/octet-stream"], lines, &tasks)
                .answers::<JobView>("The job.")
                .problems(&[
                    StatusCode::NOT_FOUND,
                    StatusCode::CONFLICT,
                    StatusCode::UNPROCESSABLE_ENTITY,
                    StatusCode::SERVICE_UNAVAILABLE,
                ]),
        )
        .body_bytes_max(TASKS_BYTES_MAX)
}

fn change_routes(job: &str) -> ApiRoutes {
    ApiRoutes::new("jobs")
        .post(
            "/jobs/{job}/stop",
            stop,
            operation(
                "stopJob",
                "Stops a job: its waiting tasks get no outcome, and running attempts are ended.",
            )
            .needs(Role::Client)
            .in_path("job", job)
            .problems(&[StatusCode::NOT_FOUND]),
        )
        .post(
            "/jobs/{job}/retry",
            retry,
            operation("retryJob", "Retries the tasks of a job that have failed for good.")
                .needs(Role::Client)
                .in_path("job", job)
                .problems(&[StatusCode::NOT_FOUND, StatusCode::UNPROCESSABLE_ENTITY]),
        )
        .post(
            "/jobs/{job}/remove",
            remove,
            operation("removeJob", "Forgets a job that is over, with its results.")
                .needs(Role::Client)
                .in_path("job", job)
                .problems(&[StatusCode::NOT_FOUND, StatusCode::CONFLICT]),
        )
}

async fn list(Extension(caller): Asks, InQuery(which): InQuery<JobQuery>) -> HttpAnswer {
    match caller.ask(Request::JobList { everyones: which.everyones }).await? {
        Reply::Jobs(jobs) => document(List(jobs.iter().map(JobView::from).collect())),
        other => Err(odd(&other)),
    }
}

async fn show(Extension(caller): Asks, InPath(job): InPath<String>) -> HttpAnswer {
    let job: JobId = read(&job)?;
    let shown = match caller.ask(Request::JobShow { job }).await? {
        Reply::Job(info) => JobView::from(&info),
        other => return Err(odd(&other)),
    };
    let summary = match caller.ask(Request::JobSummary { job }).await? {
        Reply::JobSummary(summary) => JobSummaryView::from(&summary),
        other => return Err(odd(&other)),
    };
    match caller.ask(Request::Explain(Subject::Job(job))).await? {
        Reply::Explanation { lines } => document(JobPage { explanation: lines, job: shown, summary }),
        other => Err(odd(&other)),
    }
}

/// Makes a job whose tasks are the lines of the body: JSON, which becomes CBOR, as for `grid run`.
async fn make(
    Extension(caller): Asks,
    InQuery(new): InQuery<NewJob>,
    headers: HeaderMap,
    AnyBody(tasks): AnyBody,
) -> HttpAnswer {
    let modules = modules(&caller).await?;
    let Some(module) = find_module(&modules, &new.module) else {
        let problem = HttpProblem::new(StatusCode::NOT_FOUND, "not-found", "the manager has no such module");
        return Err(problem.help("upload it first; `grid module ls` lists those that are there"));
    };
    let inputs = inputs(&tasks)?;
    let arguments = new.arguments.as_ref().map(|arguments| from_json(arguments.as_bytes()));
    let spec = JobSpec {
        name: new.name.unwrap_or_else(|| module.name.clone()),
        module: module.digest,
        arguments: arguments.transpose().map_err(bad)?.map(Into::into).unwrap_or_default(),
        labels: labels(&new.labels)?,
        memory_bytes: new.memory_bytes,
        priority: new.priority,
        timeout_ms: new.timeout_ms,
        attempts_max: new.attempts,
        give_up: GiveUp::Never,
    };
    let job =
        JobId(caller.auth.random().map_err(|detail| {
            HttpProblem::new(StatusCode::INTERNAL_SERVER_ERROR, "manager-fault", detail)
        })?);
    let part_of = headers.get("traceparent").and_then(|context| context.to_str().ok()?.parse().ok());
    caller
        .ask(match part_of {
            None => Request::JobNew { job, spec },
            Some(context) => Request::JobNewTraced { job, spec, context },
        })
        .await?;
    submit(&caller, job, inputs).await?;
    match caller.ask(Request::JobClose { job }).await? {
        Reply::Job(info) => document(JobView::from(&info)),
        other => Err(odd(&other)),
    }
}

fn labels(text: &str) -> Result<Vec<Label>, HttpProblem> {
    let label = |text: &str| {
        let (name, value) = text.split_once('=').ok_or_else(|| bad("a label is NAME=VALUE"))?;
        Ok(Label { name: name.to_owned(), value: value.to_owned() })
    };
    text.split(',').filter(|label| !label.is_empty()).map(label).collect()
}

/// The input of each task: a line that is not empty.
fn inputs(lines: &[u8]) -> Result<Vec<Bytes>, HttpProblem> {
    let lines = lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let mut inputs = Vec::new();
    for (number, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
        let number = number + 1;
        let input = from_json(line).map_err(|why| bad(format!("line {number}: {why}")))?;
        if input.len() > TASK_BYTES_MAX {
            let detail =
                format!("line {number} has {} bytes; {TASK_BYTES_MAX} is the limit here", input.len());
            let problem = HttpProblem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail);
            return Err(problem.help("a client takes longer ones: `grid run`"));
        }
        inputs.push(input);
    }
    Ok(inputs)
}

/// Submits tasks in batches; each is on disk when the manager answers.
async fn submit(caller: &Caller, job: JobId, inputs: Vec<Bytes>) -> Result<(), HttpProblem> {
    let mut first = 0;
    while let Some(rest) = inputs.get(first..).filter(|rest| !rest.is_empty()) {
        let mut bytes = 0;
        let fits = rest.iter().take(BATCH_TASKS_MAX).take_while(|input| {
            bytes += input.len() + 16;
            bytes <= BATCH_BYTES_MAX
        });
        let batch = fits.map(|input| BorrowedPayload::Here(input)).collect();
        match caller.ask(Request::JobSubmit { job, first: first as u64, inputs: batch }).await? {
            // While the queue is full, the manager waits for room before it answers.
            Reply::Submitted { next } => first = usize::try_from(next).unwrap_or(usize::MAX),
            other => return Err(odd(&other)),
        }
    }
    Ok(())
}

async fn results(
    Extension(caller): Asks,
    InPath(job): InPath<String>,
    InQuery(query): InQuery<OutcomeQuery>,
) -> HttpAnswer {
    let job: JobId = read(&job)?;
    let OutcomeQuery { after, wait_ms } = query;
    let (outcomes, info) = match caller.ask(Request::JobResults { job, after, wait_ms }).await? {
        Reply::Results { outcomes, job } => (outcomes, job),
        other => return Err(odd(&other)),
    };
    let modules = modules(&caller).await?;
    let module = modules.iter().find(|module| module.digest == info.spec.module);
    let by_command = module.is_some_and(|module| module.entry_point.starts_with("command"));
    let (mut next, mut shown, mut fetched) = (after, Vec::new(), 0);
    for outcome in outcomes {
        let long = long_bytes(&outcome);
        if fetched + long > RESULT_BYTES_MAX && !shown.is_empty() {
            break;
        }
        fetched += long;
        next = outcome.seq;
        let outcome = TaskOutcome::from(fetch(&caller, job, outcome).await?);
        shown.push(OutcomeView::of(&outcome, by_command, None));
    }
    document(Results { job: JobView::from(&info), next, results: shown })
}

/// Bytes of the results that the manager keeps as files.
fn long_bytes(outcome: &OutcomeEntry) -> u64 {
    match &outcome.outcome {
        Outcome::Done(results) => results
            .iter()
            .map(|result| match result {
                Payload::Blob(blob) => blob.length,
                _ => 0,
            })
            .sum(),
        Outcome::Dead { .. } => 0,
    }
}

/// Fetches the results that the manager keeps as files.
async fn fetch(caller: &Caller, job: JobId, mut outcome: OutcomeEntry) -> Result<OutcomeEntry, HttpProblem> {
    if let Outcome::Done(results) = &mut outcome.outcome {
        for result in results {
            if let Payload::Blob(blob) = result {
                let bytes = caller.auth.access.fetch(caller.asker, job, *blob).await.map_err(problem)?;
                *result = Payload::Here(bytes);
            }
        }
    }
    Ok(outcome)
}

async fn stop(Extension(caller): Asks, InPath(job): InPath<String>) -> HttpAnswer {
    caller.ask(Request::JobStop { job: read(&job)? }).await?;
    document(DoneView::DONE)
}

async fn retry(Extension(caller): Asks, InPath(job): InPath<String>) -> HttpAnswer {
    caller.ask(Request::JobRetry { job: read(&job)? }).await?;
    document(DoneView::DONE)
}

async fn remove(Extension(caller): Asks, InPath(job): InPath<String>) -> HttpAnswer {
    caller.ask(Request::JobForget { job: read(&job)? }).await?;
    document(DoneView::DONE)
}
