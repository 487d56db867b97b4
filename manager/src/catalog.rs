//! The catalog: what the manager knows for good. Keys, roles, tickets, modules, deployments.
//!
//! Every change is durable before it takes effect, so that a manager that comes back after a power loss has
//! everything that it ever said yes to. All of it waits for the disk: call it from a blocking thread.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grid_disk::{DiskError, KeyFileError, random, use_folder};
use grid_protocol::client::{DeploymentInfo, KeyInfo, ModuleInfo, TicketInfo};
use grid_protocol::digest::Digest;
use grid_protocol::host::{HostCapacity, JoinRefusal};
use grid_protocol::id::DeploymentId;
use grid_protocol::key::{PublicKey, SecretKey};
use grid_protocol::manifest::{FilesAsked, Manifest, ManifestRefusal, SignedManifest, Trust};
use grid_protocol::record::ModuleRecord;
use grid_protocol::role::{Role, Roles};
use grid_protocol::ticket::{Proof, Ticket, TicketId, TicketRecord};
use grid_protocol::wire::Wire;

use crate::store::{Change, FileStore, Store, StoreError, Table};

pub(crate) mod banned;
mod upload;

pub(crate) use upload::{UploadError, VerifiedUpload};

/// What the manager knows for good.
pub(crate) struct Catalog {
    store: Arc<dyn Store>,
    modules_folder: PathBuf,
    key: SecretKey,
    incarnation: u32,
    keys: BTreeMap<PublicKey, KeyInfo>,
    tickets: BTreeMap<TicketId, TicketRecord>,
    hosts: BTreeMap<PublicKey, HostCapacity>,
    modules: BTreeMap<Digest, ModuleEntry>,
    deployments: BTreeMap<DeploymentId, DeploymentInfo>,
    /// The highest id that a deployment ever had.
    last_deployment: u64,
    trust: Trust,
    /// Changes of whom hosts may believe, since the manager started.
    trust_changes: u64,
}

/// A module on disk.
#[derive(Debug, Clone)]
pub(crate) struct ModuleEntry {
    pub(crate) signed: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) publisher: PublicKey,
    pub(crate) entry_point: String,
}

/// The state folder is no use, or a change could not be made durable: the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A file.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record in the store makes no sense.
    #[error(
        "a record in the table {table:?} of the store makes no sense; was it written by a newer version?"
    )]
    Record {
        /// In which table.
        table: Table,
    },
    /// A part of the state folder is not there, or empty, though others are: a new one in its place would be a new grid, which
    /// no host and no client of the old one knows.
    #[error("{} is {how}, though {} is there", path.display(), beside.display())]
    Incomplete {
        /// What is missed.
        path: PathBuf,
        /// Missing, or empty.
        how: &'static str,
        /// What is there.
        beside: PathBuf,
    },
    /// A payload.
    #[error("a payload: {reason}")]
    Payload {
        /// What is wrong with it.
        reason: String,
    },
    /// The manager is going down.
    #[error("the manager is going down: {reason}")]
    Interrupted {
        /// In the words of the runtime.
        reason: String,
    },
    /// A limit of the manager is reached.
    #[error("the manager keeps {max} {what} and takes no more")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many it keeps.
        max: usize,
    },
}

impl CatalogError {
    /// What the operator can do about it, to be read on the command line.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Disk(_) => "choose a folder that this user can write, with --state",
            Self::Key(_) => {
                "put the key back from a backup, or begin a new grid in another folder with --state"
            }
            Self::Store(error) => error.help(),
            Self::Incomplete { .. } => {
                "put it back from a backup; or begin a new grid, which hosts and clients must join anew, in another folder with --state"
            }
            _ => "look at the manager's disk, or choose another folder with --state",
        }
    }
}

/// Keys that a manager knows: each is a few hundred bytes.
const KEYS_MAX: usize = 100_000;
/// Tickets outstanding.
const TICKETS_MAX: usize = 10_000;
/// Deployments.
const DEPLOYMENTS_MAX: usize = 1_000;

/// How often a manager was started on this store.
const INCARNATION: &[u8; 11] = b"incarnation";
/// The highest id that a deployment ever had.
const LAST_DEPLOYMENT: &[u8; 10] = b"last order";

impl Catalog {
    /// Opens the state folder, or makes it; counts the incarnation up.
    pub(crate) fn open(folder: &Path, store: Option<Arc<dyn Store>>) -> Result<Self, CatalogError> {
        if store.is_none() {
            check_whole(folder)?;
        }
        let modules_folder = folder.join("modules");
        use_folder(&modules_folder)?;
        let store = match store {
            Some(store) => store,
            // Before the key, so that a key without a store is one whose store was lost.
            None => Arc::new(FileStore::open(&folder.join("manager.redb"))?),
        };
        let key = grid_disk::load_or_make_key(&folder.join("manager.key"))?;
        let mut catalog = Self {
            store,
            modules_folder,
            key,
            incarnation: 0,
            keys: BTreeMap::new(),
            tickets: BTreeMap::new(),
            hosts: BTreeMap::new(),
            modules: BTreeMap::new(),
            deployments: BTreeMap::new(),
            last_deployment: 0,
            trust: Trust::default(),
            trust_changes: 0,
        };
        catalog.load()?;
        Ok(catalog)
    }

    /// The store, which jobs share.
    pub(crate) fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    fn load(&mut self) -> Result<(), CatalogError> {
        self.keys = self.records::<KeyInfo>(Table::Key)?.map(|info| (info.key, info)).collect();
        self.tickets =
            self.records::<TicketRecord>(Table::Ticket)?.map(|record| (record.id, record)).collect();
        self.deployments = self
            .records::<DeploymentInfo>(Table::Deployment)?
            .map(|deployment| (deployment.id, deployment))
            .collect();
        let bad = |table| CatalogError::Record { table };
        for (key, value) in self.store.read(Table::Host)? {
            let key = <[u8; 32]>::try_from(key).ok().and_then(|key| PublicKey::from_bytes(key).ok());
            let capacity = HostCapacity::from_body(&value).map_err(|_| bad(Table::Host))?;
            self.hosts.insert(key.ok_or(bad(Table::Host))?, capacity);
        }
        for record in self.records::<ModuleRecord>(Table::Module)? {
            let module = ModuleEntry::from_record(record).map_err(|_| bad(Table::Module))?;
            self.modules.insert(module.manifest.digest, module);
        }
        for (key, value) in self.store.read(Table::Serial)? {
            let (publisher, name) = key.split_first_chunk::<32>().ok_or(bad(Table::Serial))?;
            let publisher = PublicKey::from_bytes(*publisher).map_err(|_| bad(Table::Serial))?;
            let name = std::str::from_utf8(name).map_err(|_| bad(Table::Serial))?;
            let serial = <[u8; 8]>::try_from(value).map_err(|_| bad(Table::Serial))?;
            self.trust.note_serial(publisher, name, u64::from_le_bytes(serial));
        }
        self.believe();
        let last = self.counter(LAST_DEPLOYMENT)?.map_or(0, u64::from_le_bytes);
        // Before there was a counter, the last deployment had the highest.
        self.last_deployment = self.deployments.last_key_value().map_or(last, |(id, _)| id.0.max(last));
        self.incarnation = self.counter(INCARNATION)?.map_or(0, u32::from_le_bytes) + 1;
        let value = self.incarnation.to_le_bytes();
        Ok(self.store.commit(&[Change::put(Table::Counter, *INCARNATION, value)])?)
    }

    fn counter<const N: usize>(&self, name: &[u8]) -> Result<Option<[u8; N]>, CatalogError> {
        let value = self.store.get(Table::Counter, name)?;
        value.map(<[u8; N]>::try_from).transpose().map_err(|_| CatalogError::Record { table: Table::Counter })
    }

    fn records<T: Wire>(&self, table: Table) -> Result<impl Iterator<Item = T> + use<T>, CatalogError> {
        let records = self.store.read(table)?.into_iter();
        let read: Result<Vec<T>, _> = records.map(|(_, value)| T::from_body(&value)).collect();
        read.map(Vec::into_iter).map_err(|_| CatalogError::Record { table })
    }

    /// The manager's own key.
    pub(crate) fn key(&self) -> &SecretKey {
        &self.key
    }

    /// The number of this life of the manager.
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// What a key may do.
    pub(crate) fn roles(&self, key: &PublicKey) -> Roles {
        self.keys.get(key).filter(|info| !info.revoked).map_or(Roles::NONE, |info| info.roles)
    }

    /// True if the key was revoked.
    pub(crate) fn is_revoked(&self, key: &PublicKey) -> bool {
        self.keys.get(key).is_some_and(|info| info.revoked)
    }

    /// Every key that was ever given a role.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyInfo> {
        self.keys.values()
    }

    /// Gives a key a role; a publisher or an admin is a client as well, and an admin a publisher.
    pub(crate) fn grant(&mut self, key: PublicKey, role: Role) -> Result<(), CatalogError> {
        let mut info =
            self.keys.get(&key).cloned().unwrap_or(KeyInfo { key, roles: Roles::NONE, revoked: false });
        info.roles = info.roles.with(role);
        if matches!(role, Role::Publisher | Role::Admin) {
            info.roles = info.roles.with(Role::Client);
        }
        if role == Role::Admin {
            info.roles = info.roles.with(Role::Publisher);
        }
        // Trusting a key again by name is what takes a revocation back.
        info.revoked = false;
        if self.keys.get(&key) == Some(&info) {
            return Ok(());
        }
        self.put_key(info, Vec::new())
    }

    /// Takes everything away from a key, for good: its roles, what it offered as a host, and the deployments that are its
    /// own or run its modules.
    pub(crate) fn revoke(&mut self, key: PublicKey) -> Result<(), CatalogError> {
        let of_key = |deployment: &DeploymentInfo| {
            let module = self.modules.get(&deployment.request.module);
            deployment.owner == key || module.is_some_and(|module| module.publisher == key)
        };
        let deployments: Vec<_> = self
            .deployments
            .values()
            .filter(|deployment| of_key(deployment))
            .map(|deployment| deployment.id)
            .collect();
        let mut changes = vec![Change::remove(Table::Host, *key.as_bytes())];
        changes.extend(deployments.iter().map(|id| Change::remove(Table::Deployment, id.0.to_be_bytes())));
        self.put_key(KeyInfo { key, roles: Roles::NONE, revoked: true }, changes)?;
        self.hosts.remove(&key);
        deployments.iter().for_each(|id| drop(self.deployments.remove(id)));
        Ok(())
    }

    /// Writes down what a key may do, and other `changes` with it.
    fn put_key(&mut self, info: KeyInfo, mut changes: Vec<Change>) -> Result<(), CatalogError> {
        full("keys", self.keys.len(), KEYS_MAX, self.keys.contains_key(&info.key))?;
        changes.push(Change::put(Table::Key, *info.key.as_bytes(), info.to_body()));
        self.store.commit(&changes)?;
        let of_hosts = |info: &KeyInfo| (info.revoked, info.roles.has(Role::Publisher));
        let told = of_hosts(&info);
        let before = self.keys.insert(info.key, info);
        if before.as_ref().map_or((false, false), of_hosts) != told {
            self.believe();
            self.trust_changes += 1;
        }
        Ok(())
    }

    /// How often it has changed whom hosts may believe.
    pub(crate) fn trust_changes(&self) -> u64 {
        self.trust_changes
    }

    fn believe(&mut self) {
        let serials = std::mem::take(&mut self.trust);
        for (publisher, name, serial) in serials.serials() {
            self.trust.note_serial(*publisher, name, serial);
        }
        for info in self.keys.values() {
            if info.revoked {
                self.trust.revoke(info.key);
            } else if info.roles.has(Role::Publisher) {
                self.trust.trust(info.key);
            }
        }
    }

    /// The highest serial that a publisher's modules of a name ever had.
    pub(crate) fn serial(&self, publisher: PublicKey, name: &str) -> u64 {
        self.trust.serial(publisher, name)
    }

    /// The publishers that hosts may believe, and those that they may not.
    pub(crate) fn publishers(&self) -> (Vec<PublicKey>, Vec<PublicKey>) {
        (self.trust.trusted().collect(), self.trust.revoked().collect())
    }

    /// Makes a ticket for this manager, which is reached at `addresses`.
    pub(crate) fn make_ticket(
        &mut self,
        role: Role,
        addresses: Vec<String>,
        now: u64,
        ttl_s: u64,
    ) -> Result<Ticket, CatalogError> {
        self.make_room_for_a_ticket(now)?;
        let expires = now.saturating_add(ttl_s);
        let ticket = Ticket::new(addresses, self.key.public(), role, expires, random()?, random()?);
        let record = ticket.record();
        self.put(Table::Ticket, &record.id, record.to_body())?;
        self.tickets.insert(record.id, record);
        Ok(ticket)
    }

    /// Forgets tickets that are past, the oldest first, but only where there is no room: a clock that is wrong once must not
    /// end what others were promised.
    fn make_room_for_a_ticket(&mut self, now: u64) -> Result<(), CatalogError> {
        while self.tickets.len() >= TICKETS_MAX {
            let past = self.tickets.values().filter(|ticket| ticket.expires <= now);
            let Some(id) = past.min_by_key(|ticket| ticket.expires).map(|ticket| ticket.id) else {
                break;
            };
            self.remove_ticket(&id)?;
        }
        full("tickets", self.tickets.len(), TICKETS_MAX, false)
    }

    /// The tickets that are not past.
    pub(crate) fn tickets(&self, now: u64) -> Vec<TicketInfo> {
        let info = |record: &TicketRecord| TicketInfo {
            id: record.id,
            role: record.role,
            expires: record.expires,
            used_by: record.used_by,
        };
        self.tickets.values().filter(|ticket| ticket.expires > now).map(info).collect()
    }

    /// Forgets a ticket; false if there is none of that name.
    pub(crate) fn remove_ticket(&mut self, id: &TicketId) -> Result<bool, CatalogError> {
        if !self.tickets.contains_key(id) {
            return Ok(false);
        }
        self.remove(Table::Ticket, id)?;
        self.tickets.remove(id);
        Ok(true)
    }

    /// Gives the bearer's key the ticket's role, once. A key that has the role needs no ticket: the caller asks first.
    pub(crate) fn redeem(
        &mut self,
        proof: &Proof,
        newcomer: PublicKey,
        exporter: &[u8; 32],
        now: u64,
    ) -> Result<Result<(), JoinRefusal>, CatalogError> {
        let Some(record) = self.tickets.get(&proof.id) else {
            return Ok(Err(JoinRefusal::TicketUnknown));
        };
        let role = match record.check(proof, &self.key.public(), &newcomer, exporter, now) {
            Ok(role) => role,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if record.used_by.is_none() {
            let mut used = record.clone();
            used.used_by = Some(newcomer);
            // The ticket first: after a crash between the two it is spent, and not good for two.
            self.put(Table::Ticket, &used.id, used.to_body())?;
            self.tickets.insert(used.id, used);
        }
        self.grant(newcomer, role).map(Ok)
    }

    /// Remembers what a host offers, for the time when it is away.
    pub(crate) fn note_host(&mut self, key: PublicKey, capacity: &HostCapacity) -> Result<(), CatalogError> {
        if self.hosts.get(&key) != Some(capacity) {
            self.put(Table::Host, key.as_bytes(), capacity.to_body())?;
            self.hosts.insert(key, capacity.clone());
        }
        Ok(())
    }

    /// Every host that was ever let in.
    pub(crate) fn hosts(&self) -> &BTreeMap<PublicKey, HostCapacity> {
        &self.hosts
    }

    /// The modules.
    pub(crate) fn modules(&self) -> impl ExactSizeIterator<Item = &ModuleEntry> {
        self.modules.values()
    }

    /// One module.
    pub(crate) fn module(&self, digest: &Digest) -> Option<&ModuleEntry> {
        self.modules.get(digest)
    }

    /// Where a module's bytes are.
    pub(crate) fn module_path(&self, digest: &Digest) -> PathBuf {
        self.modules_folder.join(format!("{digest}.wasm"))
    }

    /// Forgets a module; false if there is none.
    pub(crate) fn remove_module(&mut self, digest: &Digest) -> Result<bool, CatalogError> {
        if !self.modules.contains_key(digest) {
            return Ok(false);
        }
        self.remove(Table::Module, digest.as_bytes())?;
        self.modules.remove(digest);
        let path = self.module_path(digest);
        fs::remove_file(&path).map_err(|error| DiskError { doing: "remove", path, error })?;
        Ok(true)
    }

    /// Keeps a deployment under a new id.
    pub(crate) fn add_deployment(
        &mut self,
        mut deployment: DeploymentInfo,
    ) -> Result<DeploymentId, CatalogError> {
        full("deployments", self.deployments.len(), DEPLOYMENTS_MAX, false)?;
        // Whoever holds the id of an order that was removed must not come upon another's.
        let id = DeploymentId(self.last_deployment + 1);
        deployment.id = id;
        self.store.commit(&[
            Change::put(Table::Deployment, id.0.to_be_bytes(), deployment.to_body()),
            Change::put(Table::Counter, *LAST_DEPLOYMENT, id.0.to_le_bytes()),
        ])?;
        self.last_deployment = id.0;
        self.deployments.insert(id, deployment);
        Ok(id)
    }

    /// The deployments.
    pub(crate) fn deployments(&self) -> &BTreeMap<DeploymentId, DeploymentInfo> {
        &self.deployments
    }

    /// Forgets a deployment.
    pub(crate) fn remove_deployment(&mut self, id: DeploymentId) -> Result<(), CatalogError> {
        self.remove(Table::Deployment, &id.0.to_be_bytes())?;
        self.deployments.remove(&id);
        Ok(())
    }

    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        self.store.commit(&[Change { table, key: key.to_vec(), value: Some(value) }])
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.store.commit(&[Change { table, key: key.to_vec(), value: None }])
    }
}

impl ModuleEntry {
    fn from_record(record: ModuleRecord) -> Result<Self, ManifestRefusal> {
        let signed = SignedManifest::from_bytes(&record.manifest)?;
        let manifest = signed.verify()?;
        Ok(Self {
            signed: record.manifest,
            manifest,
            publisher: signed.publisher(),
            entry_point: record.entry_point,
        })
    }

    /// What a client is told about it.
    pub(crate) fn info(&self, known: bool) -> ModuleInfo {
        ModuleInfo {
            digest: self.manifest.digest,
            name: self.manifest.name.clone(),
            serial: self.manifest.serial,
            version: self.manifest.version.clone(),
            publisher: self.publisher,
            length: self.manifest.length,
            expires: self.manifest.expires,
            entry_point: match self.manifest.files {
                FilesAsked::Nothing => self.entry_point.clone(),
                _ => format!("{} with files", self.entry_point),
            },
            known,
        }
    }
}

/// Fails where a part of the state folder was lost. A folder with nothing in it is a new grid's; so is one whose store was
/// made and whose first start went no further.
fn check_whole(folder: &Path) -> Result<(), CatalogError> {
    let (key, store, modules) =
        (folder.join("manager.key"), folder.join("manager.redb"), folder.join("modules"));
    let module = fs::read_dir(&modules).ok().and_then(|mut entries| entries.next()?.ok());
    let kept = [key.exists().then(|| key.clone()), module.map(|module| module.path())];
    let bytes = fs::metadata(&store).map(|store| store.len()).ok();
    let lost = |path: &Path, how, beside: PathBuf| {
        Err(CatalogError::Incomplete { path: path.to_path_buf(), how, beside })
    };
    match (bytes, kept) {
        (None, [Some(beside), _] | [None, Some(beside)]) => lost(&store, "missing", beside),
        (Some(0), [Some(beside), _] | [None, Some(beside)]) => lost(&store, "empty", beside),
        (Some(1..), [None, _]) if FileStore::open(&store)?.get(Table::Counter, INCARNATION)?.is_some() => {
            lost(&key, "missing", store)
        }
        _ => Ok(()),
    }
}

fn full(what: &'static str, count: usize, max: usize, replaces: bool) -> Result<(), CatalogError> {
    if count >= max && !replaces { Err(CatalogError::Full { what, max }) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
