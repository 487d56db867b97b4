//! Requests of clients, and the replies.

mod access;
pub(crate) mod activity;
pub(crate) mod denials;
pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod messages;
mod modules;
mod rights;
mod tokens;
mod workers;

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::client::{Denial, DenialCode, Reply, Request};
use grid_protocol::role::Role;

pub(crate) use workers::check_owner;

use crate::api::denials::{deny, fault, found};
use crate::asker::Asker;
use crate::context::Context;

/// Answers a request of `asker`; `module` is the body that came with an upload, a blob or a message.
pub(crate) async fn handle(
    context: &Arc<Context>,
    asker: Asker,
    request: Request,
    module: Option<Bytes>,
) -> Reply {
    context.activity.metrics.requests.inc();
    let deed = rights::deed(context, asker, &request);
    let answered = answer(context, asker, request, module).await;
    let denial = answered.as_ref().err();
    if let Some(denial) = denial {
        context.activity.metrics.denied(denial.code);
    }
    if let Some(mut deed) = deed {
        deed.refused = denial.map(|denial| denial.why.clone());
        context.audit.record(deed);
    }
    answered.unwrap_or_else(Reply::Denied)
}

async fn answer(
    context: &Arc<Context>,
    asker: Asker,
    request: Request,
    module: Option<Bytes>,
) -> Result<Reply, Denial> {
    let roles = asker.roles(context);
    rights::check(asker, roles, &request)?;
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
            workers.retain(|worker| everyones || worker.owner == asker.key);
            Ok(Reply::Workers(workers))
        }
        Request::WorkerStop { workers, grace_ms } => workers::stop(context, asker, &workers, grace_ms),
        Request::WorkerLogs { worker } => workers::logs(context, asker, worker),
        Request::WorkerPing { worker } => workers::ping(context, asker, worker).await,
        Request::DeploymentList => {
            let workers = context.cluster().workers(false);
            // Arguments may be secrets: only the owner and admins see them.
            let (all, secrets) = (roles.sees_all(), roles.has(Role::Admin));
            let mut deployments: Vec<_> = context.catalog_now().deployments().values().cloned().collect();
            deployments.retain(|deployment| all || deployment.owner == asker.key);
            for deployment in &mut deployments {
                let count = workers.iter().filter(|worker| worker.deployment == Some(deployment.id)).count();
                deployment.workers = u32::try_from(count).unwrap_or(u32::MAX);
                if !secrets && deployment.owner != asker.key {
                    deployment.request.arguments.clear();
                }
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
        Request::Overview => Ok(Reply::Overview(activity::overview(context))),
        Request::Feed { after, most, wait_ms } => {
            Ok(activity::feed(context, asker, roles, after, most, wait_ms).await)
        }
        Request::TaskSamples { after, most } => Ok(activity::samples(context, asker, roles, after, most)),
        Request::JobSummary { job } => activity::job_summary(context, asker, job),
        Request::TaskShow { job, task } => activity::task(context, asker, job, task).await,
        Request::HostLoads => Ok(activity::host_loads(context)),
        Request::ModuleSpread => Ok(activity::module_spread(context)),
        Request::HostShow { host } => activity::host(context, asker, roles, host),
        Request::AuditList { before, most } => activity::audit(context, before, most).await,
        Request::PageLink => tokens::page_link(context, asker),
        Request::TokenNew { token, role, ttl_s, name } => {
            tokens::new_token(context, asker, roles, token, role, ttl_s, name).await
        }
        Request::TokenList => {
            let catalog = context.catalog_now();
            let tokens = catalog.tokens(context.unix_now());
            let seen = tokens.filter(|token| roles.has(Role::Admin) || token.owner == asker.key);
            Ok(Reply::Tokens(seen.cloned().collect()))
        }
        Request::TokenRemove { token } => tokens::remove_token(context, asker, roles, token).await,
        other if other.is_about_jobs() => jobs::answer(context, asker, other).await,
        other => Err(deny(
            DenialCode::BadRequest,
            "request",
            format!("this manager does not know {other:?}"),
            "upgrade it",
        )),
    }
}
