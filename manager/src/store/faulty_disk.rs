//! A simulated disk for crash tests: a power loss forgets what was not synced, and tears writes.

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use redb::StorageBackend;

/// A simulated disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct FaultyDisk(Arc<Mutex<DiskImage>>);

#[derive(Debug)]
struct DiskImage {
    /// What survives a power loss.
    kept: Vec<u8>,
    /// What a program reads: includes writes that a power loss may still undo.
    seen: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// The number of the handle that works; every earlier one fails.
    plugged: u64,
    /// Writes, syncs and length changes left until power is lost.
    until_loss: Option<u64>,
    lies: bool,
    dice: u64,
}

#[derive(Debug)]
enum Unsynced {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// Bytes that a torn write keeps or loses as a whole.
const SECTOR: usize = 512;

impl FaultyDisk {
    /// An empty disk. The same seed loses the same sectors.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(DiskImage {
            kept: Vec::new(),
            seen: Vec::new(),
            unsynced: Vec::new(),
            plugged: 0,
            until_loss: None,
            lies: false,
            // The generator must not start at zero, where it stays.
            dice: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        })))
    }

    /// Returns a handle for a store. All earlier handles fail from now on.
    pub fn plug_in(&self) -> impl StorageBackend + use<> {
        let mut platter = self.lock();
        platter.plugged += 1;
        Handle { disk: self.clone(), number: platter.plugged }
    }

    /// Makes syncs report success without syncing.
    pub fn lie(&self) {
        self.lock().lies = true;
    }

    /// Loses power at the `operations`-th write, sync or length change from now; that one fails, and all later ones.
    pub fn lose_power_after(&self, operations: u64) {
        self.lock().until_loss = Some(operations);
    }

    /// True from the loss that [`Self::lose_power_after`] set up until [`Self::lose_power`] or [`Self::kill`].
    pub fn is_dead(&self) -> bool {
        self.lock().until_loss == Some(0)
    }

    /// Loses power now: each unsynced sector is kept or lost at random.
    pub fn lose_power(&self) {
        let mut platter = self.lock();
        platter.plugged += 1;
        platter.until_loss = None;
        for unsynced in std::mem::take(&mut platter.unsynced) {
            platter.keep_some(unsynced);
        }
        platter.seen = platter.kept.clone();
    }

    /// Kills the program but not the machine: every write is kept.
    pub fn kill(&self) {
        let mut platter = self.lock();
        platter.plugged += 1;
        platter.until_loss = None;
    }

    fn lock(&self) -> MutexGuard<'_, DiskImage> {
        self.0.lock()
    }
}

impl DiskImage {
    fn heads(&mut self) -> bool {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice >> 63 == 1
    }

    fn keep_some(&mut self, unsynced: Unsynced) {
        match unsynced {
            Unsynced::Write { at, bytes } => {
                for (number, sector) in bytes.chunks(SECTOR).enumerate() {
                    if self.heads() {
                        write(&mut self.kept, at + number * SECTOR, sector);
                    }
                }
            }
            Unsynced::Length(length) => {
                if self.heads() {
                    self.kept.resize(length, 0);
                }
            }
        }
    }

    fn sync(&mut self) {
        if self.lies {
            return;
        }
        for unsynced in self.unsynced.drain(..) {
            match unsynced {
                Unsynced::Write { at, bytes } => write(&mut self.kept, at, &bytes),
                Unsynced::Length(length) => self.kept.resize(length, 0),
            }
        }
    }
}

fn write(image: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at + bytes.len();
    if end > image.len() {
        image.resize(end, 0);
    }
    if let Some(place) = image.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

#[derive(Debug)]
struct Handle {
    disk: FaultyDisk,
    number: u64,
}

impl Handle {
    fn platter(&self) -> io::Result<MutexGuard<'_, DiskImage>> {
        let platter = self.disk.lock();
        if platter.plugged == self.number && platter.until_loss != Some(0) {
            Ok(platter)
        } else {
            Err(io::Error::other("power was lost"))
        }
    }

    /// The disk, for a caller that changes it; power may be lost just before the change.
    fn changing(&self) -> io::Result<MutexGuard<'_, DiskImage>> {
        let mut platter = self.platter()?;
        platter.until_loss = platter.until_loss.map(|left| left - 1);
        if platter.until_loss == Some(0) { Err(io::Error::other("power was lost")) } else { Ok(platter) }
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl StorageBackend for Handle {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.platter()?.seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let platter = self.platter()?;
        let from = place(offset);
        let range = from..from.saturating_add(out.len());
        let bytes = platter.seen.get(range).ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        let mut platter = self.changing()?;
        platter.seen.resize(place(length), 0);
        platter.unsynced.push(Unsynced::Length(place(length)));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        self.changing()?.sync();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut platter = self.changing()?;
        write(&mut platter.seen, place(offset), data);
        platter.unsynced.push(Unsynced::Write { at: place(offset), bytes: data.to_vec() });
        Ok(())
    }
}
