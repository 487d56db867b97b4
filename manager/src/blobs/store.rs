//! BlobStore: inputs and results that are too long for a record, as files named by their digests.
//!
//! A file is written, synced and renamed before anything refers to it, and deleted with the last job that refers to
//! it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use grid_disk::{DiskError, replace, use_folder};
use grid_protocol::digest::Digest;
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::limits::MESSAGE_BYTES_MAX;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Semaphore;

use crate::blobs::transfer_slots::TransferSlots;
use crate::store::{Change, Store, StoreError, Table};

/// The blobs of a manager.
pub(crate) struct BlobStore {
    folder: PathBuf,
    store: Arc<dyn Store>,
    /// Bytes of all files. Locked by whoever adds or removes files.
    used: Mutex<u64>,
    /// Limits how many blobs are read or written at the same time, to [`DISK_MAX`].
    pub(crate) room: Semaphore,
    /// Limits how many transfers each peer has in progress.
    pub(crate) slots: TransferSlots,
}

/// Why a blob was not accepted, or could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("its bytes are not those that it is named after")]
    WrongDigest,
    #[error("it has {0} bytes; {MESSAGE_BYTES_MAX} is the limit")]
    TooLong(u64),
    #[error("the manager keeps {PAYLOADS_BYTES_MAX} bytes of payloads and takes no more")]
    Full,
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{path}: {error}")]
    Read { path: PathBuf, error: std::io::Error },
}

/// Bytes of all blobs together: blobs that fill the disk would stop everything else that writes.
const PAYLOADS_BYTES_MAX: u64 = 256 << 30;

/// Blobs read or written at the same time: more would not make the disk faster. A peer that stalls holds no permit.
const DISK_MAX: usize = 8;

fn of_job(job: JobId, digest: &Digest) -> Vec<u8> {
    [&job.0[..], digest.as_bytes()].concat()
}

fn of_payload(digest: &Digest, job: JobId) -> Vec<u8> {
    [digest.as_bytes(), &job.0[..]].concat()
}

/// Sorts after every key that begins with `prefix`.
fn after(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff; 33]].concat()
}

impl BlobStore {
    /// Opens the folder, or makes it, and deletes the files that no job refers to.
    pub(crate) fn open(state_folder: &Path, store: Arc<dyn Store>) -> Result<Self, BlobError> {
        let folder = state_folder.join("payloads");
        use_folder(&folder)?;
        let payloads = Self {
            folder,
            store,
            used: Mutex::default(),
            room: Semaphore::new(DISK_MAX),
            slots: TransferSlots::default(),
        };
        let read = |error| BlobError::Read { path: payloads.folder.clone(), error };
        let mut used = 0;
        for entry in std::fs::read_dir(&payloads.folder).map_err(read)? {
            let entry = entry.map_err(read)?;
            let digest = entry.file_name().to_str().and_then(|name| name.parse::<Digest>().ok());
            if digest.is_some_and(|digest| payloads.is_needed(&digest).unwrap_or(true)) {
                used += entry.metadata().map_or(0, |about| about.len());
            } else if let Err(error) = std::fs::remove_file(entry.path()) {
                tracing::warn!(%error, file = %entry.path().display(), "a file that nobody needs stays");
            }
        }
        *payloads.used() = used;
        Ok(payloads)
    }

    /// Stores a blob for a job; file and reference are durable when this returns.
    pub(crate) fn keep(&self, job: JobId, payload: BlobRef, bytes: &Bytes) -> Result<(), BlobError> {
        if BlobRef::of(bytes) != payload {
            return Err(BlobError::WrongDigest);
        }
        let mut used = self.used();
        let path = self.path(&payload.digest);
        if !path.exists() {
            if used.saturating_add(payload.length) > PAYLOADS_BYTES_MAX {
                return Err(BlobError::Full);
            }
            replace(&path, bytes)?;
            *used += payload.length;
        }
        self.store.commit(&[
            Change::put(Table::Payload, of_job(job, &payload.digest), []),
            Change::put(Table::Referrer, of_payload(&payload.digest, job), []),
        ])?;
        Ok(())
    }

    /// True if the job refers to that blob and its file has that length.
    pub(crate) fn has(&self, job: JobId, payload: &BlobRef) -> Result<bool, StoreError> {
        let known = self.store.get(Table::Payload, &of_job(job, &payload.digest))?.is_some();
        let length = || std::fs::metadata(self.path(&payload.digest)).map(|about| about.len()).ok();
        Ok(known && length() == Some(payload.length))
    }

    /// Reads a blob; `None` if the job does not refer to one of that digest and length.
    pub(crate) fn fetch(&self, job: JobId, payload: &BlobRef) -> Result<Option<Bytes>, BlobError> {
        if !self.has(job, payload)? {
            return Ok(None);
        }
        let path = self.path(&payload.digest);
        let bytes = std::fs::read(&path).map_err(|error| BlobError::Read { path, error })?;
        Ok((bytes.len() as u64 == payload.length).then(|| bytes.into()))
    }

    /// Deletes the references of a forgotten job, and the files to which no other job refers.
    pub(crate) fn sweep(&self, job: JobId) -> Result<(), BlobError> {
        let mut digests = Vec::new();
        self.store.scan(Table::Payload, &job.0[..]..&after(&job.0), &mut |key, _| {
            digests.extend(key.get(16..).and_then(|digest| digest.try_into().ok()).map(Digest::from_bytes));
            true
        })?;
        for digest in digests {
            let mut used = self.used();
            self.store.commit(&[
                Change::remove(Table::Payload, of_job(job, &digest)),
                Change::remove(Table::Referrer, of_payload(&digest, job)),
            ])?;
            if !self.is_needed(&digest)? {
                let path = self.path(&digest);
                let length = std::fs::metadata(&path).map_or(0, |about| about.len());
                if std::fs::remove_file(&path).is_ok() {
                    *used = used.saturating_sub(length);
                }
            }
        }
        Ok(())
    }

    fn is_needed(&self, digest: &Digest) -> Result<bool, StoreError> {
        let mut needed = false;
        let range = digest.as_bytes()[..].to_vec();
        self.store.scan(Table::Referrer, &range[..]..&after(&range), &mut |_, _| {
            needed = true;
            false
        })?;
        Ok(needed)
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.folder.join(digest.to_string())
    }

    fn used(&self) -> MutexGuard<'_, u64> {
        self.used.lock()
    }
}

/// The blob's length in bytes, checked against [`MESSAGE_BYTES_MAX`].
pub(crate) fn bounded(payload: &BlobRef) -> Result<usize, BlobError> {
    let length = usize::try_from(payload.length).ok().filter(|length| *length <= MESSAGE_BYTES_MAX);
    length.ok_or(BlobError::TooLong(payload.length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStore;

    #[test]
    fn a_payload_stays_as_long_as_a_job_has_it_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&folder.path().join("store")).unwrap());
        let payloads = BlobStore::open(folder.path(), store.clone()).unwrap();
        let bytes = Bytes::from(vec![7; 1000]);
        let stored = BlobRef::of(&bytes);
        let (one, two) = (JobId([1; 16]), JobId([2; 16]));
        payloads.keep(one, stored, &bytes).unwrap();
        payloads.keep(two, stored, &bytes).unwrap();
        let wrong = BlobRef { length: 999, ..stored };
        assert!(matches!(payloads.keep(one, wrong, &bytes), Err(BlobError::WrongDigest)));
        assert!(payloads.has(one, &stored).unwrap());
        for length in [0, 999, 1001, u64::MAX] {
            assert!(!payloads.has(one, &BlobRef { length, ..stored }).unwrap(), "{length}");
        }
        payloads.sweep(one).unwrap();
        assert_eq!(payloads.fetch(one, &stored).unwrap(), None);
        // As if power was lost after the file was written and before anything referred to it.
        replace(&payloads.path(&Digest::of(b"orphan")), b"orphan").unwrap();
        let payloads = BlobStore::open(folder.path(), store).unwrap();
        assert!(!payloads.path(&Digest::of(b"orphan")).exists());
        assert_eq!(payloads.fetch(two, &stored).unwrap(), Some(bytes));
        payloads.sweep(two).unwrap();
        assert!(!payloads.path(&stored.digest).exists());
        assert_eq!(*payloads.used(), 0);
    }
}
