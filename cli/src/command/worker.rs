//! `grid worker`.

use std::collections::BTreeSet;
use std::time::Duration;

use bytesize::ByteSize;
use grid_protocol::time::millis;
use wasm_grid::view::{DeploymentView, LogLineView, SpawnedWorkerView, WorkerView};
use wasm_grid::{
    Client, End, LimitsAsked, Reply, Request, Restart, SpawnBuilder, WorkerId, WorkerInfo, WorkerState,
};

use crate::command::cli_error::CliError;
use crate::command::output::{Output, Rows, counted};
use crate::command::required_walls::RequiredWalls;
use crate::command::{Common, host, module, run};

/// Workers: running instances of modules.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum WorkerSubcommand {
    /// Start workers.
    Spawn(SpawnArgs),
    /// List your workers.
    Ls {
        /// Those that have ended, too.
        #[arg(long)]
        all: bool,
        /// Everybody's workers, which takes the admin role.
        #[arg(long)]
        everyone: bool,
    },
    /// Stop workers.
    Stop {
        /// Their ids, as `grid worker ls` prints them.
        #[arg(required_unless_present = "module")]
        workers: Vec<WorkerId>,
        /// All of your workers of this module, and your deployments for it.
        #[arg(long)]
        module: Option<String>,
        /// With --module: everybody's workers and deployments, which takes the admin role.
        #[arg(long, requires = "module")]
        everyone: bool,
        /// Seconds that they may take to finish the message at hand.
        #[arg(long, default_value_t = 10.0, value_name = "SECONDS")]
        grace: f64,
    },
    /// Print what a worker wrote.
    Logs {
        /// Its id.
        worker: WorkerId,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct SpawnArgs {
    /// The module: its name, or the beginning of its digest.
    module: String,
    /// How many, wherever there is room.
    #[arg(short = 'n', long, default_value_t = 1)]
    count: u32,
    /// On this host; may be given again.
    #[arg(long, conflicts_with_all = ["count", "every_slot"])]
    on: Vec<String>,
    /// One in every slot of every host, now and whenever a host joins.
    #[arg(long, conflicts_with = "count")]
    every_slot: bool,
    /// Spawn arguments: what the worker's `init` receives, as text.
    #[arg(long, default_value = "", value_name = "TEXT")]
    arg: String,
    /// A label that the hosts must carry; may be given again.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    #[command(flatten)]
    require_walls: RequiredWalls,
    /// Memory that the hosts must set aside for each.
    #[arg(long, value_name = "SIZE", default_value = "0")]
    memory: ByteSize,
    /// Most memory of each.
    #[arg(long, value_name = "SIZE")]
    memory_limit: Option<ByteSize>,
    /// Most time on a processor for one call, in seconds.
    #[arg(long, value_name = "SECONDS")]
    call_limit: Option<f64>,
    /// What to do when one dies: never, always, or a number of restarts.
    #[arg(long, default_value = "never", value_parser = restart)]
    restart: Restart,
    /// Do not wait until they run.
    #[arg(long)]
    no_wait: bool,
    /// The arguments of a WASI command; `{}` in them stands for the message at hand, and `{{}}` for `{}`.
    #[arg(last = true, value_name = "ARGUMENTS", conflicts_with = "arg")]
    arguments: Vec<String>,
}

/// How long a spawn waits until its workers run; compiling a large module takes less.
const START_TIME_MAX: Duration = Duration::from_secs(120);

/// Pauses between two requests for the workers' states: the first, and the longest after doubling.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(250);

impl WorkerSubcommand {
    pub(crate) async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        match self {
            Self::Spawn(spawn) => spawn.run(common, output).await,
            Self::Ls { all, everyone } => {
                let client = common.client()?;
                print(output, &client, list(&client, *all, *everyone).await?).await
            }
            Self::Stop { workers, module, everyone, grace } => {
                let grace = Duration::try_from_secs_f64(*grace)
                    .map_err(|error| CliError::usage(format!("--grace: {error}")))?;
                match module {
                    Some(module) => stop_module(common, output, module, *everyone, workers, grace).await,
                    None => {
                        common.client()?.stop_workers(workers, grace).await?;
                        output.done(&stopping(workers.len()))
                    }
                }
            }
            Self::Logs { worker } => logs(common, output, *worker).await,
        }
    }
}

/// Lists this key's workers, or everyone's.
pub(crate) async fn list(client: &Client, ended: bool, everyones: bool) -> Result<Vec<WorkerInfo>, CliError> {
    match client.request(Request::WorkerList { everyones, ended }).await? {
        Reply::Workers(workers) => Ok(workers),
        _ => Err(CliError::failed("no workers", "the manager answered something else")),
    }
}

impl SpawnArgs {
    async fn run(&self, common: &Common, output: &Output) -> Result<(), CliError> {
        let client = common.client()?;
        let module = module::find(&module::list(&client).await?, &self.module)?;
        let call = self.call_limit.map(Duration::try_from_secs_f64).transpose();
        let call = call.map_err(|error| CliError::usage(format!("--call-limit: {error}")))?;
        let limits = LimitsAsked {
            memory_bytes: self.memory_limit.map(|limit| limit.as_u64()),
            call_ms: call.map(millis),
        };
        let mut spawn = client
            .spawn(module.digest)
            .arguments(run::spawn_arguments(&self.arg, &self.arguments)?)
            .memory(self.memory.as_u64())
            .limits(limits)
            .restart(self.restart);
        spawn = self.require_walls.iter().fold(spawn, SpawnBuilder::require_wall);
        for label in &self.labels {
            let (name, value) = label
                .split_once('=')
                .ok_or_else(|| CliError::usage(format!("`{label}` is no label; write NAME=VALUE")))?;
            spawn = spawn.label(name, value);
        }
        if self.every_slot {
            let deployment = spawn.every_slot().await?;
            let line =
                format!("{deployment}: one worker of {} in every slot, present and future", module.name);
            let view = DeploymentView::from(deployment);
            return output.one(&line, &view.deployment, &view);
        }
        let workers = if self.on.is_empty() {
            spawn.anywhere(self.count).await?
        } else {
            let hosts = host::list(&client).await?;
            let found: Result<Vec<_>, CliError> =
                self.on.iter().map(|name| host::find(&hosts, name).map(|host| host.key)).collect();
            spawn.on(&found?).await?
        };
        if !self.no_wait {
            wait(&client, &workers).await?;
        }
        let row = |worker: &WorkerId| (vec![worker.to_string()], SpawnedWorkerView::from(*worker));
        output.rows(Rows {
            headings: &["worker"],
            rows: workers.iter().map(row).collect(),
            empty: "no workers",
        })
    }
}

/// Asks the manager until `workers` are no longer `pending`; returns their states then. It takes no mail, which may
/// hold unread answers of other workers.
pub(crate) async fn settled(
    client: &Client,
    workers: &[WorkerId],
    pending: impl Fn(&[WorkerInfo]) -> bool,
) -> Result<Vec<WorkerInfo>, CliError> {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut known = list(client, true, false).await?;
        known.retain(|info| workers.contains(&info.id));
        if !pending(&known) {
            return Ok(known);
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LAST_PAUSE);
    }
}

/// Waits until workers run; the error is that of the first that failed.
async fn wait(client: &Client, workers: &[WorkerId]) -> Result<(), CliError> {
    let failed = |info: &WorkerInfo| matches!(&info.state, WorkerState::Ended(end) if end.is_accident());
    let starting = |known: &[WorkerInfo]| {
        known.iter().any(|info| info.state == WorkerState::Starting) && !known.iter().any(failed)
    };
    let started = tokio::time::timeout(START_TIME_MAX, settled(client, workers, starting)).await;
    let started = started.unwrap_or_else(|_| {
        Err(CliError::timed_out(format!("not all workers run after {START_TIME_MAX:?}"))
            .help("`grid worker ls` shows them"))
    })?;
    match started.iter().find(|info| failed(info)) {
        Some(WorkerInfo { id, state: WorkerState::Ended(end), .. }) => Err(ended(*id, end)),
        _ => Ok(()),
    }
}

fn ended(worker: WorkerId, end: &End) -> CliError {
    let what = format!("worker {worker} did not start");
    let backtrace = match end {
        End::Failed(failure) => failure.backtrace.iter().map(|frame| format!("\n  at {frame}")).collect(),
        _ => String::new(),
    };
    CliError::failed(what, format!("{end}{backtrace}"))
        .help(&format!("`grid worker logs {worker}` prints what it wrote"))
}

/// Stops the workers and deployments of a module, this key's or everyone's, and `more` workers.
async fn stop_module(
    common: &Common,
    output: &Output,
    module: &str,
    everyone: bool,
    more: &[WorkerId],
    grace: Duration,
) -> Result<(), CliError> {
    let client = common.client()?;
    let module = module::find(&module::list(&client).await?, module)?;
    // A key that may not list everyone's workers is refused here, before anything is stopped.
    let workers = list(&client, false, everyone).await?;
    let Reply::Deployments(deployments) = client.request(Request::DeploymentList).await? else {
        return Err(CliError::failed("no deployments", "the manager answered something else"));
    };
    let of_module = |deployment: &wasm_grid::DeploymentInfo| {
        deployment.request.module == module.digest && (everyone || deployment.owner == client.key())
    };
    let deployments: Vec<_> =
        deployments.into_iter().filter(of_module).map(|deployment| deployment.id).collect();
    for deployment in &deployments {
        client.remove_deployment(*deployment).await?;
    }
    let of_module = workers.into_iter().filter(|worker| worker.module == module.digest);
    let ids: BTreeSet<_> = more.iter().copied().chain(of_module.map(|worker| worker.id)).collect();
    if !ids.is_empty() {
        client.stop_workers(&ids.iter().copied().collect::<Vec<_>>(), grace).await?;
    }
    let ended = match deployments.len() {
        0 => None,
        1 => Some("1 deployment ended".to_owned()),
        count => Some(format!("{count} deployments ended")),
    };
    let stopping = (!ids.is_empty()).then(|| stopping(ids.len()));
    let done: Vec<_> = ended.into_iter().chain(stopping).collect();
    if done.is_empty() {
        return output.done(&format!("nothing of yours runs {}; `--everyone` is for admins", module.name));
    }
    output.done(&done.join(", "))
}

fn stopping(count: usize) -> String {
    if count == 1 { "1 worker is stopping".to_owned() } else { format!("{count} workers are stopping") }
}

async fn logs(common: &Common, output: &Output, worker: WorkerId) -> Result<(), CliError> {
    let Reply::Logs { lines, dropped } = common.client()?.request(Request::WorkerLogs { worker }).await?
    else {
        return Err(CliError::failed("no log", "the manager answered something else"));
    };
    if dropped > 0 {
        let were = if dropped == 1 { "was" } else { "were" };
        output.say(&format!("{} {were} dropped", counted(dropped, "line")));
    }
    let row = |line: wasm_grid::LogLine| {
        let at = jiff::Timestamp::from_millisecond(i64::try_from(line.unix_ms).unwrap_or_default());
        let at = at.map_or_else(|_| line.unix_ms.to_string(), |at| at.strftime("%H:%M:%S%.3f").to_string());
        let view = LogLineView::from(&line);
        (vec![at, view.level.to_owned(), line.text], view)
    };
    output.rows(Rows {
        headings: &["time", "level", "text"],
        rows: lines.into_iter().map(row).collect(),
        empty: "it wrote nothing",
    })
}

fn state(state: &WorkerState) -> String {
    match state {
        WorkerState::Ended(end) => end.to_string(),
        state => state.label().to_owned(),
    }
}

async fn print(output: &Output, client: &Client, workers: Vec<WorkerInfo>) -> Result<(), CliError> {
    let modules = module::list(client).await?;
    let hosts = host::list(client).await?;
    let row = |worker: WorkerInfo| {
        let module = modules.iter().find(|module| module.digest == worker.module);
        let module = module.map_or_else(|| worker.module.short().to_string(), |module| module.name.clone());
        let host = hosts.iter().find(|host| host.key == worker.host);
        let host = host.map_or_else(|| worker.host.fingerprint(), |host| host.capacity.name.clone());
        let view = WorkerView::from(&worker);
        let cells = vec![
            view.worker.clone(),
            module,
            host,
            view.unanswered.to_string(),
            view.uncollected.to_string(),
            view.deployment.clone().unwrap_or_else(|| "-".to_owned()),
            state(&worker.state),
        ];
        (cells, view)
    };
    output.rows(Rows {
        headings: &["worker", "module", "host", "unanswered", "uncollected", "deployment", "state"],
        rows: workers.into_iter().map(row).collect(),
        empty: "no workers; `grid worker spawn MODULE` starts one",
    })
}

fn restart(text: &str) -> Result<Restart, String> {
    match text {
        "never" => Ok(Restart::Never),
        "always" => Ok(Restart::Always),
        number => number
            .parse()
            .map(|at_most| Restart::OnFailure { at_most })
            .map_err(|_| "write never, always or a number".to_owned()),
    }
}
