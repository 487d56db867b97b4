//! The store: what the manager must not forget, as small records in named tables.
//!
//! Everything is read once, at the start; after that the store only takes changes. A change is durable
//! when [`Store::commit`] returns, and all changes of one commit happen together or not at all.

use std::path::{Path, PathBuf};

use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Numbers that are counted up, by name.
    Counter,
    /// What each key may do.
    Key,
    /// Tickets, by id.
    Ticket,
    /// What each host last offered, by key.
    Host,
    /// Signed manifests, by digest of the module.
    Module,
    /// The highest serial seen, by publisher and name.
    Serial,
    /// Standing orders, by id.
    Order,
}

impl Table {
    /// Every table.
    pub const ALL: [Self; 7] =
        [Self::Counter, Self::Key, Self::Ticket, Self::Host, Self::Module, Self::Serial, Self::Order];

    fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(match self {
            Self::Counter => "counter",
            Self::Key => "key",
            Self::Ticket => "ticket",
            Self::Host => "host",
            Self::Module => "module",
            Self::Serial => "serial",
            Self::Order => "order",
        })
    }
}

/// One record to write or to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its table.
    pub table: Table,
    /// Its key in the table.
    pub key: Vec<u8>,
    /// Its value; `None` removes it.
    pub value: Option<Vec<u8>>,
}

/// A record: its key in the table, and its value.
pub type Record = (Vec<u8>, Vec<u8>);

/// Keeps records through crashes and power losses.
pub trait Store: Send {
    /// All records of a table, ordered by key.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the operator must act; the disk or the file is broken.
    fn read(&self, table: Table) -> Result<Vec<Record>, StoreError>;

    /// Makes changes, all or none; durable when it returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was changed, and the operator must act.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// The store failed, and the operator must act.
#[derive(Debug, thiserror::Error)]
#[error("the store {path}: {reason}")]
pub struct StoreError {
    /// Where it is.
    pub path: PathBuf,
    /// What is wrong with it, in the words of the system.
    pub reason: String,
}

/// The store in one file beside the manager.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    database: Database,
}

/// Bytes of cache: the records are few and are read once.
const CACHE_BYTES: usize = 8 << 20;

impl FileStore {
    /// Opens the store at `path`, or makes it.
    ///
    /// # Errors
    ///
    /// [`StoreError`], if the file cannot be made, is no store, or is open in another process.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let fail = |reason: String| StoreError { path: path.to_path_buf(), reason };
        let database = redb::Builder::new()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| fail(explain(&error)))?;
        let mut store = Self { path: path.to_path_buf(), database };
        store.check_schema()?;
        Ok(store)
    }

    fn check_schema(&mut self) -> Result<(), StoreError> {
        let key = b"schema".to_vec();
        let found = self.read(Table::Counter)?.into_iter().find(|(name, _)| *name == key);
        match found {
            None => self.commit(&[Change { table: Table::Counter, key, value: Some(vec![SCHEMA]) }]),
            Some((_, value)) if value == [SCHEMA] => Ok(()),
            Some((_, value)) => Err(StoreError {
                path: self.path.clone(),
                reason: format!("has schema {value:?}, and this program reads schema {SCHEMA} only"),
            }),
        }
    }

    fn fail(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError { path: self.path.clone(), reason: error.to_string() }
    }
}

/// The version of what is in the records.
const SCHEMA: u8 = 1;

fn explain(error: &redb::DatabaseError) -> String {
    match error {
        redb::DatabaseError::DatabaseAlreadyOpen => "another process has it open".to_owned(),
        other => other.to_string(),
    }
}

impl Store for FileStore {
    fn read(&self, table: Table) -> Result<Vec<Record>, StoreError> {
        let transaction = self.database.begin_read().map_err(|error| self.fail(error))?;
        let opened = match transaction.open_table(table.definition()) {
            Ok(opened) => opened,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
            Err(error) => return Err(self.fail(format!("{}: {error}", table.definition().name()))),
        };
        let mut records = Vec::new();
        for record in opened.iter().map_err(|error| self.fail(error))? {
            let (key, value) = record.map_err(|error| self.fail(error))?;
            records.push((key.value().to_vec(), value.value().to_vec()));
        }
        Ok(records)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(|error| self.fail(error))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| self.fail(error))?;
        transaction.set_two_phase_commit(true);
        for change in changes {
            let mut table =
                transaction.open_table(change.table.definition()).map_err(|error| self.fail(error))?;
            match &change.value {
                Some(value) => table.insert(change.key.as_slice(), value.as_slice()).map(drop),
                None => table.remove(change.key.as_slice()).map(drop),
            }
            .map_err(|error| self.fail(error))?;
        }
        transaction.commit().map_err(|error| self.fail(error))
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
            value: value.map(<[u8]>::to_vec),
        };
        let mut store = FileStore::open(&path).unwrap();
        store.commit(&[put(b"a", Some(b"1")), put(b"b", Some(b"2"))]).unwrap();
        store.commit(&[put(b"a", None)]).unwrap();
        assert!(FileStore::open(&path).unwrap_err().reason.contains("another process"));
        drop(store);
        let store = FileStore::open(&path).unwrap();
        assert_eq!(store.read(Table::Key).unwrap(), [(b"b".to_vec(), b"2".to_vec())]);
        assert_eq!(store.read(Table::Order).unwrap(), []);
    }
}
