//! The audit log: who did what, on disk, with a bound.
//!
//! An entry is taken in at once and written within moments, many in one commit. Requests do not wait for it: while the
//! disk is full, things must still be stopped and removed. What is lost then is counted, and the count is an entry.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use grid_protocol::activity::{AuditEntry, EVENT_TEXT_BYTES_MAX};
use grid_protocol::key::PublicKey;
use grid_protocol::wire::Wire;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::store::{Change, Store, StoreError, Table};

/// Entries on disk: some megabytes.
const KEPT_MAX: u64 = 20_000;

/// Entries that wait for the disk.
const WAITING_MAX: usize = 1000;

/// Refusals of one key that are written in a minute; the others are counted in its next entry.
const REFUSALS_A_MINUTE: u32 = 10;

/// Keys whose refusals are counted.
const COUNTED_KEYS_MAX: usize = 256;

/// Pause after a commit; entries gather meanwhile.
const LINGER: Duration = Duration::from_millis(20);

/// Pause after a commit that failed.
const TROUBLE_PAUSE: Duration = Duration::from_secs(1);

/// What somebody did, or tried to do.
#[derive(Debug)]
pub(crate) struct Deed {
    pub(crate) unix: u64,
    pub(crate) key: PublicKey,
    pub(crate) via: &'static str,
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    /// Why it was refused; `None` if it was done.
    pub(crate) refused: Option<String>,
}

/// The audit log.
pub(crate) struct AuditLog {
    store: Arc<dyn Store>,
    tail: Mutex<Tail>,
    wake: Notify,
}

/// What is not on disk yet.
#[derive(Debug, Default)]
struct Tail {
    /// The number of the newest entry.
    newest: u64,
    waiting: VecDeque<AuditEntry>,
    /// Entries that found no room here.
    lost: u64,
    /// Refusals in this minute, by key.
    refusals: Vec<(PublicKey, u32)>,
    minute: u64,
}

impl AuditLog {
    /// The log in this store.
    pub(crate) fn open(store: Arc<dyn Store>) -> Result<Self, StoreError> {
        let mut newest = 0;
        store.scan(Table::Audit, &[]..&number(u64::MAX), &mut |key, _| {
            newest = key.try_into().map_or(newest, u64::from_be_bytes);
            true
        })?;
        let tail = Mutex::new(Tail { newest, ..Tail::default() });
        Ok(Self { store, tail, wake: Notify::new() })
    }

    /// Takes an entry in. Refusals of a key that is refused all the time are not all taken.
    pub(crate) fn record(&self, deed: Deed) {
        self.tail.lock().take(deed);
        self.wake.notify_one();
    }

    /// Writes what is taken in, until the manager ends; never returns. `commit` runs on a thread that may block on the
    /// disk.
    pub(crate) async fn run<F, W>(self: Arc<Self>, commit: F)
    where
        F: Fn(Arc<Self>) -> W,
        W: Future<Output = Result<(), StoreError>>,
    {
        loop {
            self.wake.notified().await;
            while self.is_waiting() {
                match commit(self.clone()).await {
                    Ok(()) => sleep(LINGER).await,
                    // The store's trouble is announced by the group commit.
                    Err(_) => sleep(TROUBLE_PAUSE).await,
                }
            }
        }
    }

    fn is_waiting(&self) -> bool {
        !self.tail.lock().waiting.is_empty()
    }

    /// Writes what waits, and removes the oldest entries beyond the bound. Blocks on the disk.
    pub(crate) fn write(&self) -> Result<(), StoreError> {
        let entries: Vec<_> = self.tail.lock().waiting.iter().cloned().collect();
        let mut changes = Vec::with_capacity(2 * entries.len());
        for entry in &entries {
            changes.push(Change::put(Table::Audit, number(entry.seq), entry.to_body()));
            if let Some(old) = entry.seq.checked_sub(KEPT_MAX) {
                changes.push(Change::remove(Table::Audit, number(old)));
            }
        }
        self.store.commit(&changes)?;
        let mut tail = self.tail.lock();
        let written = entries.last().map_or(0, |entry| entry.seq);
        while tail.waiting.front().is_some_and(|entry| entry.seq <= written) {
            tail.waiting.pop_front();
        }
        Ok(())
    }

    /// At most `most` entries below the number `before` (0: from the newest), newest first. Blocks on the disk.
    pub(crate) fn list(&self, before: u64, most: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let (newest, mut entries) = {
            let tail = self.tail.lock();
            (tail.newest, tail.waiting.iter().cloned().collect::<Vec<_>>())
        };
        let before = if before == 0 { newest.saturating_add(1) } else { before };
        let from = before.saturating_sub(u64::try_from(most).unwrap_or(u64::MAX));
        let (low, high) = (number(from), number(before));
        let range: Range<&[u8]> = &low..&high;
        self.store.scan(Table::Audit, range, &mut |_, value| {
            entries.extend(AuditEntry::from_body(value).ok());
            true
        })?;
        entries.retain(|entry| (from..before).contains(&entry.seq));
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.seq));
        entries.dedup_by_key(|entry| entry.seq);
        entries.truncate(most);
        Ok(entries)
    }
}

impl Tail {
    fn take(&mut self, deed: Deed) {
        let Deed { unix, key, via, action, mut subject, refused } = deed;
        if refused.is_some() && !self.may_be_refused(unix, key) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX {
            self.lost += 1;
            return;
        }
        if self.lost > 0 {
            let subject = format!("{} entries were lost: the disk took none", std::mem::take(&mut self.lost));
            self.push(AuditEntry {
                seq: 0,
                unix,
                key,
                via: "manager".to_owned(),
                action: "audit".to_owned(),
                subject,
                refused: None,
            });
        }
        subject.truncate(subject.floor_char_boundary(EVENT_TEXT_BYTES_MAX));
        let refused = refused.map(|mut why| {
            why.truncate(why.floor_char_boundary(EVENT_TEXT_BYTES_MAX));
            why
        });
        let (via, action) = (via.to_owned(), action.to_owned());
        self.push(AuditEntry { seq: 0, unix, key, via, action, subject, refused });
    }

    fn push(&mut self, entry: AuditEntry) {
        self.newest += 1;
        self.waiting.push_back(AuditEntry { seq: self.newest, ..entry });
    }

    fn may_be_refused(&mut self, unix: u64, key: PublicKey) -> bool {
        if unix / 60 != self.minute {
            self.minute = unix / 60;
            self.refusals.clear();
        }
        if let Some((_, count)) = self.refusals.iter_mut().find(|(refused, _)| *refused == key) {
            *count += 1;
            return *count <= REFUSALS_A_MINUTE;
        }
        let has_room = self.refusals.len() < COUNTED_KEYS_MAX;
        if has_room {
            self.refusals.push((key, 1));
        }
        has_room
    }
}

fn number(seq: u64) -> [u8; 8] {
    seq.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FileStore;
    use grid_protocol::key::SecretKey;

    fn deed(unix: u64, subject: &str, refused: Option<&str>) -> Deed {
        let key = SecretKey::from_seed(&[1; 32]).public();
        let refused = refused.map(str::to_owned);
        Deed { unix, key, via: "client", action: "key trust", subject: subject.to_owned(), refused }
    }

    fn open(folder: &std::path::Path) -> AuditLog {
        AuditLog::open(Arc::new(FileStore::open(&folder.join("store")).unwrap())).unwrap()
    }

    fn subjects(log: &AuditLog, before: u64, most: usize) -> Vec<(u64, String)> {
        let entries = log.list(before, most).unwrap();
        entries.into_iter().map(|entry| (entry.seq, entry.subject)).collect()
    }

    #[test]
    fn entries_outlive_the_manager_and_are_numbered_on() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        log.record(deed(1, "a", None));
        log.record(deed(2, "b", None));
        log.write().unwrap();
        log.record(deed(3, "not on disk", None));
        assert_eq!(subjects(&log, 0, 10).len(), 3);
        drop(log);
        let log = open(folder.path());
        log.record(deed(4, "c", None));
        let expected = [(3, "c".to_owned()), (2, "b".to_owned()), (1, "a".to_owned())];
        assert_eq!(subjects(&log, 0, 10), expected);
        assert_eq!(subjects(&log, 3, 1), [(2, "b".to_owned())]);
    }

    #[test]
    fn the_log_has_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        log.tail.lock().newest = KEPT_MAX - 1;
        for number in 0..4 {
            log.record(deed(number, "x", None));
            log.write().unwrap();
        }
        log.tail.lock().newest = 2 * KEPT_MAX - 1;
        for number in 0..3 {
            log.record(deed(number, "y", None));
        }
        log.write().unwrap();
        let kept: Vec<_> = log.list(KEPT_MAX + 100, 1000).unwrap().iter().map(|entry| entry.seq).collect();
        assert_eq!(kept, [KEPT_MAX + 3], "those that are {KEPT_MAX} older than the newest three are gone");
    }

    #[test]
    fn whoever_is_refused_all_the_time_does_not_push_others_out() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        (0..500).for_each(|_| log.record(deed(60, "x", Some("no"))));
        log.record(deed(60, "done", None));
        assert_eq!(subjects(&log, 0, 1000).len(), REFUSALS_A_MINUTE as usize + 1);
        log.record(deed(120, "x", Some("no")));
        assert_eq!(subjects(&log, 0, 1000).len(), REFUSALS_A_MINUTE as usize + 2);
    }

    #[test]
    fn a_disk_that_takes_nothing_costs_no_memory_and_the_loss_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path());
        (0..WAITING_MAX + 7).for_each(|_| log.record(deed(60, "x", None)));
        log.write().unwrap();
        log.record(deed(61, "y", None));
        let newest = subjects(&log, 0, 2);
        assert!(newest[1].1.starts_with("7 entries were lost"), "{newest:?}");
        assert_eq!(newest[0].1, "y");
    }
}
