//! Requests: what a client may ask, and the answers.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_net::{RecvStream, SendStream};
use grid_protocol::client::{
    Denial, DenialCode, DeploymentInfo, HostInfo, HostState, Place, Reply, Request, SpawnRequest, Status,
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

use crate::greeting::DoorError;
use crate::hub::Hub;
use crate::job_requests;
use crate::message_requests;
use crate::payloads;
use crate::registry::{Brought, RegistryError, UploadError};
use crate::state;
use crate::transfer_slots::time_for;
use crate::trust::Ban;

/// Reads one request from a stream of its own and answers it.
pub(crate) async fn serve(
    hub: Arc<Hub>,
    asker: PublicKey,
    mut send: SendStream,
    mut recv: RecvStream,
) -> Result<(), DoorError> {
    let body = recv.read_frame(CONTROL_FRAME_BYTES_MAX).await?;
    let reply = match Request::from_body(&body) {
        Ok(Request::ModuleUpload { manifest, length }) => {
            receive_module(&hub, asker, manifest, length, &mut recv).await?
        }
        Ok(Request::PayloadKeep { job, payload }) => {
            receive_payload(&hub, asker, job, payload, &mut recv).await?
        }
        Ok(Request::MessageSend { worker, length }) => {
            message_requests::receive(&hub, asker, worker, length, &mut recv).await?
        }
        Ok(Request::PayloadFetch { job, payload }) => {
            return send_payload(&hub, asker, job, payload, send).await;
        }
        Ok(request) => handle(&hub, asker, request, None).await,
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
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    payload: BlobRef,
    recv: &mut RecvStream,
) -> Result<Reply, DoorError> {
    // Nothing is taken into memory for a stranger to the job.
    if let Err(denial) = job_requests::check_owner(hub, asker, job) {
        return Ok(Reply::Denied(denial));
    }
    let length = match payloads::bounded(&payload) {
        Ok(length) => length,
        Err(error) => return Ok(Reply::Denied(deny(DenialCode::BadRequest, "payload", error, "send less"))),
    };
    // Held until the bytes are on disk.
    let _slot = hub.payloads.slots.take(asker).await;
    let Ok(bytes) = timeout(time_for(length), recv.read_body(length)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(length));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "payload", why, "bring it again")));
    };
    let bytes = bytes?;
    Ok(job_requests::keep(hub, asker, job, payload, bytes).await.unwrap_or_else(Reply::Denied))
}

async fn send_payload(
    hub: &Arc<Hub>,
    asker: PublicKey,
    job: JobId,
    payload: BlobRef,
    mut send: SendStream,
) -> Result<(), DoorError> {
    let _slot = hub.payloads.slots.take(asker).await;
    match job_requests::fetch(hub, asker, job, payload).await {
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
    hub: &Arc<Hub>,
    asker: PublicKey,
    manifest: Vec<u8>,
    length: u64,
    recv: &mut RecvStream,
) -> Result<Reply, DoorError> {
    // Whoever may not publish shall not fill our memory first.
    if !roles(hub, asker).has(Role::Publisher) {
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
    let _slot = hub.payloads.slots.take(asker).await;
    let Ok(wasm) = timeout(time_for(bounded), recv.read_body(bounded)).await else {
        let why = format!("its bytes did not come within {:?}", time_for(bounded));
        return Ok(Reply::Denied(deny(DenialCode::BadRequest, "module", why, "upload it again")));
    };
    let wasm = wasm?;
    Ok(handle(hub, asker, Request::ModuleUpload { manifest, length }, Some(wasm)).await)
}

/// Answers a request of `asker`; `module` comes with an upload.
pub(crate) async fn handle(
    hub: &Arc<Hub>,
    asker: PublicKey,
    request: Request,
    module: Option<Bytes>,
) -> Reply {
    match answer(hub, asker, request, module).await {
        Ok(reply) => reply,
        Err(denial) => Reply::Denied(denial),
    }
}

async fn answer(
    hub: &Arc<Hub>,
    asker: PublicKey,
    request: Request,
    module: Option<Bytes>,
) -> Result<Reply, Denial> {
    if let Some((what, role)) = role_needed(&request)
        && !roles(hub, asker).has(role)
    {
        return Err(not_allowed(what, asker, role));
    }
    match request {
        Request::Status => Ok(Reply::Status(status(hub))),
        Request::TicketNew { role, ttl_s } => new_ticket(hub, role, ttl_s).await,
        Request::TicketList => Ok(Reply::Tickets(hub.registry_now().tickets(hub.unix_now()))),
        Request::TicketRemove { id } => {
            let removed = hub.registry(move |registry| registry.remove_ticket(&id)).await.map_err(fault)?;
            found(removed, "ticket", "`grid ticket ls` lists them")
        }
        Request::HostList => Ok(Reply::Hosts(hosts(hub))),
        Request::HostApprove { host } => approve(hub, host).await,
        Request::HostDrain { host } => drain(hub, host),
        Request::HostRemove { host } | Request::KeyRevoke { key: host } => revoke(hub, host).await,
        Request::ModuleUpload { manifest, .. } => {
            upload(hub, asker, manifest, module.unwrap_or_default()).await
        }
        Request::ModuleList => {
            let registry = hub.registry_now();
            Ok(Reply::Modules(registry.modules().map(|module| module.info(true)).collect()))
        }
        Request::ModuleSerial { publisher, name } => {
            Ok(Reply::Serial { seen: hub.registry_now().serial(publisher, &name) })
        }
        Request::ModuleRemove { module } => remove_module(hub, asker, module).await,
        Request::Spawn(request) => spawn(hub, asker, request).await,
        Request::WorkerList { everyones, ended } => {
            let mut workers = hub.state().workers(ended);
            workers.retain(|worker| everyones || worker.owner == asker);
            Ok(Reply::Workers(workers))
        }
        Request::WorkerStop { workers, grace_ms } => stop(hub, asker, &workers, grace_ms),
        Request::WorkerLogs { worker } => logs(hub, asker, worker),
        Request::WorkerPing { worker } => ping(hub, asker, worker).await,
        Request::DeploymentList => {
            let workers = hub.state().workers(false);
            // Arguments may be secrets: an order is its owner's, and of whoever runs the grid.
            let all = roles(hub, asker).has(Role::Admin);
            let mut deployments: Vec<_> = hub.registry_now().deployments().values().cloned().collect();
            deployments.retain(|deployment| all || deployment.owner == asker);
            for deployment in &mut deployments {
                let count = workers.iter().filter(|worker| worker.deployment == Some(deployment.id)).count();
                deployment.workers = u32::try_from(count).unwrap_or(u32::MAX);
            }
            Ok(Reply::Deployments(deployments))
        }
        Request::DeploymentRemove { deployment } => remove_deployment(hub, asker, deployment).await,
        Request::KeyList => Ok(Reply::Keys(hub.registry_now().keys().cloned().collect())),
        Request::KeyTrust { key, role } => trust(hub, key, role).await,
        Request::PayloadKeep { job, payload } => {
            job_requests::keep(hub, asker, job, payload, module.unwrap_or_default()).await
        }
        Request::MessageSend { worker, .. } => {
            message_requests::send(hub, asker, worker, module.unwrap_or_default()).await
        }
        other if other.is_about_jobs() => job_requests::answer(hub, asker, other).await,
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

pub(crate) fn roles(hub: &Hub, asker: PublicKey) -> Roles {
    if asker == hub.key {
        // The program that the manager is part of.
        return Role::ALL.into_iter().fold(Roles::NONE, Roles::with);
    }
    hub.registry_now().roles(&asker)
}

fn status(hub: &Hub) -> Status {
    let state = hub.state();
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let hosts = state.scheduler.hosts();
    let here = state.seats.values().filter(|seat| seat.conn.is_some()).count();
    let (slots, workers) =
        (hosts.values().map(|host| host.capacity.slots).sum(), state.scheduler.workers().len());
    let (hosts, pending) = (count(here), count(state.pending.len()));
    let store_trouble = state.foreman.trouble().map(str::to_owned);
    drop(state);
    let registry = hub.registry_now();
    Status {
        manager: hub.key,
        software: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: u64::try_from(hub.now().since(grid_protocol::time::Moment::ZERO).as_millis())
            .unwrap_or(u64::MAX),
        hosts,
        pending_hosts: pending,
        slots,
        workers: count(workers),
        modules: count(registry.modules().len()),
        deployments: count(registry.deployments().len()),
        store_trouble,
    }
}

async fn new_ticket(hub: &Arc<Hub>, role: Role, ttl_s: u64) -> Result<Reply, Denial> {
    let addresses = hub.addresses.clone();
    if addresses.is_empty() {
        let why = "this manager listens nowhere";
        return Err(deny(DenialCode::Conflict, "ticket", why, "start it with an address to listen on"));
    }
    let now = hub.unix_now();
    let made = hub.registry(move |registry| registry.make_ticket(role, addresses, now, ttl_s)).await;
    made.map(|ticket| Reply::Ticket { text: ticket.to_string() }).map_err(fault)
}

/// The hosts that the state knows, and those that were here once and still have the role.
fn hosts(hub: &Hub) -> Vec<HostInfo> {
    let mut hosts = hub.state().hosts();
    let registry = hub.registry_now();
    for (key, capacity) in registry.hosts() {
        if registry.roles(key).has(Role::Host) && !hosts.iter().any(|host| host.key == *key) {
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

async fn approve(hub: &Arc<Hub>, host: PublicKey) -> Result<Reply, Denial> {
    if !hub.state().pending.contains_key(&host) {
        let why = format!("no host with the key {host} waits for approval");
        return Err(deny(DenialCode::NotFound, "host", why, "`grid host ls` lists those that wait"));
    }
    hub.registry(move |registry| registry.grant(host, Role::Host)).await.map_err(fault)?;
    if let Some(waiting) = hub.state().pending.get(&host) {
        waiting.decided.notify_one();
    }
    Ok(Reply::Done)
}

fn drain(hub: &Hub, host: PublicKey) -> Result<Reply, Denial> {
    let known = hub.change(|state, _| {
        let known = state.scheduler.hosts().contains_key(&host);
        state.scheduler.handle_host_draining(host);
        state.foreman.jobs.handle_window(host, 0);
        state.command(host, &HostCommand::Drain);
        known
    });
    found(known, "host", "`grid host ls` lists them")
}

async fn revoke(hub: &Arc<Hub>, key: PublicKey) -> Result<Reply, Denial> {
    if key == hub.key {
        return Err(deny(DenialCode::Conflict, "key", "it is the manager's own", ""));
    }
    let known = hub
        .registry(move |registry| {
            let known = registry.keys().any(|info| info.key == key) || registry.hosts().contains_key(&key);
            registry.revoke(key)?;
            Ok::<_, RegistryError>(known)
        })
        .await
        .map_err(fault)?;
    if known { Ok(Reply::Done) } else { found(false, "key", "it is revoked all the same, and stays out") }
}

async fn trust(hub: &Arc<Hub>, key: PublicKey, role: Role) -> Result<Reply, Denial> {
    hub.registry(move |registry| registry.grant(key, role)).await.map_err(fault)?;
    hub.change(|state, _| {
        if let Some(waiting) = state.pending.get(&key).filter(|_| role == Role::Host) {
            waiting.decided.notify_one();
        }
    });
    Ok(Reply::Done)
}

async fn upload(hub: &Arc<Hub>, asker: PublicKey, manifest: Vec<u8>, wasm: Bytes) -> Result<Reply, Denial> {
    let now = hub.unix_now();
    let replaces = roles(hub, asker).has(Role::Admin);
    let added = match read_module(hub, manifest, wasm, now).await {
        Ok(brought) => hub.registry(move |registry| registry.add_module(brought, now, replaces)).await,
        Err(error) => Err(error),
    };
    added.map(Reply::Module).map_err(|error| match error {
        UploadError::Registry(error) => fault(error),
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

/// Reads a module, and holds the registry for no longer than it takes to look into it.
async fn read_module(
    hub: &Arc<Hub>,
    manifest: Vec<u8>,
    wasm: Bytes,
    now: u64,
) -> Result<Brought, UploadError> {
    let expected = hub.registry_now().expect_module(manifest, now)?;
    hub.off_thread(move || expected.read(&wasm)).await?
}

async fn remove_module(
    hub: &Arc<Hub>,
    asker: PublicKey,
    module: grid_protocol::digest::Digest,
) -> Result<Reply, Denial> {
    let publisher = hub.registry_now().module(&module).map(|module| module.publisher);
    if let Some(publisher) = publisher.filter(|publisher| *publisher != asker)
        && !roles(hub, asker).has(Role::Admin)
    {
        let why = format!("{publisher} published it");
        let help = "its publisher can remove it, or an admin: `grid module rm NAME`";
        return Err(deny(DenialCode::NotAllowed, "remove a module of another publisher", why, help));
    }
    let in_use = {
        let state = hub.state();
        state.scheduler.workers().values().any(|worker| worker.spec.module == module)
            || state.foreman.needs(&module)
    };
    let ordered =
        hub.registry_now().deployments().values().any(|deployment| deployment.request.module == module);
    if in_use || ordered {
        let why = "workers, jobs or deployments use it";
        return Err(deny(
            DenialCode::Conflict,
            "module",
            why,
            "stop them first: `grid worker stop --module NAME`; an admin stops everybody's with `--everyone`",
        ));
    }
    let removed = hub.registry(move |registry| registry.remove_module(&module)).await.map_err(fault)?;
    found(removed, "module", "`grid module ls` lists them")
}

async fn spawn(hub: &Arc<Hub>, asker: PublicKey, request: SpawnRequest) -> Result<Reply, Denial> {
    check_spawn(&request)?;
    if hub.registry_now().module(&request.module).is_none() {
        let why = format!("the manager has no module {}", request.module);
        return Err(deny(DenialCode::NotFound, "module", why, "upload it first: `grid module upload FILE`"));
    }
    if let Some(ban) = hub.state().banned.on(&asker, &request.module) {
        return Err(banned(ban));
    }
    let spec = state::spec(asker, &request);
    let session = SessionId(hub.settings.machine.random().map_err(|error| fault(error.into()))?);
    let owner = spec.owner;
    if request.place == Place::EverySlot {
        let info = DeploymentInfo { id: DeploymentId(0), request, owner: asker, workers: 0 };
        let kept = info.clone();
        let id = hub.registry(move |registry| registry.add_deployment(kept)).await.map_err(fault)?;
        let deployment = state::standing(&DeploymentInfo { id, ..info });
        let placed = hub.change(|state, now| {
            // Its publisher may have been revoked since.
            if let Some(ban) = state.banned.on(&owner.key, &deployment.spec.module) {
                return Err(ban);
            }
            state.mailroom.open_desk_elsewhere(owner, session, now);
            Ok(state.scheduler.add_deployment(deployment))
        });
        return match placed {
            Ok(workers) => Ok(Reply::Spawned { workers, deployment: Some(id) }),
            Err(ban) => {
                hub.registry(move |registry| registry.remove_deployment(id)).await.map_err(fault)?;
                Err(banned(ban))
            }
        };
    }
    let placed = hub.change(|state, now| {
        if let Some(ban) = state.banned.on(&owner.key, &spec.module) {
            return Err(ban);
        }
        state.mailroom.open_desk_elsewhere(owner, session, now);
        Ok(state.scheduler.spawn(spec, &request.place))
    });
    let placed = placed.map_err(banned)?;
    placed.map(|workers| Reply::Spawned { workers, deployment: None }).map_err(|no_room| {
        let help = "`grid host ls` shows slots, memory and labels; join another machine with the line of `grid ticket new`";
        deny(DenialCode::NoCapacity, "workers", no_room, help)
    })
}

fn check_spawn(request: &SpawnRequest) -> Result<(), Denial> {
    let asked = match &request.place {
        Place::On(hosts) => u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        Place::Anywhere { count } => *count,
        Place::EverySlot => 1,
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

fn stop(hub: &Hub, asker: PublicKey, workers: &[WorkerId], grace_ms: u32) -> Result<Reply, Denial> {
    for worker in workers {
        check_owner(hub, asker, *worker)?;
    }
    hub.change(|state, _| state.scheduler.stop(workers, grace_ms));
    Ok(Reply::Done)
}

fn logs(hub: &Hub, asker: PublicKey, worker: WorkerId) -> Result<Reply, Denial> {
    check_owner(hub, asker, worker)?;
    let log = hub.state().log(worker);
    Ok(Reply::Logs { lines: log.lines.into(), dropped: log.dropped })
}

/// A host that says nothing for so long has no answer.
const PING_TIME_MAX: Duration = Duration::from_secs(5);

async fn ping(hub: &Hub, asker: PublicKey, worker: WorkerId) -> Result<Reply, Denial> {
    check_owner(hub, asker, worker)?;
    let (answer, answered) = oneshot::channel();
    hub.change(|state, _| {
        let Some(host) = state.scheduler.workers().get(&worker).map(|worker| worker.host) else {
            return;
        };
        let nonce = state.next_nonce();
        if let Some(seat) = state.seats.get_mut(&host) {
            seat.pings.insert(nonce, answer);
        }
        state.command(host, &HostCommand::Ping { worker, nonce });
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
    hub: &Arc<Hub>,
    asker: PublicKey,
    deployment: DeploymentId,
) -> Result<Reply, Denial> {
    let owner = hub.registry_now().deployments().get(&deployment).map(|deployment| deployment.owner);
    match owner {
        None => {
            return found(false, "deployment", "`grid worker ls` shows the deployment of each worker");
        }
        Some(owner) if owner != asker && !roles(hub, asker).has(Role::Admin) => {
            return Err(not_allowed("end somebody else's deployment", asker, Role::Admin));
        }
        Some(_) => {}
    }
    hub.registry(move |registry| registry.remove_deployment(deployment)).await.map_err(fault)?;
    hub.change(|state, _| state.scheduler.remove_deployment(deployment, STOP_GRACE_MS));
    Ok(Reply::Done)
}

/// How long the workers of a removed deployment may finish.
const STOP_GRACE_MS: u32 = 10_000;

pub(crate) fn check_owner(hub: &Hub, asker: PublicKey, worker: WorkerId) -> Result<(), Denial> {
    let info = hub.state().find_worker(worker);
    match info {
        Some(info) if info.owner == asker || roles(hub, asker).has(Role::Admin) => Ok(()),
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

pub(crate) fn fault(error: RegistryError) -> Denial {
    let code = match error {
        RegistryError::Full { .. } => DenialCode::NoCapacity,
        _ => DenialCode::ManagerFault,
    };
    deny(code, "the manager", error, "see the manager's log; look at its disk")
}

pub(crate) fn deny(code: DenialCode, what: &str, why: impl std::fmt::Display, help: &str) -> Denial {
    Denial { code, what: what.to_owned(), why: why.to_string(), help: help.to_owned() }
}
