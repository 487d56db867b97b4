//! Where a run's tasks are done: on a grid elsewhere, or on one in this process.

use std::ops::Deref;

use wasm_grid::{Client, Manager};

use crate::command::cli_error::CliError;
use crate::command::output::Output;
use crate::command::{Address, Common};

/// Where a run's tasks are done.
pub(crate) enum RunTarget {
    /// In this process.
    Here(Box<Manager>),
    /// Wherever the manager has hosts.
    There(Box<Client>),
}

impl RunTarget {
    /// A grid in this process that does so many tasks at once.
    pub(crate) fn here(common: &Common, slots: u32) -> Result<Self, CliError> {
        let manager = Manager::builder().home(&common.home).local_slots(slots).start();
        manager
            .map(|manager| Self::Here(Box::new(manager)))
            .map_err(|error| CliError::failed("no local grid can be started", error))
    }

    /// The grid of a manager elsewhere.
    pub(crate) fn there(client: Client) -> Self {
        Self::There(Box::new(client))
    }

    /// Does `work`, and meanwhile starts a grid in this process, if it is to have slots.
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

    /// The manager that was named, or that runs on this machine; if there is none, all cores of this machine.
    pub(crate) fn find(common: &Common, output: &Output) -> Result<Self, CliError> {
        let why = match common.known()? {
            Address::Named(address) => return common.client_of(address).map(Self::there),
            Address::Running(address) => match common.client_of(address) {
                // It was killed, and its file is still there.
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

/// Why tasks are done here, most often.
pub(crate) const NO_MANAGER: &str = "no manager is known here";

/// Tasks that this machine does at once.
pub(crate) fn cores() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// Says that tasks are done here, so many at once.
pub(crate) fn say_why(output: &Output, why: &str, cores: u32) {
    output.say(&format!("{why}: the tasks are done in this process, {cores} at once (--local {cores})"));
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
