//! The grid that runs the tasks: that of a manager over the network, or one in this process.

use std::ops::Deref;

use wasm_grid::{Client, Manager};

use crate::command::cli_error::CliError;
use crate::command::output::Output;
use crate::command::{Address, Common};

/// The grid that runs the tasks.
pub(crate) enum RunTarget {
    /// A grid in this process.
    Here(Box<Manager>),
    /// The grid of a manager over the network.
    There(Box<Client>),
}

impl RunTarget {
    /// Starts a grid in this process that runs `slots` tasks at a time.
    pub(crate) fn here(common: &Common, slots: u32) -> Result<Self, CliError> {
        let failed = |error: &dyn std::fmt::Display| CliError::failed("no local grid can be started", error);
        let program = std::env::current_exe().map_err(|error| failed(&error))?;
        let manager = Manager::builder().home(&common.home).local_slots(slots).local_program(program).start();
        manager.map(|manager| Self::Here(Box::new(manager))).map_err(|error| failed(&error))
    }

    /// The grid of a manager over the network.
    pub(crate) fn there(client: Client) -> Self {
        Self::There(Box::new(client))
    }

    /// The manager of a grid in this process.
    pub(crate) fn manager(&self) -> Option<&Manager> {
        if let Self::Here(manager) = self { Some(manager) } else { None }
    }

    /// Runs `work` and meanwhile starts a grid in this process, if slots are asked for.
    pub(crate) fn here_after<T>(
        common: &Common,
        slots: Option<u32>,
        work: impl FnOnce() -> Result<T, CliError>,
    ) -> Result<(T, Option<Self>), CliError> {
        let Some(slots) = slots else {
            return Ok((work()?, None));
        };
        std::thread::scope(|scope| {
            let starting = scope.spawn(|| Self::here(common, slots));
            let done = work();
            let place = starting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((done?, Some(place?)))
        })
    }

    /// The grid of the manager that was named or runs on this machine; if there is none, one in this process, on all
    /// cores.
    pub(crate) fn find(common: &Common, output: &Output) -> Result<Self, CliError> {
        let why = match common.known()? {
            Address::Named(address) => return common.client_of(address).map(Self::there),
            Address::Running(address) => match common.client_of(address) {
                // That manager was killed, and its file remained.
                Err(fault) if fault.is_unreachable() => "the manager of this machine does not answer",
                found => return found.map(Self::there),
            },
            Address::None => NO_MANAGER,
        };
        let cores = cores();
        say_why(output, why, cores);
        Self::here(common, cores)
    }
}

/// The usual reason why tasks run in this process.
pub(crate) const NO_MANAGER: &str = "no manager is known here";

/// Number of tasks that this machine runs at a time: one per core.
pub(crate) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// Tells the user that tasks run on this machine, and how many at a time.
pub(crate) fn say_why(output: &Output, why: &str, cores: u32) {
    output.say(&format!("{why}: the tasks are done on this machine, {cores} at once (--local {cores})"));
}

impl Deref for RunTarget {
    type Target = Client;

    fn deref(&self) -> &Client {
        match self {
            Self::Here(manager) => manager,
            Self::There(client) => client,
        }
    }
}
