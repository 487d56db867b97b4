//! The command `grid-host`: joins this machine to a grid.
//!
//! Part of the library, so that the program `grid`, which contains a host anyway, acts as `grid-host` if it is run
//! under that name.

mod metrics_args;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{CommandFactory, FromArgMatches, Parser};
use grid_disk::LockError;
use grid_net::{KnownManagersError, run_as_task};
use grid_protocol::host::{JoinRefusal, Label};
use grid_protocol::key::PublicKey;
use grid_protocol::name::check_name;
use grid_protocol::ticket::ManagerAddress;
use grid_protocol::wall::Wall;

pub use crate::child_process::{COMPILE, EXECUTOR};
use crate::command::metrics_args::{MetricsArgs, MetricsError};
use crate::compile::{Compiler, run_child};
use crate::sandbox::{Limits, Policy, run_executor};
use crate::{Host, HostConfig, HostEnded, HostError, HostNeeds, HostProgress, log, terminated};

/// Joins this machine to a grid: takes signed WebAssembly workers from a manager and runs them in a sandbox.
#[derive(Debug, Parser)]
#[command(name = "grid-host", version, max_term_width = 100)]
struct HostArgs {
    /// The manager: a ticket (`grid ticket new` prints one), KEY@HOST:PORT, or HOST:PORT.
    ///
    /// With a ticket the host is in at once. With KEY@HOST:PORT or HOST:PORT it waits until somebody types
    /// `grid host approve`; a bare HOST:PORT is trusted on first use, as ssh does it.
    #[arg(long, env = "GRID_MANAGER", value_name = "TICKET|ADDR", hide_env_values = true)]
    manager: ManagerAddress,

    /// What people call this host.
    #[arg(long, env = "GRID_HOST_NAME", default_value_t = machine_name(), value_parser = name)]
    name: String,

    /// Workers to run at once [default: one for each processor].
    #[arg(long, env = "GRID_SLOTS")]
    slots: Option<u32>,

    /// Memory to set aside for workers, such as 4GiB [default: 256MiB for each slot].
    #[arg(long, env = "GRID_MEMORY", value_name = "SIZE")]
    memory: Option<ByteSize>,

    /// A label that placements may ask for; may be given again.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<Label>,

    /// Run modules of this publisher and of no other, whatever the manager says; may be given again.
    #[arg(long = "trust-publisher", value_name = "KEY")]
    pins: Vec<PublicKey>,

    /// Where this host keeps its key and its modules.
    #[arg(long, env = "GRID_HOST_STATE", default_value_os_t = state_folder(), value_name = "DIR")]
    state: PathBuf,

    /// Keep compiled modules here, for all hosts and programs of this user that name the folder [default: with the
    /// modules, for this host alone].
    #[arg(long, env = "GRID_COMPILED", value_name = "DIR")]
    compiled: Option<PathBuf>,

    /// Most memory of one worker.
    #[arg(long, env = "GRID_WORKER_MEMORY", default_value = "256MiB", value_name = "SIZE")]
    worker_memory: ByteSize,

    /// Most time on a processor for one call into a worker, in seconds.
    #[arg(long, env = "GRID_CALL_SECONDS", default_value_t = 3600.0, value_name = "SECONDS")]
    call_seconds: f64,
    /// What stands around the code of guests besides the sandbox itself.
    #[arg(long, env = "GRID_WALLS", value_enum, default_value_t = WallsWanted::Full, value_name = "WHICH")]
    walls: WallsWanted,

    /// Run no components, only core modules and WASI commands. Workers in Python and JavaScript are components.
    #[arg(long)]
    no_components: bool,

    /// Most time on a processor for everything that a worker does before its first message, in seconds.
    #[arg(long, env = "GRID_START_SECONDS", default_value_t = 10.0, value_name = "SECONDS")]
    start_seconds: f64,

    #[command(flatten)]
    metrics: MetricsArgs,
}

/// The walls that an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WallsWanted {
    /// Guests run in locked-down processes of their own.
    Full,
    /// Guests run in the host's own process: only if you trust their publishers as you trust this program. A message
    /// takes a few microseconds less; tasks are compiled with checks for preemption, and a short inner loop may take five
    /// times as long.
    None,
}

/// Acts as a child process of a host if the first argument says so; returns its exit code. To be called before anything
/// else: such a process must not even read its environment.
pub fn child() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if first == COMPILE {
        return Some(run_child().into());
    }
    (first == EXECUTOR).then(|| run_executor().into())
}

/// Exit codes, the same as those of `grid`.
mod exit {
    pub(super) const FAILED: u8 = 1;
    pub(super) const USAGE: u8 = 2;
    pub(super) const NOT_ALLOWED: u8 = 4;
}

/// The program `grid-host`: reads its arguments, joins the grid, and serves until it is drained or must not connect
/// again.
///
/// The exit code is one of those that `grid --help` lists.
pub fn main() -> ExitCode {
    if let Some(ended) = child() {
        return ended;
    }
    let matches = without_empty(HostArgs::command()).get_matches();
    let arguments = HostArgs::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    log::to_stderr();
    let (manager, metrics) = (arguments.manager.clone(), arguments.metrics.clone());
    let host = match config(arguments).and_then(|config| Host::new(config).map_err(Problem::Host)) {
        Ok(host) => host,
        Err(problem) => return problem.tell(),
    };
    if let Err(error) = serve_metrics(metrics, &host) {
        return Problem::Metrics(error).tell();
    }
    // The network runs on this thread; guests have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Problem::System(error.to_string()).tell(),
    };
    match run_as_task(&runtime, async move { serve(&host, manager).await }) {
        Ok(ended) => tell_end(&ended),
        Err(error) => Problem::Host(error).tell(),
    }
}

/// Serves the metrics, if they are to be served.
fn serve_metrics(arguments: MetricsArgs, host: &Host) -> Result<(), MetricsError> {
    if let Some(bound) = arguments.bind()? {
        let address = bound.serve(host.monitor())?;
        say(&format!("metrics are at http://{address}/metrics"));
    }
    Ok(())
}

async fn serve(host: &Host, manager: ManagerAddress) -> Result<HostEnded, HostError> {
    let name = host.key().fingerprint();
    say(&format!("host {name} offers {} slots", host.slots()));
    let drain = host.drain();
    let stop = async {
        terminated().await;
        say("draining: no new workers; those that run may finish (again to stop at once)");
        drain.begin();
        terminated().await;
    };
    tokio::select! {
        ended = host.serve(manager, tell_progress) => ended,
        () = stop => Ok(HostEnded::Drained),
    }
}

fn tell_progress(progress: HostProgress) {
    match progress {
        HostProgress::FirstUse { key, address } => say(&format!(
            "the manager at {address} is new here; its key is {} and is remembered",
            key.fingerprint()
        )),
        HostProgress::Waiting { reason } => say(&format!("waiting for the manager: {reason}")),
        HostProgress::Pending => {
            say("waiting for approval; on the manager, type: grid host ls, then grid host approve NAME")
        }
        HostProgress::Joined { resumed, other_version } => {
            say(if resumed { "joined again; workers went on" } else { "joined" });
            if let Some(version) = other_version {
                let own = env!("CARGO_PKG_VERSION");
                say(&format!(
                    "the manager has version {version}, this host {own}; update the older one when you can"
                ));
            }
        }
        HostProgress::Lost { reason } => say(&format!("connection lost, workers go on: {reason}")),
    }
}

fn tell_end(ended: &HostEnded) -> ExitCode {
    let help = match ended {
        HostEnded::Drained => {
            say("done");
            return ExitCode::SUCCESS;
        }
        HostEnded::Refused(JoinRefusal::Malformed { .. }) => {
            "give what it complains of anew: --name, --label or --slots"
        }
        HostEnded::Refused(JoinRefusal::Version { .. }) => "upgrade the older of the two programs",
        HostEnded::Refused(_) => "ask for a new ticket: `grid ticket new` on the manager",
        HostEnded::Revoked => "a revoked key stays out; with another --state this machine has another key",
        HostEnded::Replaced => "give each host on one machine a --state of its own",
        HostEnded::WrongKey(error) => return wrong_key(error),
        HostEnded::Stranger(error) => return stranger(error),
        HostEnded::ManagerGone(_) => "",
    };
    fail(&ended.to_string(), None, help);
    exit::NOT_ALLOWED.into()
}

fn wrong_key(error: &dyn std::error::Error) -> ExitCode {
    fail(&error.to_string(), None, "use a ticket of this manager, or check the address");
    exit::NOT_ALLOWED.into()
}

fn stranger(error: &KnownManagersError) -> ExitCode {
    let help = match error {
        KnownManagersError::Changed { address, file, .. } => format!(
            "if the manager was set up anew, remove the line of {address} from {}; if not, somebody stands in its place",
            file.display()
        ),
        _ => String::new(),
    };
    fail(&error.to_string(), None, &help);
    exit::NOT_ALLOWED.into()
}

/// Why the host cannot start.
enum Problem {
    Usage(String),
    Host(HostError),
    Metrics(MetricsError),
    System(String),
}

impl Problem {
    fn tell(self) -> ExitCode {
        match self {
            Self::Usage(what) => {
                fail(&what, None, "`grid-host --help` explains the flags");
                exit::USAGE.into()
            }
            Self::Host(error) => {
                let help = match &error {
                    HostError::Lock(LockError::InUse { .. }) => {
                        "end that process, or give this host a folder of its own: grid-host --state DIR"
                    }
                    _ => "",
                };
                fail("this host cannot begin", Some(&error.to_string()), help);
                exit::FAILED.into()
            }
            Self::Metrics(error @ MetricsError::Public(_)) => {
                fail(
                    &error.to_string(),
                    None,
                    "use a loopback address such as 127.0.0.1:4749, or say --metrics-public if that is meant",
                );
                exit::USAGE.into()
            }
            Self::Metrics(error) => {
                let help = match &error {
                    MetricsError::Bind(_) => "choose another address with --metrics, or leave it out",
                    _ => "",
                };
                fail("this host cannot begin", Some(&error.to_string()), help);
                exit::FAILED.into()
            }
            Self::System(error) => {
                fail("this host cannot begin", Some(&error), "");
                exit::FAILED.into()
            }
        }
    }
}

fn config(arguments: HostArgs) -> Result<HostConfig, Problem> {
    let slots = arguments.slots.unwrap_or_else(|| HostNeeds::usual().slots);
    if slots == 0 {
        return Err(Problem::Usage(
            "a host without slots runs nothing: --slots must be at least 1".to_owned(),
        ));
    }
    let call = seconds("--call-seconds", arguments.call_seconds)?;
    let start = seconds("--start-seconds", arguments.start_seconds)?;
    let memory = usize::try_from(arguments.worker_memory.as_u64()).unwrap_or(usize::MAX);
    if memory > WORKER_MEMORY_MAX {
        return Err(Problem::Usage("--worker-memory: a module addresses 4GiB at most".to_owned()));
    }
    let limits = Limits { memory_bytes: memory, call, start, ..Limits::default() };
    let compiler = Compiler::child(COMPILE).map_err(|error| Problem::System(error.to_string()))?;
    let executor = match arguments.walls {
        WallsWanted::Full => {
            Some(std::env::current_exe().map_err(|error| Problem::System(error.to_string()))?)
        }
        WallsWanted::None => None,
    };
    Ok(HostConfig {
        name: arguments.name,
        slots,
        memory_bytes: arguments.memory.map_or(HostNeeds::of(slots).memory_bytes, |memory| memory.as_u64()),
        labels: arguments.labels,
        pins: arguments.pins,
        shared_compiled: arguments.compiled,
        policy: Policy { limits, components: !arguments.no_components, ..Policy::default() },
        compiler,
        executor,
        ..HostConfig::new(arguments.state)
    })
}

fn seconds(flag: &str, seconds: f64) -> Result<Duration, Problem> {
    Duration::try_from_secs_f64(seconds).map_err(|error| Problem::Usage(format!("{flag}: {error}")))
}

const WORKER_MEMORY_MAX: usize = 4 << 30;

fn label(text: &str) -> Result<Label, String> {
    let (name, value) = text.split_once('=').ok_or("a label looks like NAME=VALUE")?;
    check_name(name).map_err(|error| error.to_string())?;
    if name.starts_with(Wall::LABEL_PREFIX) {
        return Err(format!("labels that begin with `{}` are the host's own", Wall::LABEL_PREFIX));
    }
    Ok(Label { name: name.to_owned(), value: value.to_owned() })
}

/// Checks a name that a person gave on the command line, for `grid` and `grid-host`.
///
/// # Errors
///
/// What is wrong with the name. The caller adds the flag that it was given to.
pub fn name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// Makes a command treat empty environment variables, which shell scripts often set, as not set; for `grid` and
/// `grid-host`.
pub fn without_empty(command: clap::Command) -> clap::Command {
    let is_empty = |name: &std::ffi::OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(None::<&str>),
            _ => argument,
        })
        .mut_subcommands(without_empty)
}

fn machine_name() -> String {
    let system = rustix::system::uname();
    name(&system.nodename().to_string_lossy()).unwrap_or_else(|_| "host".to_owned())
}

fn state_folder() -> PathBuf {
    grid_disk::home().join("host")
}

fn say(what: &str) {
    log::say(&format!("grid-host: {what}"));
}

fn fail(what: &str, cause: Option<&str>, help: &str) {
    log::say(&format!("error: {what}"));
    if let Some(cause) = cause {
        log::say(&format!("cause: {cause}"));
    }
    if !help.is_empty() {
        log::say(&format!("help: {help}"));
    }
}
