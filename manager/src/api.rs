//! Requests of clients, and the replies.

mod access;
pub(crate) mod denials;
pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod messages;
mod modules;
mod workers;

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request};
use grid_protocol::key::PublicKey;
use grid_protocol::role::{Role, Roles};

pub(crate) use workers::check_owner;

use crate::api::denials::{deny, fault, found, not_allowed};
use crate::context::Context;

/// Answers a request of `asker`; `module` is the body that came with an upload, a blob or a message.
pub(crate) async fn handle(
    context: &Arc<Context>,
    asker: PublicKey,
    request: Request,
    module: Option<Bytes>,
) -> Reply {
    match answer(context, asker, request, module).await {
        Ok(reply) => reply,
        Err(denial) => Reply::Denied(denial),
    }
}

async fn answer(
    context: &Arc<Context>,
    asker: PublicKey,
    request: Request,
    module: Option<Bytes>,
) -> Result<Reply, Denial> {
    if let Some((what, role)) = role_needed(&request)
        && !roles(context, asker).has(role)
    {
        return Err(not_allowed(what, asker, role));
    }
    match request {
        Request::Status => Ok(Reply::Status(access::status(context))),
        Request::TicketNew { role, ttl_s } => access::new_ticket(context, role, ttl_s).await,
        Request::TicketList => Ok(Reply::Tickets(context.catalog_now().tickets(context.unix_now()))),
        Request::TicketRemove { id } => {
            let removed = context.catalog(move |catalog| catalog.remove_ticket(&id)).await.map_err(fault)?;
            found(removed, "ticket", "`grid ticket ls` lists them")
        }
        Request::HostList => Ok(Reply::Hosts(access::hosts(context))),
        Request::HostApprove { host } => access::approve(context, host).await,
        Request::HostDrain { host } => access::drain(context, host),
        Request::HostRemove { host } | Request::KeyRevoke { key: host } => {
            access::revoke(context, host).await
        }
        Request::ModuleUpload { manifest, .. } => {
            modules::upload(context, asker, manifest, module.unwrap_or_default()).await
        }
        Request::ModuleList => {
            let catalog = context.catalog_now();
            Ok(Reply::Modules(catalog.modules().map(|module| module.info(true)).collect()))
        }
        Request::ModuleSerial { publisher, name } => {
            Ok(Reply::Serial { seen: context.catalog_now().serial(publisher, &name) })
        }
        Request::ModuleRemove { module } => modules::remove_module(context, asker, module).await,
        Request::Spawn(request) => workers::spawn(context, asker, request).await,
        Request::WorkerList { everyones, ended } => {
            let mut workers = context.cluster().workers(ended);
            workers.retain(|worker| everyones || worker.owner == asker);
            Ok(Reply::Workers(workers))
        }
        Request::WorkerStop { workers, grace_ms } => workers::stop(context, asker, &workers, grace_ms),
        Request::WorkerLogs { worker } => workers::logs(context, asker, worker),
        Request::WorkerPing { worker } => workers::ping(context, asker, worker).await,
        Request::DeploymentList => {
            let workers = context.cluster().workers(false);
            // Arguments may be secrets: only the owner and admins see a deployment.
            let all = roles(context, asker).has(Role::Admin);
            let mut deployments: Vec<_> = context.catalog_now().deployments().values().cloned().collect();
            deployments.retain(|deployment| all || deployment.owner == asker);
            for deployment in &mut deployments {
                let count = workers.iter().filter(|worker| worker.deployment == Some(deployment.id)).count();
                deployment.workers = u32::try_from(count).unwrap_or(u32::MAX);
            }
            Ok(Reply::Deployments(deployments))
        }
        Request::DeploymentRemove { deployment } => {
            workers::remove_deployment(context, asker, deployment).await
        }
        Request::KeyList => Ok(Reply::Keys(context.catalog_now().keys().cloned().collect())),
        Request::KeyTrust { key, role } => access::trust(context, key, role).await,
        Request::PayloadKeep { job, payload } => {
            jobs::keep(context, asker, job, payload, module.unwrap_or_default()).await
        }
        Request::MessageSend { worker, .. } => {
            messages::send(context, asker, worker, module.unwrap_or_default()).await
        }
        other if other.is_about_jobs() => jobs::answer(context, asker, other).await,
        other => Err(deny(
            DenialCode::BadRequest,
            "request",
            format!("this manager does not know {other:?}"),
            "upgrade it",
        )),
    }
}

/// The role that a request needs beyond that of a client, and what for; `None` if any client may make it.
fn role_needed(request: &Request) -> Option<(&'static str, Role)> {
    match request {
        Request::TicketNew { .. } | Request::TicketList | Request::TicketRemove { .. } => {
            Some(("handle tickets", Role::Admin))
        }
        Request::HostApprove { .. } | Request::HostDrain { .. } | Request::HostRemove { .. } => {
            Some(("change hosts", Role::Admin))
        }
        Request::KeyList | Request::KeyTrust { .. } | Request::KeyRevoke { .. } => {
            Some(("handle keys", Role::Admin))
        }
        Request::JobList { everyones: true } => Some(("see everybody's jobs", Role::Admin)),
        Request::WorkerList { everyones: true, .. } => Some(("see everybody's workers", Role::Admin)),
        Request::ModuleUpload { .. } | Request::ModuleRemove { .. } => {
            Some(("change modules", Role::Publisher))
        }
        _ => None,
    }
}

pub(crate) fn roles(context: &Context, asker: PublicKey) -> Roles {
    if asker == context.key {
        // The program that embeds the manager.
        return Role::ALL.into_iter().fold(Roles::NONE, Roles::with);
    }
    context.catalog_now().roles(&asker)
}
