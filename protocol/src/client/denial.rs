//! Denials: why a request was not carried out.

use alloc::string::String;

use crate::codec::{Decode, Encode};

/// The kind of a denial. The command line derives its exit code from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum DenialCode {
    /// The request is malformed, or asks for something outside the limits.
    BadRequest,
    /// The caller's key lacks a role.
    NotAllowed,
    /// What the request names does not exist, or the caller may not see it.
    NotFound,
    /// The manager refuses the module, its manifest or its signature.
    ModuleRejected,
    /// No host has room, or a limit of the manager is reached.
    NoCapacity,
    /// The present state does not allow it.
    Conflict,
    /// The manager itself failed, for example its disk.
    ManagerFault,
}

impl DenialCode {
    /// The kind in a word or two, for scripts.
    pub fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::NotAllowed => "not-allowed",
            Self::NotFound => "not-found",
            Self::ModuleRejected => "module-rejected",
            Self::NoCapacity => "no-capacity",
            Self::Conflict => "conflict",
            Self::ManagerFault => "manager-fault",
        }
    }
}

/// A refusal, with its reason and what the caller can do about it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Denial {
    /// The kind of refusal.
    pub code: DenialCode,
    /// What was not done.
    pub what: String,
    /// The reason.
    pub why: String,
    /// What to do about it; empty if there is nothing to do.
    pub help: String,
}
