//! The tables of the store.

use redb::TableDefinition;

/// A table of the store, named after what its records are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Counters, by name.
    Counter,
    /// Roles and revocation of each key.
    Key,
    /// Tickets, by id.
    Ticket,
    /// The capacity that each host last offered, by key.
    Host,
    /// Signed manifests, by digest of the module.
    Module,
    /// The highest serial seen, by publisher and name.
    Serial,
    /// Deployments, by id.
    Deployment,
    /// Jobs, by id.
    Job,
    /// Inputs of tasks, by job and the task's number.
    Task,
    /// Outcomes, by job and the outcome's number.
    Outcome,
    /// Leases, by attempt.
    Lease,
    /// Failed attempts, by job, the task's number and the failure's number.
    Failure,
    /// Tasks that are over, by job and the task's number.
    Over,
    /// Blobs that each job refers to, by job and digest.
    Payload,
    /// The same references, by digest and job.
    Referrer,
    /// Tokens, by public half.
    Token,
    /// Who did what, by number.
    Audit,
    /// What jobs are a part of, by id.
    Trace,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 18] = [
        Self::Counter,
        Self::Key,
        Self::Ticket,
        Self::Host,
        Self::Module,
        Self::Serial,
        Self::Deployment,
        Self::Job,
        Self::Task,
        Self::Outcome,
        Self::Lease,
        Self::Failure,
        Self::Over,
        Self::Payload,
        Self::Referrer,
        Self::Token,
        Self::Audit,
        Self::Trace,
    ];

    /// The table's name in the file, and the types of its keys and values.
    pub(super) fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            Self::Counter => "counter",
            Self::Key => "key",
            Self::Ticket => "ticket",
            Self::Host => "host",
            Self::Module => "module",
            Self::Serial => "serial",
            Self::Deployment => "order",
            Self::Job => "job",
            Self::Task => "task",
            Self::Outcome => "outcome",
            Self::Lease => "lease",
            Self::Failure => "failure",
            Self::Over => "over",
            Self::Payload => "payload",
            Self::Referrer => "referrer",
            Self::Token => "token",
            Self::Audit => "audit",
            Self::Trace => "trace",
        })
    }
}
