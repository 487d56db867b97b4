//! Where a run's tasks are done: on a grid elsewhere, or on one in this process.

use std::ops::Deref;

use wasm_grid::{Client, Manager};

use crate::command::fault::Fault;
use crate::command::output::Output;
use crate::command::{Address, Common};

/// Where a run's tasks are done.
pub(crate) enum Place {
    /// In this process.
    Here(Box<Manager>),
    /// Wherever the manager has hosts.
    There(Box<Client>),
}

impl Place {
    /// A grid in this process that does so many tasks at once.
    pub(crate) fn here(common: &Common, slots: u32) -> Result<Self, Fault> {
        let manager = Manager::builder().home(&common.home).local_slots(slots).start();
        manager
            .map(|manager| Self::Here(Box::new(manager)))
            .map_err(|error| Fault::failed("no local grid can be started", error))
    }

    /// The grid of a manager elsewhere.
    pub(crate) fn there(client: Client) -> Self {
        Self::There(Box::new(client))
    }

    /// The manager that was named, or that runs on this machine; if there is none, all cores of this machine.
    pub(crate) fn find(common: &Common, output: &Output) -> Result<Self, Fault> {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
        let why = match common.known()? {
            Address::Named(address) => return common.client_of(address).map(Self::there),
            Address::Running(address) => match common.client_of(address) {
                // It was killed, and its file is still there.
                Err(fault) if fault.is_unreachable() => "the manager of this machine does not answer",
                found => return found.map(Self::there),
            },
            Address::None => "no manager is known here",
        };
        output.say(&format!("{why}: the tasks are done in this process, {cores} at once (--local {cores})"));
        Self::here(common, u32::try_from(cores).unwrap_or(1))
    }
}

impl Deref for Place {
    type Target = Client;

    fn deref(&self) -> &Client {
        match self {
            Self::Here(manager) => manager,
            Self::There(client) => client,
        }
    }
}
