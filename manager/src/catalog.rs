//! The catalog: keys, roles, tickets, modules and deployments, which outlive the manager.
//!
//! Every change is durable before it takes effect, so a manager that restarts after a power loss has everything that
//! it ever confirmed. Every change blocks on the disk: call it from a blocking thread.

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
use grid_protocol::token::TokenInfo;
use grid_protocol::wire::Wire;

use crate::store::{Change, FileStore, Store, StoreError, Table};

pub(crate) mod banned;
mod tokens;
mod upload;

pub(crate) use upload::{UploadError, VerifiedUpload};

/// What the manager keeps across restarts, in memory and on disk.
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
    tokens: BTreeMap<PublicKey, TokenInfo>,
    /// The highest id that a deployment ever had.
    last_deployment: u64,
    trust: Trust,
    /// Number of changes of the publishers that hosts may trust, since the manager started.
    trust_changes: u64,
}

/// A module whose file is on disk.
#[derive(Debug, Clone)]
pub(crate) struct ModuleEntry {
    pub(crate) signed: Vec<u8>,
    pub(crate) manifest: Manifest,
    pub(crate) publisher: PublicKey,
    pub(crate) entry_point: String,
}

/// The state folder cannot be used, or a change could not be made durable; the operator must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The key file cannot be used.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record in the store cannot be decoded.
    #[error(
        "a record in the table {table:?} of the store makes no sense; was it written by a newer version?"
    )]
    Record {
        /// The record's table.
        table: Table,
    },
    /// A part of the state folder is missing or empty, though others are there. A new one in its place would be a new
    /// grid, which no host or client of the old one knows.
    #[error("{} is {how}, though {} is there", path.display(), beside.display())]
    Incomplete {
        /// The part that is missing or empty.
        path: PathBuf,
        /// "missing" or "empty".
        how: &'static str,
        /// A part that is there.
        beside: PathBuf,
    },
    /// A blob cannot be read or kept.
    #[error("a payload: {reason}")]
    Payload {
        /// What is wrong with the blob.
        reason: String,
    },
    /// The manager is shutting down.
    #[error("the manager is going down: {reason}")]
    Interrupted {
        /// The cause, in the words of the runtime.
        reason: String,
    },
    /// A limit of the manager is reached.
    #[error("the manager keeps {max} {what} and takes no more")]
    Full {
        /// What the limit counts.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

impl CatalogError {
    /// What the operator can do about it, for the command line.
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

/// Known keys, including revoked ones; each takes a few hundred bytes.
const KEYS_MAX: usize = 100_000;
/// Tickets kept, used or not.
const TICKETS_MAX: usize = 10_000;
/// Deployments kept.
const DEPLOYMENTS_MAX: usize = 1_000;

/// The counter of starts of a manager on this store.
const INCARNATION: &[u8; 11] = b"incarnation";
/// The counter of deployment ids: the highest one that was ever used.
const LAST_DEPLOYMENT: &[u8; 10] = b"last order";

impl Catalog {
    /// Opens the state folder, or makes it, and increments the incarnation.
    pub(crate) fn open(folder: &Path, store: Option<Arc<dyn Store>>) -> Result<Self, CatalogError> {
        if store.is_none() {
            check_whole(folder)?;
        }
        let modules_folder = folder.join("modules");
        use_folder(&modules_folder)?;
        let store = match store {
            Some(store) => store,
            // The store is made before the key, so a key without a store means that the store was lost.
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
            tokens: BTreeMap::new(),
            last_deployment: 0,
            trust: Trust::default(),
            trust_changes: 0,
        };
        catalog.load()?;
        Ok(catalog)
    }

    /// The store, which jobs and blobs share.
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
        self.tokens = self.records::<TokenInfo>(Table::Token)?.map(|token| (token.id, token)).collect();
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
        // Older stores have no counter; there, the highest id is that of the newest deployment.
        self.last_deployment = self.deployments.last_key_value().map_or(last, |(id, _)| id.0.max(last));
        self.incarnation = self.counter(INCARNATION)?.map_or(0, u32::from_le_bytes) + 1;
        let value = self.incarnation.to_le_bytes();
        Ok(self.store.commit(&[Change::put(Table::Counter, *INCARNATION, value)])?)
    }

    fn counter<const N: usize>(&self, name: &[u8]) -> Result<Option<[u8; N]>, CatalogError> {
        let value = self.store.get(Table::Counter, name)?;
        let wrong = |_| CatalogError::Record { table: Table::Counter };
        value.map(|value| value[..].try_into()).transpose().map_err(wrong)
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

    /// Number of starts of a manager on this store, this one included.
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The roles of a key; none if it is unknown or revoked.
    pub(crate) fn roles(&self, key: &PublicKey) -> Roles {
        self.keys.get(key).filter(|info| !info.revoked).map_or(Roles::NONE, |info| info.roles)
    }

    /// True if the key was revoked.
    pub(crate) fn is_revoked(&self, key: &PublicKey) -> bool {
        self.keys.get(key).is_some_and(|info| info.revoked)
    }

    /// Every key that was ever given a role or revoked.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &KeyInfo> {
        self.keys.values()
    }

    /// Gives a key a role. A publisher becomes a client, too; an admin, a client and a publisher.
    pub(crate) fn grant(&mut self, key: PublicKey, role: Role) -> Result<(), CatalogError> {
        let mut info =
            self.keys.get(&key).cloned().unwrap_or(KeyInfo { key, roles: Roles::NONE, revoked: false });
        info.roles = info.roles.or(Roles::of(role));
        // An explicit grant takes a revocation back.
        info.revoked = false;
        if self.keys.get(&key) == Some(&info) {
            return Ok(());
        }
        self.put_key(info, Vec::new())
    }

    /// Revokes a key until it is granted a role again: removes its roles, its tokens, its record as a host, and the
    /// deployments that it owns or that run its modules, in one commit.
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
        let tokens: Vec<_> =
            self.tokens.values().filter(|token| token.owner == key).map(|token| token.id).collect();
        changes.extend(tokens.iter().map(|id| Change::remove(Table::Token, *id.as_bytes())));
        self.put_key(KeyInfo { key, roles: Roles::NONE, revoked: true }, changes)?;
        tokens.iter().for_each(|id| drop(self.tokens.remove(id)));
        self.hosts.remove(&key);
        deployments.iter().for_each(|id| drop(self.deployments.remove(id)));
        Ok(())
    }

    /// Writes a key's record, together with other `changes`, in one commit.
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

    /// Number of changes of the publishers that hosts may trust, since the manager started.
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

    /// The highest serial that the publisher's modules of that name ever had; 0 if there was none.
    pub(crate) fn serial(&self, publisher: PublicKey, name: &str) -> u64 {
        self.trust.serial(publisher, name)
    }

    /// The publishers that hosts may trust, and the keys that were revoked.
    pub(crate) fn publishers(&self) -> (Vec<PublicKey>, Vec<PublicKey>) {
        (self.trust.trusted().collect(), self.trust.revoked().collect())
    }

    /// Makes a ticket for this manager, which is reached at `addresses`; `ttl_s` is its lifetime in seconds.
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

    /// Deletes expired tickets, oldest first, but only while there are too many: a clock that is wrong once must not
    /// delete tickets that are still good.
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

    /// The tickets that have not expired, used or not.
    pub(crate) fn tickets(&self, now: u64) -> Vec<TicketInfo> {
        let info = |record: &TicketRecord| TicketInfo {
            id: record.id,
            role: record.role,
            expires: record.expires,
            used_by: record.used_by,
        };
        self.tickets.values().filter(|ticket| ticket.expires > now).map(info).collect()
    }

    /// The role that a ticket grants; `None` if there is no such ticket.
    pub(crate) fn ticket_role(&self, id: &TicketId) -> Option<Role> {
        self.tickets.get(id).map(|record| record.role)
    }

    /// Deletes a ticket; false if there is none of that id.
    pub(crate) fn remove_ticket(&mut self, id: &TicketId) -> Result<bool, CatalogError> {
        if !self.tickets.contains_key(id) {
            return Ok(false);
        }
        self.remove(Table::Ticket, id)?;
        self.tickets.remove(id);
        Ok(true)
    }

    /// Gives `newcomer` the ticket's role. Only the first key to redeem a ticket may do so, as often as it likes. The
    /// caller first checks that the key is not revoked.
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
            // The ticket first: after a crash in between, only this key can redeem it.
            self.put(Table::Ticket, &used.id, used.to_body())?;
            self.tickets.insert(used.id, used);
        }
        self.grant(newcomer, role).map(Ok)
    }

    /// Stores a host's capacity, so that the host is listed while it is not connected.
    pub(crate) fn note_host(&mut self, key: PublicKey, capacity: &HostCapacity) -> Result<(), CatalogError> {
        if self.hosts.get(&key) != Some(capacity) {
            self.put(Table::Host, key.as_bytes(), capacity.to_body())?;
            self.hosts.insert(key, capacity.clone());
        }
        Ok(())
    }

    /// Last known capacity of every host that was let in and not revoked since.
    pub(crate) fn hosts(&self) -> &BTreeMap<PublicKey, HostCapacity> {
        &self.hosts
    }

    /// All modules.
    pub(crate) fn modules(&self) -> impl ExactSizeIterator<Item = &ModuleEntry> {
        self.modules.values()
    }

    /// The module with that digest.
    pub(crate) fn module(&self, digest: &Digest) -> Option<&ModuleEntry> {
        self.modules.get(digest)
    }

    /// Path of the module's file.
    pub(crate) fn module_path(&self, digest: &Digest) -> PathBuf {
        self.modules_folder.join(format!("{digest}.wasm"))
    }

    /// Deletes a module, its record before its file; false if there is none.
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

    /// Stores a deployment under a new id, and returns the id.
    pub(crate) fn add_deployment(
        &mut self,
        mut deployment: DeploymentInfo,
    ) -> Result<DeploymentId, CatalogError> {
        full("deployments", self.deployments.len(), DEPLOYMENTS_MAX, false)?;
        // Ids are not reused: whoever holds the id of a removed deployment must not reach another one by it.
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

    /// All deployments, by id.
    pub(crate) fn deployments(&self) -> &BTreeMap<DeploymentId, DeploymentInfo> {
        &self.deployments
    }

    /// Deletes a deployment.
    pub(crate) fn remove_deployment(&mut self, id: DeploymentId) -> Result<(), CatalogError> {
        self.remove(Table::Deployment, &id.0.to_be_bytes())?;
        self.deployments.remove(&id);
        Ok(())
    }

    fn put(&mut self, table: Table, key: &[u8], value: Vec<u8>) -> Result<(), StoreError> {
        self.store.commit(&[Change::put(table, key, value)])
    }

    fn remove(&mut self, table: Table, key: &[u8]) -> Result<(), StoreError> {
        self.store.commit(&[Change::remove(table, key)])
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

    /// Describes the module to a client; `known` says that it was there before the upload.
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

/// Fails if a part of the state folder was lost. An empty folder passes as a new grid's; so does one with a store
/// whose first start went no further.
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
