//! Access and status: tickets, hosts, keys, and an overview of the grid.

use std::sync::Arc;

use grid_protocol::activity::GridEvent;
use grid_protocol::client::{Denial, DenialCode, HostInfo, HostState, Reply, Status};
use grid_protocol::host::HostCommand;
use grid_protocol::key::PublicKey;
use grid_protocol::role::Role;
use grid_protocol::time::{Moment, millis};

use crate::api::denials::{deny, fault, found};
use crate::catalog::CatalogError;
use crate::context::Context;
use grid_scheduler::HostChange;

pub(super) fn status(context: &Context) -> Status {
    let cluster = context.cluster();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let hosts = cluster.scheduler.hosts();
    let here = cluster.sessions.values().filter(|session| session.conn.is_some()).count();
    let (slots, workers) =
        (hosts.values().map(|host| host.capacity.slots).sum(), cluster.scheduler.workers().len());
    let (hosts, pending) = (count(here), count(cluster.pending.len()));
    let store_trouble = cluster.coordinator.trouble().map(str::to_owned);
    drop(cluster);
    let catalog = context.catalog_now();
    Status {
        manager: context.key,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: millis(context.now().since(Moment::ZERO)),
        hosts,
        pending_hosts: pending,
        slots,
        workers: count(workers),
        modules: count(catalog.modules().len()),
        deployments: count(catalog.deployments().len()),
        store_trouble,
    }
}

pub(super) async fn new_ticket(context: &Arc<Context>, role: Role, ttl_s: u64) -> Result<Reply, Denial> {
    let addresses = context.addresses.clone();
    if addresses.is_empty() {
        let why = "this manager listens nowhere";
        return Err(deny(DenialCode::Conflict, "ticket", why, "start it with an address to listen on"));
    }
    let now = context.unix_now();
    let made = context.catalog(move |catalog| catalog.make_ticket(role, addresses, now, ttl_s)).await;
    made.map(|ticket| Reply::Ticket { text: ticket.to_string() }).map_err(fault)
}

/// The hosts in the cluster, and those that were let in before and still have the role.
pub(super) fn hosts(context: &Context) -> Vec<HostInfo> {
    let mut hosts = context.cluster().hosts();
    let catalog = context.catalog_now();
    for (key, capacity) in catalog.hosts() {
        if catalog.roles(key).has(Role::Host) && !hosts.iter().any(|host| host.key == *key) {
            hosts.push(HostInfo {
                key: *key,
                state: HostState::Gone,
                capacity: capacity.clone(),
                address: String::new(),
                workers: 0,
                module_bytes_sent: 0,
                compilations: 0,
                compile_us: 0,
            });
        }
    }
    hosts.sort_by(|a, b| (&a.capacity.name, a.key).cmp(&(&b.capacity.name, b.key)));
    hosts
}

pub(super) async fn approve(context: &Arc<Context>, host: PublicKey) -> Result<Reply, Denial> {
    if !context.cluster().pending.contains_key(&host) {
        let why = format!("no host with the key {host} waits for approval");
        return Err(deny(DenialCode::NotFound, "host", why, "`grid host ls` lists those that wait"));
    }
    context.catalog(move |catalog| catalog.grant(host, Role::Host)).await.map_err(fault)?;
    if let Some(waiting) = context.cluster().pending.get(&host) {
        waiting.decided.notify_one();
    }
    Ok(Reply::Done)
}

pub(super) fn drain(context: &Context, host: PublicKey) -> Result<Reply, Denial> {
    let known = context.change(|cluster, now| {
        let known = cluster.scheduler.hosts().contains_key(&host);
        cluster.handle_host(now, host, HostChange::Draining);
        cluster.command(host, &HostCommand::Drain);
        known
    });
    found(known, "host", "`grid host ls` lists them")
}

pub(super) async fn revoke(context: &Arc<Context>, key: PublicKey) -> Result<Reply, Denial> {
    if key == context.key {
        return Err(deny(DenialCode::Conflict, "key", "it is the manager's own", ""));
    }
    let known = context
        .catalog(move |catalog| {
            let known = catalog.keys().any(|info| info.key == key) || catalog.hosts().contains_key(&key);
            catalog.revoke(key)?;
            Ok::<_, CatalogError>(known)
        })
        .await
        .map_err(fault)?;
    context.activity.note(GridEvent::Revoked { key });
    if known { Ok(Reply::Done) } else { found(false, "key", "it is revoked all the same, and stays out") }
}

pub(super) async fn trust(context: &Arc<Context>, key: PublicKey, role: Role) -> Result<Reply, Denial> {
    context.catalog(move |catalog| catalog.grant(key, role)).await.map_err(fault)?;
    context.activity.note(GridEvent::Granted { key, role });
    context.change(|cluster, _| {
        if let Some(waiting) = cluster.pending.get(&key).filter(|_| role == Role::Host) {
            waiting.decided.notify_one();
        }
    });
    Ok(Reply::Done)
}
