//! The store: what the manager must remember across restarts, as records in named tables.
//!
//! A change is durable when [`Store::commit`] returns, and the changes of one commit take effect all or none.
//! Reads see committed changes only.

mod damage;
#[cfg(any(test, feature = "fault-injection"))]
pub(crate) mod faulty_disk;
mod table;
mod upgrade;

use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use grid_disk::Reserve;
use parking_lot::RwLock;
use redb::{
    Builder, Database, DatabaseError, Durability, OwnedAccessGuard, ReadOnlyTable, ReadableDatabase,
    StorageBackend, StorageError, TableError, TableHandle, WriteTransaction,
};

pub use table::Table;

/// One record to write or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The record's table.
    pub table: Table,
    /// The record's key in the table.
    pub key: Vec<u8>,
    /// The record's new value; `None` removes the record.
    pub value: Option<Bytes>,
}

impl Change {
    /// Writes a record.
    pub fn put(table: Table, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::put_bytes(table, key, value.into().into())
    }

    /// As [`Self::put`], with bytes that may be a part of others, which then stay in memory until they are written.
    pub fn put_bytes(table: Table, key: impl Into<Vec<u8>>, value: Bytes) -> Self {
        Self { table, key: key.into(), value: Some(value) }
    }

    /// Removes a record.
    pub fn remove(table: Table, key: impl Into<Vec<u8>>) -> Self {
        Self { table, key: key.into(), value: None }
    }

    /// Size of the change in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.as_ref().map_or(0, Bytes::len) + size_of::<Self>()
    }
}

/// A record: its key in the table, and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Keeps records through crashes and power losses. `docs/adr/0006` says how each call maps to PostgreSQL.
pub trait Store: std::fmt::Debug + Send + Sync {
    /// Reads one record. Its bytes may be those of the store's own cache: the caller drops them soon, because what is
    /// overwritten meanwhile keeps its place on disk until then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the operator must act; the disk or the file is broken.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Reads the first record whose key is in `range`, with its key; its bytes are as those of [`Self::get`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the operator must act; the disk or the file is broken.
    fn first(&self, table: Table, range: Range<&[u8]>) -> Result<Option<(Vec<u8>, Bytes)>, StoreError>;

    /// Calls `visit` with the records whose keys are in `range`, in order, until it returns false.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the operator must act; the disk or the file is broken.
    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError>;

    /// Makes the changes in their order, all or none. They are durable when it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was changed, and the operator must act.
    fn commit(&self, changes: &[Change]) -> Result<(), StoreError>;

    /// Why the caller should add nothing that can wait, although commits still succeed; `None` if all is well. May
    /// block on the disk.
    fn shortage(&self) -> Option<String> {
        None
    }

    /// Reads all records of a table, ordered by key.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the operator must act; the disk or the file is broken.
    fn read(&self, table: Table) -> Result<Vec<Record>, StoreError> {
        let mut records = Vec::new();
        self.scan(table, &[]..LAST_KEY, &mut |key, value| {
            records.push((key.to_vec(), value.to_vec()));
            true
        })?;
        Ok(records)
    }
}

/// Sorts after every key in use.
pub(crate) const LAST_KEY: &[u8] = &[0xff; 80];

/// The store failed, and the operator must act.
#[derive(Debug, thiserror::Error)]
#[error("the store {path}: {reason}")]
pub struct StoreError {
    /// The store's file.
    pub path: PathBuf,
    /// What is wrong with it, in the words of the system.
    pub reason: String,
}

impl StoreError {
    /// What the operator can do about it.
    pub(crate) fn help(&self) -> &'static str {
        if self.reason == IN_USE {
            "stop the other `grid up`, or give this one a folder of its own with --state"
        } else {
            "put a backup of the whole state folder in its place, or begin a new grid in another folder with --state"
        }
    }
}

/// A store in one file on the manager's disk, written by redb.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    database: RwLock<Option<Database>>,
    /// Space to release when the disk is full. `None` on a simulated disk, which cannot be reopened by path either.
    reserve: Option<Reserve>,
}

/// Space for all unwritten changes when the disk is full, and for deleting jobs.
const RESERVE_BYTES: u64 = 16 << 20;

/// A value in redb's memory, and the read transaction that keeps it there.
struct StoredValue(OwnedAccessGuard<&'static [u8]>);

impl AsRef<[u8]> for StoredValue {
    fn as_ref(&self) -> &[u8] {
        self.0.value()
    }
}

/// A table as it was last committed.
type CommittedTable = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// Bytes of cache. A small one is enough: the records of a queue are read in order.
const CACHE_BYTES: usize = 48 << 20;

impl FileStore {
    /// Opens the store at `path`, or makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError`], if the file cannot be made, is no store, or is open in another process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let reserve = Reserve::new(path.with_extension("reserve"), RESERVE_BYTES);
        let create = || damage::guard(path, || Ok(Self::builder().create(path)));
        let mut database = create()?;
        // Opening needs space, too: on a full disk, release the reserve and try again.
        if matches!(&database, Err(DatabaseError::Storage(StorageError::Io(_)))) && reserve.give_up() {
            database = create()?;
        }
        let store = Self::begin(path, database, Some(reserve))?;
        if let Some(shortage) = store.shortage() {
            tracing::warn!("{shortage}");
        }
        Ok(store)
    }

    /// Opens the store on the given disk, real or simulated.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn open_on(disk: impl StorageBackend) -> Result<Self, StoreError> {
        let database = Self::builder().create_with_backend(disk);
        Self::begin(Path::new("(a disk that is made up)"), database, None)
    }

    fn builder() -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(CACHE_BYTES);
        builder
    }

    fn begin(
        path: &Path,
        database: Result<Database, DatabaseError>,
        reserve: Option<Reserve>,
    ) -> Result<Self, StoreError> {
        let path = path.to_path_buf();
        let database =
            database.map_err(|error| StoreError { path: path.clone(), reason: explain(&error) })?;
        let store = Self { path, database: RwLock::new(Some(database)), reserve };
        store.check_schema()?;
        Ok(store)
    }

    fn check_schema(&self) -> Result<(), StoreError> {
        match self.get(Table::Counter, b"schema")? {
            None => self.commit(&[Change::put(Table::Counter, *b"schema", [SCHEMA])]),
            Some(value) if value[..] == [SCHEMA] => Ok(()),
            Some(value) if value[..] == [1] => self.upgrade(),
            Some(value) => Err(StoreError {
                path: self.path.clone(),
                reason: format!("has schema {value:?}, and this program reads schema {SCHEMA} only"),
            }),
        }
    }

    /// Rewrites the records of an earlier program, all or none.
    fn upgrade(&self) -> Result<(), StoreError> {
        tracing::info!(path = %self.path.display(), "the store is of an earlier version, and is upgraded");
        let upgrade = || {
            damage::guard(&self.path, || {
                self.transact(|transaction| {
                    upgrade::from_1_to_2(transaction)?;
                    let mut counters = transaction.open_table(Table::Counter.definition())?;
                    counters.insert(&b"schema"[..], &[SCHEMA][..])?;
                    Ok(())
                })
            })
        };
        let upgraded = upgrade().or_else(|error| self.after_giving_up_the_reserve(error, upgrade));
        upgraded.map_err(|StoreError { path, reason }| StoreError {
            path,
            reason: format!("cannot be upgraded, which needs room for its jobs a second time: {reason}"),
        })
    }

    /// Runs `work` in a transaction that is on disk when this returns.
    fn transact(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.fail(CLOSED))?;
        let mut transaction = database.begin_write().map_err(|error| self.fail(error))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| self.fail(error))?;
        transaction.set_two_phase_commit(true);
        work(&transaction).map_err(|error| self.fail(error))?;
        transaction.commit().map_err(|error| self.fail(error))
    }

    fn fail(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError { path: self.path.clone(), reason: error.to_string() }
    }

    /// Opens the table as it was last committed; `None` if nothing was ever written to it.
    fn table(&self, table: Table) -> Result<Option<CommittedTable>, StoreError> {
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.fail(CLOSED))?;
        let transaction = database.begin_read().map_err(|error| self.fail(error))?;
        match transaction.open_table(table.definition()) {
            Ok(opened) => Ok(Some(opened)),
            Err(TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(self.fail(format!("{}: {error}", table.definition().name()))),
        }
    }

    fn value(&self, table: &CommittedTable, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = table.get_owned(key).map_err(|error| self.fail(error))?;
        Ok(value.map(|value| Bytes::from_owner(StoredValue(value))))
    }
}

/// Version of the format of the records.
const SCHEMA: u8 = 2;

const IN_USE: &str = "another process has it open";

fn explain(error: &DatabaseError) -> String {
    match error {
        DatabaseError::DatabaseAlreadyOpen => IN_USE.to_owned(),
        DatabaseError::Storage(StorageError::Corrupted(reason)) => format!("it is damaged: {reason}"),
        other => other.to_string(),
    }
}

impl Store for FileStore {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        damage::guard(&self.path, || match self.table(table)? {
            Some(table) => self.value(&table, key),
            None => Ok(None),
        })
    }

    fn first(&self, table: Table, range: Range<&[u8]>) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        damage::guard(&self.path, || {
            let Some(table) = self.table(table)? else {
                return Ok(None);
            };
            let mut records = table.range(range).map_err(|error| self.fail(error))?;
            let key = match records.next() {
                Some(record) => record.map_err(|error| self.fail(error))?.0.value().to_vec(),
                None => return Ok(None),
            };
            let value = self.value(&table, &key)?;
            Ok(value.map(|value| (key, value)))
        })
    }

    fn scan(
        &self,
        table: Table,
        range: Range<&[u8]>,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StoreError> {
        damage::guard(&self.path, || {
            let Some(table) = self.table(table)? else {
                return Ok(());
            };
            for record in table.range(range).map_err(|error| self.fail(error))? {
                let (key, value) = record.map_err(|error| self.fail(error))?;
                if !visit(key.value(), value.value()) {
                    break;
                }
            }
            Ok(())
        })
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let write = || self.write_or_open_again(changes);
        write().or_else(|error| self.after_giving_up_the_reserve(error, write))
    }

    fn shortage(&self) -> Option<String> {
        self.reserve.as_ref().and_then(Reserve::shortage)
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        let database = self.database.get_mut().take();
        // Closing a damaged database may panic again; that error was reported already.
        let _ = damage::guard(&self.path, || {
            drop(database);
            Ok(())
        });
    }
}

const CLOSED: &str = "it failed, and cannot be opened again yet";

impl FileStore {
    /// Reopens the database: after a disk failure it accepts nothing more until then.
    fn open_again(&self) {
        let mut database = self.database.write();
        if self.reserve.is_some() {
            // An error here is found again, and reported, by the next call.
            let _ = damage::guard(&self.path, || {
                // The old database must be closed first, because it locks the file.
                *database = None;
                *database = Self::builder().create(&self.path).ok();
                Ok(())
            });
        }
    }

    /// Does `work` again if the reserve makes room for it; `error` is why it failed without.
    fn after_giving_up_the_reserve(
        &self,
        error: StoreError,
        work: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        if !self.reserve.as_ref().is_some_and(Reserve::give_up) {
            return Err(error);
        }
        // Reopening may have failed for lack of space; now there is some.
        self.open_again();
        work()
    }

    fn write_or_open_again(&self, changes: &[Change]) -> Result<(), StoreError> {
        let written = damage::guard(&self.path, || self.write(changes));
        if written.is_err() {
            self.open_again();
        }
        written
    }

    fn write(&self, changes: &[Change]) -> Result<(), StoreError> {
        self.transact(|transaction| {
            let mut tables: [Option<redb::Table<'_, &[u8], &[u8]>>; Table::ALL.len()] = Default::default();
            for change in changes {
                let place = tables.get_mut(change.table as usize);
                let place =
                    place.ok_or_else(|| redb::Error::TableDoesNotExist("no such table".to_owned()))?;
                let table = match place {
                    Some(table) => table,
                    None => place.insert(transaction.open_table(change.table.definition())?),
                };
                match &change.value {
                    Some(value) => table.insert(change.key.as_slice(), &value[..]).map(drop)?,
                    None => table.remove(change.key.as_slice()).map(drop)?,
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_opened_again_has_what_was_committed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let put = |key: &[u8], value: Option<&[u8]>| Change {
            table: Table::Key,
            key: key.to_vec(),
            value: value.map(Bytes::copy_from_slice),
        };
        let store = FileStore::open(&path).unwrap();
        store.commit(&[put(b"a", Some(b"1")), put(b"b", Some(b"2"))]).unwrap();
        store.commit(&[put(b"a", None)]).unwrap();
        assert!(FileStore::open(&path).unwrap_err().reason.contains("another process"));
        drop(store);
        let store = FileStore::open(&path).unwrap();
        assert_eq!(store.read(Table::Key).unwrap(), [(b"b".to_vec(), b"2".to_vec())]);
        assert_eq!(store.read(Table::Deployment).unwrap(), []);
        let first = |table, from: &[u8]| store.first(table, from..LAST_KEY).unwrap();
        let two = Some((b"b".to_vec(), Bytes::from_static(b"2")));
        assert_eq!(
            [first(Table::Key, b""), first(Table::Key, b"b"), first(Table::Key, b"c")],
            [two.clone(), two, None]
        );
        assert_eq!(first(Table::Deployment, b""), None, "a table that nothing was ever written to");
    }
}
