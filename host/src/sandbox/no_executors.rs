//! Where there are no executors: on other systems than Linux, a host keeps guests in its own process.

use std::path::PathBuf;
use std::sync::Arc;

use grid_inspect::EntryPoint;
use grid_protocol::digest::Digest;
use grid_protocol::wall::Wall;

use crate::child_process::{is_to_tell_walls, tell_walls};
use crate::lockdown::{LandlockWall, NamespaceWall, Walls};
use crate::sandbox::command::Terms;
use crate::sandbox::engine::CodeForm;
use crate::sandbox::simulated::GuestHandle;
use crate::sandbox::{Compiled, GuestKind, GuestStart, Policy, SandboxError, TrustDomain};

pub(super) use self::{NoExecutorCode as ExecutorCode, NoExecutors as Executors};

/// There is none.
#[derive(Debug)]
pub(super) enum NoExecutorCode {}

/// There are none.
#[derive(Debug)]
pub(super) enum NoExecutors {}

impl NoExecutors {
    pub(super) fn new(_: Policy, _: usize, _: PathBuf) -> Result<Arc<Self>, SandboxError> {
        Err(SandboxError::Setup("there are no executor processes on this system".to_owned()))
    }

    pub(super) fn policy(&self) -> &Policy {
        match *self {}
    }

    pub(super) fn form(&self, _: GuestKind) -> CodeForm {
        match *self {}
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        match *self {}
    }

    pub(super) fn warm_up(&self, _: &[Wall]) {
        match *self {}
    }

    pub(super) fn load(
        &self,
        _: Digest,
        _: GuestKind,
        _: &Compiled,
        _: EntryPoint,
    ) -> Result<Arc<NoExecutorCode>, SandboxError> {
        match *self {}
    }

    pub(super) fn start(
        &self,
        _: &NoExecutorCode,
        _: &Terms,
        _: TrustDomain,
        _: GuestStart,
    ) -> Result<Arc<dyn GuestHandle>, SandboxError> {
        match *self {}
    }
}

/// Runs no executor; tells, if that is asked, that there are no walls. Returns the exit code.
pub fn run_child() -> u8 {
    let (landlock, namespaces) = (LandlockWall::Missing, NamespaceWall::Missing);
    if is_to_tell_walls() { tell_walls(Walls { filters_calls: false, landlock, namespaces }) } else { 1 }
}
