//! Requests about workers and deployments.

use std::sync::Arc;
use std::time::Duration;

use grid_protocol::client::{Denial, DenialCode, DeploymentInfo, Placement, Reply, SpawnRequest};
use grid_protocol::host::{HostCommand, WorkerStatus};
use grid_protocol::id::{DeploymentId, SessionId, WorkerId};
use grid_protocol::limits::{ARGUMENTS_BYTES_MAX, LABELS_MAX, SPAWN_COUNT_MAX};
use grid_protocol::role::Role;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::api::denials::{banned, deny, fault, found, not_allowed};
use crate::asker::Asker;
use crate::cluster::pings::PingPermit;
use crate::cluster::{self, Cluster};
use crate::context::Context;

pub(super) async fn spawn(
    context: &Arc<Context>,
    asker: Asker,
    request: SpawnRequest,
) -> Result<Reply, Denial> {
    check_spawn(&request)?;
    if context.catalog_now().module(&request.module).is_none() {
        let why = format!("the manager has no module {}", request.module);
        return Err(deny(DenialCode::NotFound, "module", why, "upload it first: `grid module upload FILE`"));
    }
    if let Some(ban) = context.cluster().banned.on(&asker.key, &request.module) {
        return Err(banned(ban));
    }
    let spec = cluster::spec(asker.key, &request);
    let session = SessionId(context.config.machine.random().map_err(|error| fault(error.into()))?);
    let owner = spec.owner;
    if request.place == Placement::EverySlot {
        let info = DeploymentInfo { id: DeploymentId(0), request, owner: asker.key, workers: 0 };
        let kept = info.clone();
        let id = context.catalog(move |catalog| catalog.add_deployment(kept)).await.map_err(fault)?;
        let deployment = cluster::standing(&DeploymentInfo { id, ..info });
        let placed = context.change(|cluster, now| {
            // The owner or the publisher may have been revoked meanwhile.
            if let Some(ban) = cluster.banned.on(&owner.key, &deployment.spec.module) {
                return Err(ban);
            }
            cluster.router.open_remote(owner, session, now);
            Ok(cluster.scheduler.add_deployment(deployment))
        });
        return match placed {
            Ok(workers) => Ok(Reply::Spawned { workers, deployment: Some(id) }),
            Err(ban) => {
                context.catalog(move |catalog| catalog.remove_deployment(id)).await.map_err(fault)?;
                Err(banned(ban))
            }
        };
    }
    let placed = context.change(|cluster, now| {
        if let Some(ban) = cluster.banned.on(&owner.key, &spec.module) {
            return Err(ban);
        }
        cluster.router.open_remote(owner, session, now);
        Ok(cluster.scheduler.spawn(spec, &request.place))
    });
    let placed = placed.map_err(banned)?;
    placed.map(|workers| Reply::Spawned { workers, deployment: None }).map_err(|no_room| {
        let help = "`grid host ls` shows slots, memory and labels; join another machine with the line of `grid ticket new`";
        deny(DenialCode::NoCapacity, "workers", no_room, help)
    })
}

fn check_spawn(request: &SpawnRequest) -> Result<(), Denial> {
    let asked = match &request.place {
        Placement::On(hosts) => u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        Placement::Anywhere { count } => *count,
        Placement::EverySlot => 1,
    };
    let why = if asked == 0 || asked > SPAWN_COUNT_MAX {
        format!("{asked} workers were asked for; 1 to {SPAWN_COUNT_MAX} can be")
    } else if request.arguments.len() > ARGUMENTS_BYTES_MAX {
        format!("the arguments have {} bytes; {ARGUMENTS_BYTES_MAX} is the limit", request.arguments.len())
    } else if request.labels.len() > LABELS_MAX {
        format!("{} labels were asked for; {LABELS_MAX} is the limit", request.labels.len())
    } else {
        return Ok(());
    };
    Err(deny(DenialCode::BadRequest, "workers", why, ""))
}

pub(super) fn stop(
    context: &Context,
    asker: Asker,
    workers: &[WorkerId],
    grace_ms: u32,
) -> Result<Reply, Denial> {
    for worker in workers {
        check_owner(context, asker, *worker)?;
    }
    context.change(|cluster, _| cluster.scheduler.stop(workers, grace_ms));
    Ok(Reply::Done)
}

pub(super) fn logs(context: &Context, asker: Asker, worker: WorkerId) -> Result<Reply, Denial> {
    check_seen(context, asker, worker)?;
    let log = context.cluster().log(worker);
    Ok(Reply::Logs { lines: log.lines.into(), dropped: log.dropped })
}

/// Longest wait for a host's answer to a ping, and for room to ask.
const PING_TIME_MAX: Duration = Duration::from_secs(5);

pub(super) async fn ping(context: &Context, asker: Asker, worker: WorkerId) -> Result<Reply, Denial> {
    check_owner(context, asker, worker)?;
    let room = context.cluster().ping_room(worker);
    let asked = async {
        // It is never closed: the only error would be that.
        let permit = room?.acquire_owned().await.ok()?;
        let answered = context.change(|cluster, _| cluster.ping(worker, permit))?;
        answered.await.ok()
    };
    match timeout(PING_TIME_MAX, asked).await {
        Ok(worker_status) => Ok(Reply::WorkerStatus(worker_status.unwrap_or(WorkerStatus::Absent))),
        Err(_) => {
            let why = format!("its host did not answer within {PING_TIME_MAX:?}");
            Err(deny(DenialCode::Conflict, "worker", why, "`grid host ls` shows whether the host is away"))
        }
    }
}

impl Cluster {
    /// Where a permit to ping the host of a worker is to be had; `None` if the worker or the host's session has ended.
    fn ping_room(&self, worker: WorkerId) -> Option<Arc<Semaphore>> {
        let host = self.scheduler.workers().get(&worker)?.host;
        self.sessions.get(&host).map(|session| session.pings.room())
    }

    /// Asks the host of a worker what the worker does; `None` if the worker or the host's session has ended.
    fn ping(&mut self, worker: WorkerId, permit: PingPermit) -> Option<oneshot::Receiver<WorkerStatus>> {
        let host = self.scheduler.workers().get(&worker)?.host;
        let nonce = self.next_nonce();
        let answered = self.sessions.get_mut(&host)?.pings.add(nonce, permit);
        self.command(host, &HostCommand::Ping { worker, nonce });
        Some(answered)
    }
}

pub(super) async fn remove_deployment(
    context: &Arc<Context>,
    asker: Asker,
    deployment: DeploymentId,
) -> Result<Reply, Denial> {
    let owner = context.catalog_now().deployments().get(&deployment).map(|deployment| deployment.owner);
    match owner {
        None => {
            return found(false, "deployment", "`grid worker ls` shows the deployment of each worker");
        }
        Some(owner) if owner != asker.key && !asker.roles(context).has(Role::Admin) => {
            return Err(not_allowed("end somebody else's deployment", asker.key, Role::Admin));
        }
        Some(_) => {}
    }
    context.catalog(move |catalog| catalog.remove_deployment(deployment)).await.map_err(fault)?;
    context.change(|cluster, _| cluster.scheduler.remove_deployment(deployment, STOP_GRACE_MS));
    Ok(Reply::Done)
}

/// Time that the workers of a removed deployment have to finish, in milliseconds.
const STOP_GRACE_MS: u32 = 10_000;

/// As [`check_owner`], for what a viewer may see, too.
fn check_seen(context: &Context, asker: Asker, worker: WorkerId) -> Result<(), Denial> {
    if asker.roles(context).sees_all() && context.cluster().find_worker(worker).is_some() {
        return Ok(());
    }
    check_owner(context, asker, worker)
}

pub(crate) fn check_owner(context: &Context, asker: Asker, worker: WorkerId) -> Result<(), Denial> {
    let info = context.cluster().find_worker(worker);
    match info {
        Some(info) if info.owner == asker.key || asker.roles(context).has(Role::Admin) => Ok(()),
        // Nobody else learns that the worker exists.
        _ => found(false, "worker", "`grid worker ls --all` lists those that have ended, too").map(drop),
    }
}
