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
    /// Blocks of inputs of tasks, by job and the number of the last task.
    Input,
    /// Blocks of outcomes, by job and the number of the last outcome.
    Outcome,
    /// Blocks of leases, by the first attempt.
    Lease,
    /// Failed attempts, by job, the task's number and the failure's number.
    Failure,
    /// How the tasks ended whose outcomes are a block, by the same key.
    End,
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
        Self::Input,
        Self::Outcome,
        Self::Lease,
        Self::Failure,
        Self::End,
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
            Self::Input => "inputs",
            Self::Outcome => "outcomes",
            Self::Lease => "leases",
            Self::Failure => "failure",
            Self::End => "ends",
            Self::Payload => "payload",
            Self::Referrer => "referrer",
            Self::Token => "token",
            Self::Audit => "audit",
            Self::Trace => "trace",
        })
    }
}
