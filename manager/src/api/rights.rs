//! Rights: which role a request needs, and which requests are written into the audit log.

use grid_protocol::client::{Denial, DenialCode, Request};
use grid_protocol::role::{Role, Roles};

use crate::api::denials::{deny, not_allowed};
use crate::asker::{Asker, Via};
use crate::audit::Deed;
use crate::context::Context;

impl Asker {
    /// What it may do. An admin may see what a viewer sees.
    pub(crate) fn roles(self, context: &Context) -> Roles {
        let roles = if self.key == context.key && self.via == Via::Program {
            Roles::ALL
        } else {
            context.catalog_now().roles(&self.key)
        };
        let roles = if roles.has(Role::Admin) { roles.with(Role::Viewer) } else { roles };
        roles.and(self.at_most)
    }
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Any client or viewer may make it; what it shows may depend on who asks.
    See,
    /// A viewer or an admin may make it: it shows what others do.
    SeeAll(&'static str),
    /// A key with this role may make it; what for, in words.
    Role(&'static str, Role),
    /// A client that has shown its key, or the program itself, may make it: not a page or a token.
    Key(&'static str),
}

/// What a request needs. What is not named here is a client's.
fn need(request: &Request) -> Need {
    match request {
        Request::Status
        | Request::Overview
        | Request::Feed { .. }
        | Request::TaskSamples { .. }
        | Request::HostList
        | Request::HostShow { .. }
        | Request::HostLoads
        | Request::ModuleSpread
        | Request::ModuleList
        | Request::ModuleSerial { .. }
        | Request::WorkerList { everyones: false, .. }
        | Request::WorkerLogs { .. }
        | Request::DeploymentList
        | Request::JobShow { .. }
        | Request::JobList { everyones: false }
        | Request::JobSummary { .. }
        | Request::TaskShow { .. }
        | Request::JobTraces { .. }
        | Request::Explain(_)
        | Request::TokenList
        | Request::PageLink => Need::See,
        Request::JobList { everyones: true } => Need::SeeAll("see everybody's jobs"),
        Request::WorkerList { everyones: true, .. } => Need::SeeAll("see everybody's workers"),
        Request::KeyList => Need::SeeAll("see keys"),
        Request::TicketList => Need::SeeAll("see tickets"),
        Request::AuditList { .. } => Need::SeeAll("see the audit log"),
        Request::TicketNew { .. } | Request::TicketRemove { .. } => Need::Role("handle tickets", Role::Admin),
        Request::HostApprove { .. } | Request::HostDrain { .. } | Request::HostRemove { .. } => {
            Need::Role("change hosts", Role::Admin)
        }
        Request::KeyTrust { .. } | Request::KeyRevoke { .. } => Need::Role("handle keys", Role::Admin),
        Request::ModuleUpload { .. } | Request::ModuleRemove { .. } => {
            Need::Role("change modules", Role::Publisher)
        }
        // A token that makes tokens would never expire.
        Request::TokenNew { .. } => Need::Key("make a token"),
        Request::TokenRemove { .. } => Need::See,
        _ => Need::Role("do that", Role::Client),
    }
}

/// Refuses a request that `asker`, who has these roles, may not make.
pub(super) fn check(asker: Asker, roles: Roles, request: &Request) -> Result<(), Denial> {
    match need(request) {
        Need::See if roles.has(Role::Client) || roles.sees_all() => Ok(()),
        Need::See => Err(not_allowed("see the grid", asker.key, Role::Viewer)),
        Need::SeeAll(_) if roles.sees_all() => Ok(()),
        Need::SeeAll(what) => Err(not_allowed(what, asker.key, Role::Admin)),
        Need::Role(_, role) if roles.has(role) => Ok(()),
        Need::Role(what, role) => Err(lacks(asker, what, role)),
        Need::Key(_) if matches!(asker.via, Via::Client | Via::Program) => Ok(()),
        Need::Key(what) => {
            let why = "only a client that shows its key may do that";
            Err(deny(DenialCode::NotAllowed, what, why, "type `grid key token`"))
        }
    }
}

fn lacks(asker: Asker, what: &str, role: Role) -> Denial {
    if asker.at_most.has(role) {
        return not_allowed(what, asker.key, role);
    }
    let why = format!("this token may not do what needs the role {role}");
    let help = format!("make another: `grid key token --role {role}`");
    deny(DenialCode::NotAllowed, what, why, &help)
}

/// What the audit log says of a request; `None` for what changes nothing, or only brings or fetches what a job or a worker
/// works on.
pub(super) fn deed(context: &Context, asker: Asker, request: &Request) -> Option<Deed> {
    let (action, subject) = match request {
        Request::TicketNew { role, ttl_s } => ("ticket new", format!("{role} for {ttl_s} s")),
        Request::TicketRemove { id } => ("ticket rm", hex(id)),
        Request::HostApprove { host } => ("host approve", host.to_string()),
        Request::HostDrain { host } => ("host drain", host.to_string()),
        Request::HostRemove { host } => ("host rm", host.to_string()),
        Request::ModuleUpload { length, .. } => ("module upload", format!("{length} bytes")),
        Request::ModuleRemove { module } => ("module rm", module.to_string()),
        Request::Spawn(spawn) => ("worker spawn", spawn.module.to_string()),
        Request::WorkerStop { workers, .. } => (
            "worker stop",
            match &workers[..] {
                [worker] => worker.to_string(),
                workers => format!("{} workers", workers.len()),
            },
        ),
        Request::DeploymentRemove { deployment } => ("deployment rm", deployment.to_string()),
        Request::KeyTrust { key, role } => ("key trust", format!("{key} as {role}")),
        Request::KeyRevoke { key } => ("key revoke", key.to_string()),
        Request::JobNew { job, spec } | Request::JobNewTraced { job, spec, .. } => {
            ("job new", format!("{job} {}", spec.name))
        }
        Request::JobStop { job } => ("job stop", job.to_string()),
        Request::JobRetry { job } => ("job retry", job.to_string()),
        Request::JobForget { job } => ("job rm", job.to_string()),
        Request::PageLink => ("page link", String::new()),
        Request::TokenNew { token, role, ttl_s, name } => {
            ("token new", format!("{token} {name}: {role} for {ttl_s} s"))
        }
        Request::TokenRemove { token } => ("token rm", token.to_string()),
        _ => return None,
    };
    Some(Deed {
        unix: context.unix_now(),
        key: asker.key,
        via: asker.via.label(),
        action,
        subject,
        refused: None,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use grid_protocol::client::Subject;
    use grid_protocol::job::JobId;
    use grid_protocol::key::SecretKey;

    fn may(role: Role, request: &Request) -> bool {
        let key = SecretKey::from_seed(&[1; 32]).public();
        check(Asker::client(key), Roles::of(role), request).is_ok()
    }

    #[test]
    fn a_viewer_sees_everything_and_changes_nothing() {
        let key = SecretKey::from_seed(&[2; 32]).public();
        let job = JobId([1; 16]);
        let seen = [
            Request::Overview,
            Request::HostList,
            Request::JobList { everyones: true },
            Request::WorkerList { everyones: true, ended: true },
            Request::KeyList,
            Request::AuditList { before: 0, most: 1 },
            Request::Explain(Subject::Job(job)),
        ];
        assert!(seen.iter().all(|request| may(Role::Viewer, request)));
        let changed = [
            Request::HostApprove { host: key },
            Request::HostDrain { host: key },
            Request::JobStop { job },
            Request::JobRetry { job },
            Request::JobForget { job },
            Request::KeyTrust { key, role: Role::Admin },
            Request::TicketNew { role: Role::Host, ttl_s: 1 },
            Request::ModuleUpload { manifest: Vec::new(), length: 0 },
            Request::WorkerStop { workers: Vec::new(), grace_ms: 0 },
            Request::JobResults { job, after: 0, wait_ms: 0 },
        ];
        assert!(!changed.iter().any(|request| may(Role::Viewer, request)));
    }

    #[test]
    fn a_host_that_speaks_as_a_client_sees_nothing() {
        assert!(!may(Role::Host, &Request::Status) && !may(Role::Host, &Request::HostList));
    }

    #[test]
    fn a_token_makes_no_tokens() {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let asker = Asker { via: Via::Token, ..Asker::client(key) };
        let request = Request::TokenNew { token: key, role: Role::Client, ttl_s: 1, name: String::new() };
        assert!(check(asker, Roles::ALL, &request).is_err());
    }
}
