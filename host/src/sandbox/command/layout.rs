//! Layout in guest memory of what the calls return about files and folders.
//!
//! # Source
//!
//! WASI preview 1: `fdstat`, `filestat`, `dirent`, `rights`.

use super::errno::Errno;
use super::mem_fs::{FIRST_NUMBER, Id, MemFs, Stat};
use super::wasi_process::Open;

/// Fills `room` with a folder's entries after `cookie`; returns the number of bytes filled. The last entry may be cut,
/// which tells the guest to call again.
pub(super) fn list(fs: &MemFs, folder: Id, cookie: u64, room: &mut [u8]) -> Result<usize, Errno> {
    let own = fs.stat(folder)?.number;
    let names = fs.list(folder, cookie.max(FIRST_NUMBER))?;
    let dots = [(1, ".", own), (2, "..", own)];
    let dots = dots.into_iter().filter(|(next, ..)| *next > cookie);
    let dots = dots.map(|(next, name, number)| (next, name, number, KIND_FOLDER));
    let kind = |is_folder: bool| if is_folder { KIND_FOLDER } else { KIND_FILE };
    let names = names.into_iter().map(|(number, name, is_folder)| (number, name, number, kind(is_folder)));
    let mut left = &mut *room;
    for (next, name, number, kind) in dots.chain(names) {
        let mut head = [0; 24];
        let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
        set(&mut head, 0, &next.to_le_bytes());
        set(&mut head, 8, &number.to_le_bytes());
        set(&mut head, 16, &length.to_le_bytes());
        set(&mut head, 20, &[kind]);
        for part in [&head[..], name.as_bytes()] {
            let (place, rest) = left.split_at_mut(part.len().min(left.len()));
            place.copy_from_slice(part.get(..place.len()).unwrap_or_default());
            left = rest;
        }
        if left.is_empty() {
            break;
        }
    }
    let unfilled = left.len();
    Ok(room.len() - unfilled)
}

pub(super) fn kind(open: Open) -> u8 {
    match open {
        Open::Input(_) | Open::File(_) => KIND_FILE,
        Open::Answer | Open::Log => KIND_UNKNOWN,
        Open::Folder { .. } => KIND_FOLDER,
    }
}

pub(super) fn fdstat(open: Open) -> [u8; 24] {
    let (rights, append) = match open {
        Open::Input(_) => (RIGHTS_FILE & !RIGHTS_WRITING, false),
        Open::Answer | Open::Log => (RIGHT_WRITE | RIGHT_POLL, false),
        Open::File(file) => {
            let unread = if file.read { 0 } else { RIGHT_READ };
            let unwritten = if file.write { 0 } else { RIGHTS_WRITING };
            (RIGHTS_FILE & !unread & !unwritten, file.append)
        }
        Open::Folder { .. } => (RIGHTS_FOLDER, false),
    };
    // What is opened in a folder may have all rights.
    let inheriting = if let Open::Folder { .. } = open { RIGHTS_FILE | RIGHTS_FOLDER } else { 0 };
    let mut stat = [0; 24];
    set(&mut stat, 0, &[kind(open)]);
    set(&mut stat, 2, &[u8::from(append), 0]);
    set(&mut stat, 8, &rights.to_le_bytes());
    set(&mut stat, 16, &inheriting.to_le_bytes());
    stat
}

pub(super) fn filestat(stat: Stat, kind: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    set(&mut bytes, 8, &stat.number.to_le_bytes());
    set(&mut bytes, 16, &[kind]);
    set(&mut bytes, 24, &1u64.to_le_bytes());
    set(&mut bytes, 32, &stat.size.to_le_bytes());
    set(&mut bytes, 40, &stat.times.accessed.to_le_bytes());
    set(&mut bytes, 48, &stat.times.modified.to_le_bytes());
    set(&mut bytes, 56, &stat.times.changed.to_le_bytes());
    bytes
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|bytes| bytes.get_mut(..value.len())) {
        place.copy_from_slice(value);
    }
}

pub(super) const KIND_UNKNOWN: u8 = 0;
pub(super) const KIND_FOLDER: u8 = 3;
pub(super) const KIND_FILE: u8 = 4;

pub(super) const RIGHT_READ: i64 = 1 << 1;
pub(super) const RIGHT_WRITE: i64 = 1 << 6;
const RIGHT_POLL: i64 = 1 << 27;

/// `fd_datasync`, `fd_write`, `fd_allocate`, `fd_filestat_set_size`.
const RIGHTS_WRITING: i64 = 1 | RIGHT_WRITE | 1 << 8 | 1 << 22;

/// Rights of a file: all `fd_` calls but `fd_readdir`.
const RIGHTS_FILE: i64 = 0x1ff | 1 << 21 | 1 << 22 | 1 << 23 | RIGHT_POLL;

/// Rights of a folder: all `path_` calls, `fd_readdir`, and what files and folders have in common.
const RIGHTS_FOLDER: i64 = 0x07ff_fe00 | 1 << 3 | 1 << 4 | 1 << 21 | 1 << 23;
