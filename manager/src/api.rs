//! Requests: what a client may ask, and the answers.

pub(crate) mod explain;
pub(crate) mod jobs;
pub(crate) mod messages;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{RecvStream, SendStream};
use grid_protocol::client::{
    Denial, DenialCode, DeploymentInfo, HostInfo, HostState, Placement, Reply, Request, SpawnRequest, Status,
};
use grid_protocol::host::{HostCommand, WorkerStatus};
use grid_protocol::id::{DeploymentId, SessionId, WorkerId};
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::key::PublicKey;
use grid_protocol::limits::{
    ARGUMENTS_BYTES_MAX, CONTROL_FRAME_BYTES_MAX, LABELS_MAX, MODULE_BYTES_MAX, SPAWN_COUNT_MAX,
};
use grid_protocol::role::{Role, Roles};
use grid_protocol::wire::Wire;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::blobs::store;
use crate::blobs::transfer_slots::time_for;
use crate::catalog::trust::Ban;
use crate::catalog::{CatalogError, UploadError, VerifiedUpload};
use crate::cluster;
use crate::context::Context;
use crate::session::handshake::SessionError;

/// Reads one request from a stream of its own and answers it.
pub(crate) async fn serve(
    context: Arc<Context>,
    asker: PublicKey,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), SessionError> {
    let body = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
    let reply = match Request::from_body(&body) {
        Ok(Request::ModuleUpload { manifest, length }) => {
            receive_module(&context, asker, manifest, length, &mut recv).await?
        }
        Ok(Request::PayloadKeep { job, payload }) => {
            receive_payload(&context, asker, job, payload, &mut recv).await?
        }
        Ok(Request::MessageSend { worker, length }) => {
            messages::receive(&context, asker, worker, length, &mut recv).await?
        }
        Ok(Request::PayloadFetch { job, payload }) => {
            return send_payload(&context, asker, job, payload, send).await;
        }
        Ok(request) => handle(&context, asker, request, None).await,
        Err(error) => {
            Reply::Denied(deny(DenialCode::BadRequest, "request", error, "upgrade the older program"))
        }
    };
    let mut body = reply.to_body();
    if body.len() > CONTROL_FRAME_BYTES_MAX {
        let why = format!("it has {} bytes; {CONTROL_FRAME_BYTES_MAX} is the limit", body.len());
        body = Reply::Denied(deny(DenialCode::NoCapacity, "the answer is too long", why, "")).to_body();
    }
    send.write_frame(&body, CONTROL_FRAME_BYTES_MAX).await?;
    send.finish().await;
    Ok(())
}

async fn receive_payload(
    context: &Arc<Context>,
    asker: PublicKey,
    job: JobId,
    payload: BlobRef,
    recv: &mut RecvStream,
) -> Result<Reply, SessionError> {
    // Nothing is taken into memory for a stranger to the job.
    if let Err(denial) = jobs::check_owner(context, asker, job) {
        return Ok(Reply::Denied(denial));
    }
    let length = match store::bounded(&payload) {
        Ok(length) => length,
        Err(error) => return Ok(Reply::Denied(deny(DenialCode::BadRequest, "payload", error, "send less"))),
    };
    // Held until the bytes are on disk.
    let _slot = context.payloads.slots.take(asker).await;
    let Ok(bytes) = timeout(time_for(length), recv.read_body(length)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(length));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "payload", why, "bring it again")));
    };
    let bytes = bytes?;
    Ok(jobs::keep(context, asker, job, payload, bytes).await.unwrap_or_else(Reply::Denied))
}

async fn send_payload(
    context: &Arc<Context>,
    asker: PublicKey,
    job: JobId,
    payload: BlobRef,
    mut send: SendStream,
) -> Result<(), SessionError> {
    let _slot = context.payloads.slots.take(asker).await;
    match jobs::fetch(context, asker, job, payload).await {
        Ok(bytes) => {
            let reply = Reply::Payload { length: bytes.len() as u64 };
            let length = bytes.len();
            let write = async {
                send.write_frame(&reply.to_body(), CONTROL_FRAME_BYTES_MAX).await?;
                send.write_chunk(bytes).await
            };
            // A client that reads nothing has its stream reset when this ends.
            let Ok(written) = timeout(time_for(length), write).await else { return Ok(()) };
            written?;
        }
        Err(denial) => {
            send.write_frame(&Reply::Denied(denial).to_body(), CONTROL_FRAME_BYTES_MAX).await?;
        }
    }
    send.finish().await;
    Ok(())
}

async fn receive_module(
    context: &Arc<Context>,
    asker: PublicKey,
    manifest: Vec<u8>,
    length: u64,
    recv: &mut RecvStream,
) -> Result<Reply, SessionError> {
    // Whoever may not publish shall not fill our memory first.
    if !roles(context, asker).has(Role::Publisher) {
        return Ok(Reply::Denied(not_allowed("upload a module", asker, Role::Publisher)));
    }
    let max = MODULE_BYTES_MAX;
    let bounded = usize::try_from(length).ok().filter(|length| *length <= max);
    let Some(bounded) = bounded else {
        let why = format!("it has {length} bytes and the limit is {max}");
        return Ok(Reply::Denied(deny(
            DenialCode::ModuleRejected,
            "module",
            why,
            "make it smaller; strip debug information",
        )));
    };
    // Held until the module is on disk.
    let _slot = context.payloads.slots.take(asker).await;
    let Ok(wasm) = timeout(time_for(bounded), recv.read_body(bounded)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(bounded));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "module", why, "upload it again")));
    };
    let wasm = wasm?;
    Ok(handle(context, asker, Request::ModuleUpload { manifest, length }, Some(wasm)).await)
}

/// Answers a request of `asker`; `module` comes with an upload.
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
        Request::Status => Ok(Reply::Status(status(context))),
        Request::TicketNew { role, ttl_s } => new_ticket(context, role, ttl_s).await,
        Request::TicketList => Ok(Reply::Tickets(context.catalog_now().tickets(context.unix_now()))),
        Request::TicketRemove { id } => {
            let removed = context.catalog(move |catalog| catalog.remove_ticket(&id)).await.map_err(fault)?;
            found(removed, "ticket", "`grid ticket ls` lists them")
        }
        Request::HostList => Ok(Reply::Hosts(hosts(context))),
        Request::HostApprove { host } => approve(context, host).await,
        Request::HostDrain { host } => drain(context, host),
        Request::HostRemove { host } | Request::KeyRevoke { key: host } => revoke(context, host).await,
        Request::ModuleUpload { manifest, .. } => {
            upload(context, asker, manifest, module.unwrap_or_default()).await
        }
        Request::ModuleList => {
            let catalog = context.catalog_now();
            Ok(Reply::Modules(catalog.modules().map(|module| module.info(true)).collect()))
        }
        Request::ModuleSerial { publisher, name } => {
            Ok(Reply::Serial { seen: context.catalog_now().serial(publisher, &name) })
        }
        Request::ModuleRemove { module } => remove_module(context, asker, module).await,
        Request::Spawn(request) => spawn(context, asker, request).await,
        Request::WorkerList { everyones, ended } => {
            let mut workers = context.cluster().workers(ended);
            workers.retain(|worker| everyones || worker.owner == asker);
            Ok(Reply::Workers(workers))
        }
        Request::WorkerStop { workers, grace_ms } => stop(context, asker, &workers, grace_ms),
        Request::WorkerLogs { worker } => logs(context, asker, worker),
        Request::WorkerPing { worker } => ping(context, asker, worker).await,
        Request::DeploymentList => {
            let workers = context.cluster().workers(false);
            // Arguments may be secrets: an order is its owner's, and of whoever runs the grid.
            let all = roles(context, asker).has(Role::Admin);
            let mut deployments: Vec<_> = context.catalog_now().deployments().values().cloned().collect();
            deployments.retain(|deployment| all || deployment.owner == asker);
            for deployment in &mut deployments {
                let count = workers.iter().filter(|worker| worker.deployment == Some(deployment.id)).count();
                deployment.workers = u32::try_from(count).unwrap_or(u32::MAX);
            }
            Ok(Reply::Deployments(deployments))
        }
        Request::DeploymentRemove { deployment } => remove_deployment(context, asker, deployment).await,
        Request::KeyList => Ok(Reply::Keys(context.catalog_now().keys().cloned().collect())),
        Request::KeyTrust { key, role } => trust(context, key, role).await,
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

/// What most requests ask of a client is no more than to be one.
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
        // The program that the manager is part of.
        return Role::ALL.into_iter().fold(Roles::NONE, Roles::with);
    }
    context.catalog_now().roles(&asker)
}

fn status(context: &Context) -> Status {
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
        uptime_ms: u64::try_from(context.now().since(grid_protocol::time::Moment::ZERO).as_millis())
            .unwrap_or(u64::MAX),
        hosts,
        pending_hosts: pending,
        slots,
        workers: count(workers),
        modules: count(catalog.modules().len()),
        deployments: count(catalog.deployments().len()),
        store_trouble,
    }
}

async fn new_ticket(context: &Arc<Context>, role: Role, ttl_s: u64) -> Result<Reply, Denial> {
    let addresses = context.addresses.clone();
    if addresses.is_empty() {
        let why = "this manager listens nowhere";
        return Err(deny(DenialCode::Conflict, "ticket", why, "start it with an address to listen on"));
    }
    let now = context.unix_now();
    let made = context.catalog(move |catalog| catalog.make_ticket(role, addresses, now, ttl_s)).await;
    made.map(|ticket| Reply::Ticket { text: ticket.to_string() }).map_err(fault)
}

/// The hosts that the cluster knows, and those that were here once and still have the role.
fn hosts(context: &Context) -> Vec<HostInfo> {
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

async fn approve(context: &Arc<Context>, host: PublicKey) -> Result<Reply, Denial> {
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

fn drain(context: &Context, host: PublicKey) -> Result<Reply, Denial> {
    let known = context.change(|cluster, _| {
        let known = cluster.scheduler.hosts().contains_key(&host);
        cluster.scheduler.handle_host_draining(host);
        cluster.coordinator.jobs.handle_window(host, 0);
        cluster.command(host, &HostCommand::Drain);
        known
    });
    found(known, "host", "`grid host ls` lists them")
}

async fn revoke(context: &Arc<Context>, key: PublicKey) -> Result<Reply, Denial> {
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
    if known { Ok(Reply::Done) } else { found(false, "key", "it is revoked all the same, and stays out") }
}

async fn trust(context: &Arc<Context>, key: PublicKey, role: Role) -> Result<Reply, Denial> {
    context.catalog(move |catalog| catalog.grant(key, role)).await.map_err(fault)?;
    context.change(|cluster, _| {
        if let Some(waiting) = cluster.pending.get(&key).filter(|_| role == Role::Host) {
            waiting.decided.notify_one();
        }
    });
    Ok(Reply::Done)
}

async fn upload(
    context: &Arc<Context>,
    asker: PublicKey,
    manifest: Vec<u8>,
    wasm: Bytes,
) -> Result<Reply, Denial> {
    let now = context.unix_now();
    let replaces = roles(context, asker).has(Role::Admin);
    let added = match read_module(context, manifest, wasm, now).await {
        Ok(brought) => context.catalog(move |catalog| catalog.add_module(brought, now, replaces)).await,
        Err(error) => Err(error),
    };
    added.map(Reply::Module).map_err(|error| match error {
        UploadError::Catalog(error) => fault(error),
        UploadError::Manifest(refusal) => {
            use grid_protocol::manifest::ManifestRefusal as Refusal;
            let help = match &refusal {
                Refusal::UntrustedPublisher { publisher } => {
                    format!("an admin can type `grid key trust {publisher} --role publisher`")
                }
                Refusal::SerialTooOld { seen, .. } => {
                    format!("sign it with a serial of at least {seen}; `grid module upload` does so by itself, without `--serial`")
                }
                _ => "sign it again".to_owned(),
            };
            deny(DenialCode::ModuleRejected, "module", refusal, &help)
        }
        UploadError::Published { .. } => deny(
            DenialCode::Conflict,
            "module",
            error,
            "use it as it is there, or ask its publisher or an admin to remove it: `grid module rm NAME`",
        ),
        UploadError::Module(refusal) => deny(
            DenialCode::ModuleRejected,
            "module",
            refusal,
            "`grid module check FILE` explains what the grid runs",
        ),
    })
}

/// Reads a module, and holds the catalog for no longer than it takes to look into it.
async fn read_module(
    context: &Arc<Context>,
    manifest: Vec<u8>,
    wasm: Bytes,
    now: u64,
) -> Result<VerifiedUpload, UploadError> {
    let expected = context.catalog_now().expect_module(manifest, now)?;
    context.off_thread(move || expected.read(&wasm)).await?
}

async fn remove_module(
    context: &Arc<Context>,
    asker: PublicKey,
    module: grid_protocol::digest::Digest,
) -> Result<Reply, Denial> {
    let publisher = context.catalog_now().module(&module).map(|module| module.publisher);
    if let Some(publisher) = publisher.filter(|publisher| *publisher != asker)
        && !roles(context, asker).has(Role::Admin)
    {
        let why = format!("{publisher} published it");
        let help = "its publisher can remove it, or an admin: `grid module rm NAME`";
        return Err(deny(DenialCode::NotAllowed, "remove a module of another publisher", why, help));
    }
    let in_use = {
        let cluster = context.cluster();
        cluster.scheduler.workers().values().any(|worker| worker.spec.module == module)
            || cluster.coordinator.needs(&module)
    };
    let ordered =
        context.catalog_now().deployments().values().any(|deployment| deployment.request.module == module);
    if in_use || ordered {
        let why = "workers, jobs or deployments use it";
        return Err(deny(
            DenialCode::Conflict,
            "module",
            why,
            "stop them first: `grid worker stop --module NAME`; an admin stops everybody's with `--everyone`",
        ));
    }
    let removed = context.catalog(move |catalog| catalog.remove_module(&module)).await.map_err(fault)?;
    found(removed, "module", "`grid module ls` lists them")
}

async fn spawn(context: &Arc<Context>, asker: PublicKey, request: SpawnRequest) -> Result<Reply, Denial> {
    check_spawn(&request)?;
    if context.catalog_now().module(&request.module).is_none() {
        let why = format!("the manager has no module {}", request.module);
        return Err(deny(DenialCode::NotFound, "module", why, "upload it first: `grid module upload FILE`"));
    }
    if let Some(ban) = context.cluster().banned.on(&asker, &request.module) {
        return Err(banned(ban));
    }
    let spec = cluster::spec(asker, &request);
    let session = SessionId(context.config.machine.random().map_err(|error| fault(error.into()))?);
    let owner = spec.owner;
    if request.place == Placement::EverySlot {
        let info = DeploymentInfo { id: DeploymentId(0), request, owner: asker, workers: 0 };
        let kept = info.clone();
        let id = context.catalog(move |catalog| catalog.add_deployment(kept)).await.map_err(fault)?;
        let deployment = cluster::standing(&DeploymentInfo { id, ..info });
        let placed = context.change(|cluster, now| {
            // Its publisher may have been revoked since.
            if let Some(ban) = cluster.banned.on(&owner.key, &deployment.spec.module) {
                return Err(ban);
            }
            cluster.router.open_desk_elsewhere(owner, session, now);
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
        cluster.router.open_desk_elsewhere(owner, session, now);
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

fn stop(context: &Context, asker: PublicKey, workers: &[WorkerId], grace_ms: u32) -> Result<Reply, Denial> {
    for worker in workers {
        check_owner(context, asker, *worker)?;
    }
    context.change(|cluster, _| cluster.scheduler.stop(workers, grace_ms));
    Ok(Reply::Done)
}

fn logs(context: &Context, asker: PublicKey, worker: WorkerId) -> Result<Reply, Denial> {
    check_owner(context, asker, worker)?;
    let log = context.cluster().log(worker);
    Ok(Reply::Logs { lines: log.lines.into(), dropped: log.dropped })
}

/// A host that says nothing for so long has no answer.
const PING_TIME_MAX: Duration = Duration::from_secs(5);

async fn ping(context: &Context, asker: PublicKey, worker: WorkerId) -> Result<Reply, Denial> {
    check_owner(context, asker, worker)?;
    let (answer, answered) = oneshot::channel();
    context.change(|cluster, _| {
        let Some(host) = cluster.scheduler.workers().get(&worker).map(|worker| worker.host) else {
            return;
        };
        let nonce = cluster.next_nonce();
        if let Some(session) = cluster.sessions.get_mut(&host) {
            session.pings.insert(nonce, answer);
        }
        cluster.command(host, &HostCommand::Ping { worker, nonce });
    });
    match timeout(PING_TIME_MAX, answered).await {
        Ok(Ok(worker_status)) => Ok(Reply::WorkerStatus(worker_status)),
        Ok(Err(_)) => Ok(Reply::WorkerStatus(WorkerStatus::Absent)),
        Err(_) => {
            let why = format!("its host did not answer within {PING_TIME_MAX:?}");
            Err(deny(DenialCode::Conflict, "worker", why, "`grid host ls` shows whether the host is away"))
        }
    }
}

async fn remove_deployment(
    context: &Arc<Context>,
    asker: PublicKey,
    deployment: DeploymentId,
) -> Result<Reply, Denial> {
    let owner = context.catalog_now().deployments().get(&deployment).map(|deployment| deployment.owner);
    match owner {
        None => {
            return found(false, "deployment", "`grid worker ls` shows the deployment of each worker");
        }
        Some(owner) if owner != asker && !roles(context, asker).has(Role::Admin) => {
            return Err(not_allowed("end somebody else's deployment", asker, Role::Admin));
        }
        Some(_) => {}
    }
    context.catalog(move |catalog| catalog.remove_deployment(deployment)).await.map_err(fault)?;
    context.change(|cluster, _| cluster.scheduler.remove_deployment(deployment, STOP_GRACE_MS));
    Ok(Reply::Done)
}

/// How long the workers of a removed deployment may finish.
const STOP_GRACE_MS: u32 = 10_000;

pub(crate) fn check_owner(context: &Context, asker: PublicKey, worker: WorkerId) -> Result<(), Denial> {
    let info = context.cluster().find_worker(worker);
    match info {
        Some(info) if info.owner == asker || roles(context, asker).has(Role::Admin) => Ok(()),
        // Others' workers are not even admitted to be there.
        _ => found(false, "worker", "`grid worker ls --all` lists those that have ended, too").map(drop),
    }
}

pub(crate) fn found(found: bool, what: &str, help: &str) -> Result<Reply, Denial> {
    if found {
        Ok(Reply::Done)
    } else {
        Err(deny(DenialCode::NotFound, what, "there is none of that name", help))
    }
}

/// What somebody asks for is no longer to run.
pub(crate) fn banned(ban: Ban) -> Denial {
    let help = format!("an admin can type `grid key trust {} --role publisher`", ban.key());
    deny(DenialCode::ModuleRejected, "module", ban, &help)
}

pub(crate) fn not_allowed(what: &str, key: PublicKey, role: Role) -> Denial {
    let why = format!("the key {key} has not the role {role}");
    let help = format!("an admin can type `grid key trust {key} --role {role}`");
    deny(DenialCode::NotAllowed, what, why, &help)
}

pub(crate) fn fault(error: CatalogError) -> Denial {
    let code = match error {
        CatalogError::Full { .. } => DenialCode::NoCapacity,
        _ => DenialCode::ManagerFault,
    };
    deny(code, "the manager", error, "see the manager's log; look at its disk")
}

pub(crate) fn deny(code: DenialCode, what: &str, why: impl std::fmt::Display, help: &str) -> Denial {
    Denial { code, what: what.to_owned(), why: why.to_string(), help: help.to_owned() }
}
