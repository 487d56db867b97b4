//! The command line: parses the arguments, runs the command, prints its result.

mod activity;
mod cli_error;
mod compiled;
mod doctor;
mod host;
mod job;
mod job_trace;
mod key;
mod module;
mod msg;
mod otlp;
mod output;
mod page;
mod required_walls;
mod run;
mod shown;
mod signals;
mod status;
mod ticket;
mod top;
mod ui;
mod up;
mod worker;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use wasm_grid::{Channel, Client, ManagerAddress};

use cli_error::CliError;
use output::Output;

/// A compute grid of WebAssembly workers: signed modules, shipped once, run in a sandbox on every host.
#[derive(Debug, Parser)]
#[command(name = "grid", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub(crate) struct Common {
    /// The manager: a ticket, KEY@HOST:PORT or HOST:PORT [default: `manager` in config.toml, or the one that runs
    /// on this machine].
    #[arg(
        short,
        long,
        global = true,
        env = "GRID_MANAGER",
        value_name = "TICKET|ADDR",
        hide_env_values = true
    )]
    manager: Option<String>,
    /// Where your key and your settings are.
    #[arg(long, global = true, env = "GRID_HOME", value_name = "DIR", default_value_os_t = grid_disk::home(), hide_default_value = true)]
    pub(crate) home: PathBuf,
    /// Print one JSON document, also for errors.
    #[arg(long, global = true)]
    json: bool,
    /// Print ids only, one a line, and nothing to stderr but errors.
    #[arg(short, long, global = true, conflicts_with = "json")]
    quiet: bool,
}

/// The manager's address, and where it is known from.
pub(crate) enum Address {
    /// From the command line, the environment or config.toml.
    Named(ManagerAddress),
    /// From the file of a manager on this machine, which runs or was killed.
    Running(ManagerAddress),
    /// No manager is known.
    None,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a manager on this machine.
    Up(up::UpArgs),
    /// The grid at a glance.
    Status,
    /// Watch the grid: hosts, jobs, workers, modules and events, on the whole terminal.
    Top(top::TopArgs),
    /// Open the manager's page in a browser, logged in with your key.
    Ui(ui::UiArgs),
    /// Show what happened on the grid: hosts, jobs, workers, refusals.
    Events(activity::EventsArgs),
    /// Show who changed what, newest first.
    Audit(activity::AuditArgs),
    /// Check this machine and the way to the manager, and say what mends what stands in the way.
    ///
    /// Changes nothing: no ticket is used up, no key and no folder is made. With --quiet it prints the names of the checks
    /// that fail. Exit code 1 if one fails.
    Doctor,
    /// Tickets: lines of text that let machines and people in.
    #[command(subcommand)]
    Ticket(ticket::TicketSubcommand),
    /// Hosts: the machines that run workers.
    #[command(subcommand)]
    Host(host::HostSubcommand),
    /// Modules: what workers run.
    #[command(subcommand)]
    Module(module::ModuleSubcommand),
    /// Workers: running instances of modules.
    #[command(subcommand)]
    Worker(worker::WorkerSubcommand),
    /// Messages to workers and from them.
    #[command(subcommand)]
    Msg(msg::MsgSubcommand),
    /// Run a list of tasks on a module and print the results.
    Run(run::RunArgs),
    /// Jobs: lists of tasks.
    #[command(subcommand)]
    Job(job::JobSubcommand),
    /// Say in words why a job, a task or a host is as it is.
    Explain(job::Explain),
    /// Keys and what they may do.
    #[command(subcommand)]
    Key(key::KeySubcommand),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
}

/// Parses the arguments, runs the command, and prints its result or its error.
pub(crate) fn run() -> ExitCode {
    if let Some(ended) = grid_host::command::child() {
        return ended;
    }
    let matches = grid_host::command::without_empty(Cli::command()).get_matches();
    let typed = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // A line of the log in the middle of a drawn screen would stay there.
    if !matches!(typed.command, Command::Top(_)) || !std::io::stderr().is_terminal() {
        grid_host::log::to_stderr();
    }
    let output = Output::new(typed.common.json, typed.common.quiet);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output.fail(&CliError::failed("the system gives no runtime", error)),
    };
    let done = runtime.block_on(async {
        tokio::select! {
            biased;
            done = perform(&typed, &output) => done,
            () = interrupted(&typed.command) => Err(CliError::interrupted()),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => output.fail(&fault),
    }
}

/// Waits for Ctrl-C, which ends every command immediately except `up`, `run` and `top`: they handle it themselves.
async fn interrupted(command: &Command) {
    if matches!(command, Command::Up(_) | Command::Run(_) | Command::Top(_))
        || tokio::signal::ctrl_c().await.is_err()
    {
        std::future::pending().await
    }
}

async fn perform(typed: &Cli, output: &Output) -> Result<(), CliError> {
    let common = &typed.common;
    match &typed.command {
        Command::Up(up) => up.run(common, output).await,
        Command::Status => status::run(common, output).await,
        Command::Top(top) => top.run(common, output).await,
        Command::Ui(ui) => ui.run(common, output).await,
        Command::Events(events) => events.run(common, output).await,
        Command::Audit(audit) => audit.run(common, output).await,
        Command::Doctor => doctor::run(common, output).await,
        Command::Ticket(ticket) => ticket.run(common, output).await,
        Command::Host(host) => host.run(common, output).await,
        Command::Module(module) => module.run(common, output).await,
        Command::Worker(worker) => worker.run(common, output).await,
        Command::Msg(msg) => msg.run(common, output).await,
        Command::Run(run) => run.run(common, output).await,
        Command::Job(job) => job.run(common, output).await,
        Command::Explain(explain) => explain.run(common, output).await,
        Command::Key(key) => key.run(common, output).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "grid", &mut script);
            output.raw(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| CliError::failed("the manual page cannot be written", error))?;
            output.raw(&page)
        }
    }
}

impl Common {
    /// A client that makes requests.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        self.client_of(self.address()?)
    }

    /// A client that makes requests to this manager.
    pub(crate) fn client_of(&self, address: ManagerAddress) -> Result<Client, CliError> {
        Ok(self.builder().without_mail().connect_to(address)?)
    }

    /// A client that takes the mail of the command line's workers.
    pub(crate) fn client_with_mail(&self) -> Result<Client, CliError> {
        Ok(self.builder().channel(Channel::COMMAND).connect_to(self.address()?)?)
    }

    fn builder(&self) -> wasm_grid::ClientBuilder {
        Client::builder().home(&self.home)
    }

    fn address(&self) -> Result<ManagerAddress, CliError> {
        match self.known()? {
            Address::Named(address) | Address::Running(address) => Ok(address),
            Address::None => Err(CliError::usage("no manager is known here".to_owned()).help(
                "start one with `grid up`, or name one: `grid --manager TICKET …` or `manager = \"…\"` in config.toml",
            )),
        }
    }

    /// The manager's address: from the flag or its variable, else config.toml, else the manager on this machine.
    pub(crate) fn known(&self) -> Result<Address, CliError> {
        let parse = |text: &str, from: &str| {
            text.parse()
                .map_err(|error| CliError::usage(format!("the address from {from} cannot be read: {error}")))
        };
        if let Some(manager) = &self.manager {
            return parse(manager, "--manager or GRID_MANAGER").map(Address::Named);
        }
        if let Some(manager) = self.configured()? {
            return parse(&manager, "config.toml").map(Address::Named);
        }
        match std::fs::read_to_string(self.running_file()) {
            Ok(running) => parse(&running, "the manager on this machine").map(Address::Running),
            Err(_) => Ok(Address::None),
        }
    }

    fn configured(&self) -> Result<Option<String>, CliError> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Config {
            manager: Option<String>,
        }
        let path = self.home.join("config.toml");
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Ok(None);
        };
        let config: Config = toml::from_str(&text).map_err(|error| {
            CliError::usage(format!("{} cannot be read: {}", path.display(), error.message()))
        })?;
        Ok(config.manager)
    }

    /// The file into which `grid up` writes its address and key.
    pub(crate) fn running_file(&self) -> PathBuf {
        self.home.join("running-manager")
    }
}
