//! Fault injection: promises that a simulation breaks on purpose, to see that it would notice.

/// A guarantee to break on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultInjection {
    /// Results are accepted from attempts whose leases have ended.
    NeverFence,
    /// Clients and hosts are told that changes are on disk before they are.
    AcknowledgeEarly,
    /// A message that was not acknowledged when a client's connection broke is sent twice.
    DoubleMessage,
    /// Messages that were under way when a client's connection broke are not sent again.
    LoseTail,
    /// A client resumes any session as if it were the present one.
    ResumeAnything,
}
