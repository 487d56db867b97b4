//! Programs: modules that are ready to run.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::digest::Digest;
use grid_protocol::manifest::Manifest;

use crate::sandbox::command::Terms;
use crate::sandbox::executor::ExecutorCode;
use crate::sandbox::in_process::LoadedProgram;

/// A module that is ready to run.
#[derive(Clone)]
pub struct Program {
    pub(super) kind: ProgramKind,
    pub(super) terms: Terms,
}

#[derive(Clone)]
pub(super) enum ProgramKind {
    /// Loaded into this process.
    Loaded(LoadedProgram),
    /// To be loaded by executor processes.
    Code(Arc<ExecutorCode>),
    /// In a simulation: no code.
    Simulated(Digest),
}

impl Program {
    pub(super) fn new(kind: ProgramKind) -> Self {
        Self { kind, terms: Terms::default() }
    }

    /// The program with the name and the access to files that its manifest states.
    #[must_use]
    pub fn published(self, manifest: &Manifest) -> Self {
        Self { terms: Terms::of(manifest), ..self }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// Compiled code that is trusted, so that it may be loaded.
#[derive(Clone)]
pub struct Compiled(Bytes);

impl Compiled {
    /// Declares compiled code trusted.
    ///
    /// # Safety
    ///
    /// The bytes must be what this version's compiler wrote, unchanged: running anything else is undefined behaviour.
    pub unsafe fn vouch(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The compiled code.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }
}
