//! `grid job` and `grid explain`.

use std::path::Path;
use std::time::Duration;

use wasm_grid::view::{DeadTaskView, ExplanationView, JobView, List};
use wasm_grid::{
    AttemptFailure, Client, FailureKind, JobId, JobInfo, Reply, Request, Subject, TaskFailed, TaskOutcome,
};

use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows, counted, time};
use crate::command::shown::{self, Lines};
use crate::command::{Common, host, job_trace, module, run};

/// Jobs: lists of tasks.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum JobSubcommand {
    /// List your jobs.
    Ls {
        /// Everybody's jobs, which takes the admin role.
        #[arg(long)]
        everyone: bool,
    },
    /// Show one job.
    Show {
        /// Its id, or the beginning of it.
        job: String,
    },
    /// Print the outcomes that are there, a JSON document a line.
    Results {
        /// The job's id, or the beginning of it.
        job: String,
        /// Only those after this number.
        #[arg(long, default_value_t = 0, value_name = "N")]
        after: u64,
        /// Wait for the rest.
        #[arg(long)]
        follow: bool,
    },
    /// Print what failed tasks wrote last, and why they failed.
    Logs {
        /// The job's id, or the beginning of it.
        job: String,
    },
    /// Show where the time of a job's tasks went: waiting, on the way, compiling, running.
    ///
    /// Some tasks of each job are traced: the first, and up to ten a second of all jobs together; of a job that is part of
    /// a trace (see `grid run --traceparent`) up to a hundred a second.
    Trace {
        /// The job's id, or the beginning of it.
        job: String,
        /// Only this task, by its number from 0.
        #[arg(long, value_name = "N")]
        task: Option<u64>,
    },
    /// Wait until a job is over.
    Wait {
        /// Its id, or the beginning of it.
        job: String,
    },
    /// Stop a job: what waits is not handed out, what runs is ended.
    Stop {
        /// Its id, or the beginning of it.
        job: String,
    },
    /// Try the failed tasks of a job again, and only them.
    Retry {
        /// Its id, or the beginning of it.
        job: String,
    },
    /// Forget jobs that are over, with their inputs and outcomes.
    Rm {
        /// Their ids, or the beginnings of them.
        #[arg(required_unless_present = "over")]
        jobs: Vec<String>,
        /// All of your jobs that are over.
        #[arg(long, conflicts_with = "jobs")]
        over: bool,
    },
}

/// Say in words why a job, a task or a host is as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Explain {
    /// A job's id or the beginning of it, a host's name or key, or JOB/TASK.
    what: String,
}

/// How long one request waits for outcomes.
const WAIT: Duration = Duration::from_secs(10);

impl JobSubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let client = common.client()?;
        let job = |text: &str| find(&client, text.to_owned());
        match self {
            Self::Ls { everyone } => print(output, list(&client, *everyone).await?),
            Self::Show { job: text } => show(output, &client.find_job(job(text).await?).show().await?),
            Self::Results { job: text, after, follow } => {
                results(&client, job(text).await?, *after, *follow).await
            }
            Self::Logs { job: text } => logs(&client, output, job(text).await?).await,
            Self::Trace { job: text, task } => {
                job_trace::print(&client, output, job(text).await?, *task).await
            }
            Self::Wait { job: text } => show(output, &client.find_job(job(text).await?).wait().await?),
            Self::Stop { job: text } => show(output, &client.find_job(job(text).await?).stop().await?),
            Self::Retry { job: text } => show(output, &client.find_job(job(text).await?).retry().await?),
            Self::Rm { jobs, over } => forget(&client, output, jobs, *over).await,
        }
    }
}

impl Explain {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let client = common.client()?;
        let subject = self.subject(&client).await?;
        match client.request(Request::Explain(subject)).await? {
            Reply::Explanation { lines } => {
                let view = ExplanationView::from(lines);
                output.one(&view.lines[..], &view.lines[..], &view)
            }
            _ => Err(CliError::failed("the manager's answer makes no sense", "upgrade the older program")),
        }
    }
}

impl Explain {
    /// Finds the job, the host or the task that is meant: all of their names may contain a `/`.
    async fn subject(&self, client: &Client) -> Result<Subject, CliError> {
        let no_job = match find(client, self.what.clone()).await {
            Ok(job) => return Ok(Subject::Job(job)),
            Err(fault) => fault,
        };
        let hosts = host::list(client).await?;
        if host::is_known(&hosts, &self.what) {
            return Ok(Subject::Host(host::find(&hosts, &self.what)?.key));
        }
        let Some((job, task)) = self.what.rsplit_once('/') else { return Err(no_job) };
        let number = task.parse().map_err(|_| CliError::usage(format!("{task} is no number of a task")))?;
        Ok(Subject::Task(find(client, job.to_owned()).await?, number))
    }
}

async fn list(client: &Client, everyones: bool) -> Result<Vec<JobInfo>, CliError> {
    match client.request(Request::JobList { everyones }).await? {
        Reply::Jobs(jobs) => Ok(jobs),
        _ => Err(CliError::failed("the manager's answer makes no sense", "upgrade the older program")),
    }
}

/// The job with this id, or the only one whose id or name begins with `text`.
async fn find(client: &Client, text: String) -> Result<JobId, CliError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let jobs = list(client, false).await?;
    let mut matching =
        jobs.iter().filter(|job| job.id.to_string().starts_with(&text) || job.spec.name == text);
    match (matching.next(), matching.next()) {
        (Some(job), None) => Ok(job.id),
        (None, _) => {
            Err(CliError::not_found(format!("there is no job {text}")).help("`grid job ls` lists them"))
        }
        _ => Err(CliError::usage(format!("{text} names more than one job"))),
    }
}

async fn forget(client: &Client, output: &Output, jobs: &[String], over: bool) -> Result<(), CliError> {
    let mut ids = Vec::new();
    for job in jobs {
        ids.push(find(client, job.clone()).await?);
    }
    if over {
        let jobs = list(client, false).await?;
        ids.extend(jobs.iter().filter(|job| job.state.is_over()).map(|job| job.id));
    }
    for id in &ids {
        client.find_job(*id).forget().await?;
    }
    let are = if ids.len() == 1 { "is" } else { "are" };
    output.done(&format!("{} {are} forgotten", counted(ids.len() as u64, "job")))
}

/// The label of a WASI command's entry point.
const COMMAND: &str = "command";

async fn results(client: &Client, id: JobId, after: u64, follow: bool) -> Result<(), CliError> {
    let job = client.find_job(id);
    let runs = job.show().await?.spec.module;
    let modules = module::list(client).await?;
    let by_command =
        modules.iter().any(|module| module.digest == runs && module.entry_point.starts_with(COMMAND));
    let (mut after, mut stdout) = (after, std::io::stdout().lock());
    let broken = |error| CliError::unwritten("the output cannot be written", error);
    loop {
        let wait = if follow { WAIT } else { Duration::ZERO };
        let (outcomes, info) = job.outcomes(after, wait).await?;
        let none = outcomes.is_empty();
        for recorded in outcomes {
            after = recorded.seq;
            let outcome = TaskOutcome::from(recorded);
            run::print_line(&mut stdout, &outcome, by_command, None, None).map_err(broken)?;
        }
        if none && (!follow || info.state.is_over()) {
            return Ok(());
        }
    }
}

/// Prints why tasks failed: as the outcomes come for people, in one document for scripts.
async fn logs(client: &Client, output: &Output, id: JobId) -> Result<(), CliError> {
    let (job, mut after, mut failures) = (client.find_job(id), 0, Vec::new());
    loop {
        let (outcomes, _) = job.outcomes(after, Duration::ZERO).await?;
        if outcomes.is_empty() {
            break;
        }
        for recorded in outcomes {
            after = recorded.seq;
            let outcome = TaskOutcome::from(recorded);
            let Err(failed) = &outcome.results else { continue };
            if output.is_json() {
                failures.push(DeadTaskView::new(outcome.task, failed));
            } else {
                output.raw(failure_lines(outcome.task, None, failed).as_str().as_bytes())?;
            }
        }
    }
    if output.is_json() { output.document(List(failures)) } else { Ok(()) }
}

/// Why a task failed, attempt by attempt, for people; with the name of its file, if its input was a file.
pub(crate) fn failure_lines(task: u64, file: Option<&Path>, failed: &TaskFailed) -> Lines {
    let file = file.map_or_else(String::new, |file| format!(" ({})", shown::line(&file.to_string_lossy())));
    let mut lines = Lines::from(&format!("task {task}{file} failed: {}", failed.why));
    for attempt in &failed.attempts {
        let (ran, host) = (Duration::from_micros(attempt.ran_us), shown::line(&attempt.host_name));
        match &attempt.failure {
            None => lines.push(2, &format!("on {host}: the host was lost")),
            Some(failure) => {
                let kind = failure.kind.label();
                lines.push(2, &format!("on {host} after {ran:.1?}: {kind}: {}", failure.message));
                failure.backtrace.iter().for_each(|frame| lines.push(4, &format!("at {frame}")));
            }
        }
        attempt.log.iter().for_each(|line| lines.push(4, &format!("it wrote: {}", line.text)));
    }
    if let Some(hint) = failed.attempts.last().and_then(hint) {
        lines.push(2, &format!("help: {hint}"));
    }
    lines
}

/// The flag that might help after such a failure.
fn hint(attempt: &AttemptFailure) -> Option<&'static str> {
    match attempt.failure.as_ref()?.kind {
        FailureKind::Timeout => Some("--timeout SECONDS gives tasks more time"),
        FailureKind::MemoryLimit | FailureKind::OutOfMemory | FailureKind::OutOfBounds => {
            Some("--memory SIZE is the most that a task may have, up to what `grid-host --memory` allows")
        }
        FailureKind::Reported | FailureKind::Exit(_) | FailureKind::Trap => {
            Some("--retries N tries more often, if it is not the input's fault")
        }
        FailureKind::HostFault | FailureKind::HostFull | FailureKind::ModuleUnavailable => {
            Some("`grid host ls` shows how the hosts are; --label NAME=VALUE chooses among them")
        }
        _ => None,
    }
}

fn show(output: &Output, job: &JobInfo) -> Result<(), CliError> {
    let counts = job.counts;
    let lines = [
        format!("job     {}", job.id),
        format!("name    {}", job.spec.name),
        format!("state   {}", job.state.label()),
        format!("tasks   {}", counts.submitted),
        format!("done    {}", counts.done),
        format!("failed  {}", counts.dead),
        format!("hosts   {} with {}", job.hosts, counted(counts.leased, "task")),
        format!("waiting {}", counts.waiting),
    ];
    output.one(&lines[..], &job.id.to_string(), JobView::from(job))
}

fn print(output: &Output, jobs: Vec<JobInfo>) -> Result<(), CliError> {
    let row = |job: JobInfo| {
        let counts = job.counts;
        let cells = vec![
            job.id.to_string(),
            job.spec.name.clone(),
            job.state.label().to_owned(),
            counts.submitted.to_string(),
            counts.done.to_string(),
            counts.dead.to_string(),
            counts.leased.to_string(),
            time(job.created),
        ];
        (cells, JobView::from(&job))
    };
    output.rows(Rows {
        headings: &["job", "name", "state", "tasks", "done", "failed", "running", "made"],
        rows: jobs.into_iter().map(row).collect(),
        empty: "no jobs; `grid run MODULE` makes one",
    })
}
