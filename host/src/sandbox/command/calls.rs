//! The calls of WASI preview 1 that are about arguments, descriptors and files, on a [`Process`].
//!
//! # Source
//!
//! WASI preview 1: the numbers, and how what is written to the guest's memory is laid out. What a guest asks of rights
//! is ignored, but for reading and writing of a file.

use wasmtime::{Caller, Linker, Result};

use super::errno::Errno;
use super::process::{Open, OpenFile, Process, Refused, Whence, now};
use super::tree::{FIRST_NUMBER, How, Stat, Tree};
use crate::sandbox::failure::Stop;
use crate::sandbox::guest::{Guest, GuestSlice};

/// Buffers of one read or write that are looked at, as many as most systems take; the call is then short. A guest may
/// name 30 million of them, all empty.
const BUFFERS_MAX: u32 = 1024;

/// Replaces the calls that `linker` has by these.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    link_arguments(linker)?;
    link_descriptors(linker)?;
    link_transfers(linker)?;
    link_paths(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

const WASI: &str = "wasi_snapshot_preview1";

type Done = Result<(), Refused>;

/// Does a call on the guest's process and memory; its result is the errno, or the end of the guest.
fn call(
    mut caller: Caller<'_, Guest>,
    work: impl FnOnce(&mut Process, &mut Memory<'_>) -> Done,
) -> Result<i32> {
    let Some(memory) = caller.data().memory else {
        // A start function that calls before there is an instance has nothing that could be read or written.
        return Ok(Errno::Badf.code());
    };
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let done = match &mut guest.process {
        Some(process) => work(process, &mut Memory(bytes)),
        None => Err(Errno::Badf.into()),
    };
    match done {
        Ok(()) => Ok(0),
        Err(Refused::Errno(errno)) => Ok(errno.code()),
        Err(Refused::Stop(stop)) => Err(stop.into()),
    }
}

fn link_arguments(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(WASI, "args_sizes_get", |caller: Caller<'_, Guest>, count: i32, size: i32| {
        call(caller, |process, memory| {
            let bytes: usize = process.arguments.iter().map(|argument| argument.len() + 1).sum();
            memory.put_u32(count, process.arguments.len())?;
            memory.put_u32(size, bytes)
        })
    })?;
    linker.func_wrap(WASI, "args_get", |caller: Caller<'_, Guest>, mut pointers: i32, mut text: i32| {
        call(caller, |process, memory| {
            for argument in &process.arguments {
                memory.put(pointers, &text.to_le_bytes())?;
                memory.put(text, argument.as_bytes())?;
                text = text.wrapping_add(i32::try_from(argument.len()).unwrap_or(i32::MAX));
                memory.put(text, &[0])?;
                (pointers, text) = (pointers.wrapping_add(4), text.wrapping_add(1));
            }
            Ok(())
        })
    })?;
    Ok(())
}

fn link_descriptors(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(WASI, "fd_advise", |caller: Caller<'_, Guest>, fd: i32, _: i64, _: i64, _: i32| {
        call(caller, |process, _| Ok(process.descriptor(fd).map(drop)?))
    })?;
    linker.func_wrap(WASI, "fd_allocate", |caller: Caller<'_, Guest>, fd: i32, at: i64, length: i64| {
        call(caller, |process, _| {
            let file = process.writable(fd)?;
            let size = at.cast_unsigned().checked_add(length.cast_unsigned()).ok_or(Errno::Fbig)?;
            Ok(process.tree()?.allocate(file.id, size, now())?)
        })
    })?;
    linker.func_wrap(WASI, "fd_close", |caller: Caller<'_, Guest>, fd: i32| {
        call(caller, |process, _| Ok(process.close(fd)?))
    })?;
    for name in ["fd_datasync", "fd_sync"] {
        linker.func_wrap(WASI, name, |caller: Caller<'_, Guest>, fd: i32| {
            call(caller, |process, _| Ok(process.descriptor(fd).map(drop)?))
        })?;
    }
    linker.func_wrap(WASI, "fd_fdstat_get", |caller: Caller<'_, Guest>, fd: i32, out: i32| {
        call(caller, |process, memory| memory.put(out, &fdstat(process.descriptor(fd)?)))
    })?;
    linker.func_wrap(WASI, "fd_fdstat_set_flags", |caller: Caller<'_, Guest>, fd: i32, flags: i32| {
        call(caller, |process, _| Ok(process.set_append(fd, flags & FLAG_APPEND != 0)?))
    })?;
    linker.func_wrap(
        WASI,
        "fd_fdstat_set_rights",
        |caller: Caller<'_, Guest>, fd: i32, _: i64, _: i64| {
            call(caller, |process, _| Ok(process.descriptor(fd).map(drop)?))
        },
    )?;
    linker.func_wrap(WASI, "fd_filestat_get", |caller: Caller<'_, Guest>, fd: i32, out: i32| {
        call(caller, |process, memory| {
            let kind = kind(process.descriptor(fd)?);
            memory.put(out, &filestat(process.stat(fd)?, kind))
        })
    })?;
    linker.func_wrap(WASI, "fd_filestat_set_size", |caller: Caller<'_, Guest>, fd: i32, size: i64| {
        call(caller, |process, _| {
            let file = process.writable(fd)?;
            Ok(process.tree()?.resize(file.id, size.cast_unsigned(), now())?)
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_filestat_set_times",
        |caller: Caller<'_, Guest>, fd: i32, accessed: i64, modified: i64, flags: i32| {
            call(caller, |process, _| {
                let id = match process.descriptor(fd)? {
                    Open::Folder { id, .. } => id,
                    _ => process.file(fd)?.id,
                };
                set_times(process.tree()?, id, accessed, modified, flags)
            })
        },
    )?;
    linker.func_wrap(WASI, "fd_prestat_get", |caller: Caller<'_, Guest>, fd: i32, out: i32| {
        call(caller, |process, memory| {
            preopened(process, fd)?;
            memory.put_u32(out, 0)?;
            memory.put_u32(out.wrapping_add(4), ROOT_NAME.len())
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_prestat_dir_name",
        |caller: Caller<'_, Guest>, fd: i32, out: i32, room: i32| {
            call(caller, |process, memory| {
                preopened(process, fd)?;
                if room.cast_unsigned() < 1 {
                    return Err(Errno::Nametoolong.into());
                }
                memory.put(out, ROOT_NAME)
            })
        },
    )?;
    linker.func_wrap(WASI, "fd_renumber", |caller: Caller<'_, Guest>, from: i32, to: i32| {
        call(caller, |process, _| Ok(process.renumber(from, to)?))
    })?;
    Ok(())
}

fn link_transfers(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "fd_read",
        |caller: Caller<'_, Guest>, fd: i32, buffers: i32, count: i32, out: i32| {
            call(caller, |process, memory| {
                let read = memory.scatter(buffers, count, process.readable(fd, None)?)?;
                process.advance(fd, read);
                memory.put_u32(out, read)
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_pread",
        |caller: Caller<'_, Guest>, fd: i32, buffers: i32, count: i32, at: i64, out: i32| {
            call(caller, |process, memory| {
                let bytes = process.readable(fd, Some(at.cast_unsigned()))?;
                let read = memory.scatter(buffers, count, bytes)?;
                memory.put_u32(out, read)
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_write",
        |caller: Caller<'_, Guest>, fd: i32, buffers: i32, count: i32, out: i32| {
            call(caller, |process, memory| {
                let written = write(process, memory, fd, (buffers, count), None)?;
                memory.put_u32(out, written)
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_pwrite",
        |caller: Caller<'_, Guest>, fd: i32, buffers: i32, count: i32, at: i64, out: i32| {
            call(caller, |process, memory| {
                let written = write(process, memory, fd, (buffers, count), Some(at.cast_unsigned()))?;
                memory.put_u32(out, written)
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "fd_seek",
        |caller: Caller<'_, Guest>, fd: i32, offset: i64, whence: i32, out: i32| {
            call(caller, |process, memory| {
                let whence = match whence {
                    0 => Whence::Start,
                    1 => Whence::Here,
                    2 => Whence::End,
                    _ => return Err(Errno::Inval.into()),
                };
                let place = process.seek(fd, offset, whence)?;
                memory.put(out, &place.to_le_bytes())
            })
        },
    )?;
    linker.func_wrap(WASI, "fd_tell", |caller: Caller<'_, Guest>, fd: i32, out: i32| {
        call(caller, |process, memory| {
            let place = process.seek(fd, 0, Whence::Here)?;
            memory.put(out, &place.to_le_bytes())
        })
    })?;
    linker.func_wrap(
        WASI,
        "fd_readdir",
        |caller: Caller<'_, Guest>, fd: i32, out: i32, room: i32, cookie: i64, used: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                let room = memory.slice_mut(out, room)?;
                let length = list(process.tree()?, folder, cookie.cast_unsigned(), room)?;
                memory.put_u32(used, length)
            })
        },
    )?;
    Ok(())
}

fn link_paths(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "path_open",
        |caller: Caller<'_, Guest>,
         fd: i32,
         _lookup: i32,
         path: i32,
         length: i32,
         flags: i32,
         rights: i64,
         _inheriting: i64,
         descriptor_flags: i32,
         out: i32| {
            call(caller, |process, memory| {
                let write = rights & RIGHT_WRITE != 0;
                let how = How {
                    create: flags & OPEN_CREATE != 0,
                    exclusive: flags & OPEN_EXCLUSIVE != 0,
                    truncate: flags & OPEN_TRUNCATE != 0,
                    folder: flags & OPEN_FOLDER != 0,
                    write,
                };
                let file = OpenFile {
                    id: super::tree::ROOT,
                    at: 0,
                    append: descriptor_flags & FLAG_APPEND != 0,
                    read: rights & RIGHT_READ != 0,
                    write,
                };
                let opened = process.open(fd, memory.slice(path, length)?, how, file)?;
                memory.put_u32(out, opened)
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "path_filestat_get",
        |caller: Caller<'_, Guest>, fd: i32, _lookup: i32, path: i32, length: i32, out: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                let tree = process.tree()?;
                let stat = tree.look_up(folder, memory.slice(path, length)?).and_then(|id| tree.stat(id))?;
                memory.put(out, &filestat(stat, if stat.is_folder { KIND_FOLDER } else { KIND_FILE }))
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "path_filestat_set_times",
        |caller: Caller<'_, Guest>,
         fd: i32,
         _lookup: i32,
         path: i32,
         length: i32,
         accessed: i64,
         modified: i64,
         flags: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                let tree = process.tree()?;
                let id = tree.look_up(folder, memory.slice(path, length)?)?;
                set_times(tree, id, accessed, modified, flags)
            })
        },
    )?;
    let on_path = [
        ("path_create_directory", Tree::make_folder as OnPath),
        ("path_remove_directory", Tree::remove_folder),
        ("path_unlink_file", Tree::unlink),
    ];
    for (name, work) in on_path {
        linker.func_wrap(WASI, name, move |caller: Caller<'_, Guest>, fd: i32, path: i32, length: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                Ok(work(process.tree()?, folder, memory.slice(path, length)?, now())?)
            })
        })?;
    }
    linker.func_wrap(
        WASI,
        "path_rename",
        |caller: Caller<'_, Guest>,
         fd: i32,
         path: i32,
         length: i32,
         new_fd: i32,
         new_path: i32,
         new_length: i32| {
            call(caller, |process, memory| {
                let from = (process.folder(fd)?, memory.slice(path, length)?);
                let to = (process.folder(new_fd)?, memory.slice(new_path, new_length)?);
                Ok(process.tree()?.rename(from, to, now())?)
            })
        },
    )?;
    link_links(linker)
}

/// There are no links here: nothing makes one, and nothing is one.
fn link_links(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "path_readlink",
        |caller: Caller<'_, Guest>, fd: i32, path: i32, length: i32, _out: i32, _room: i32, _used: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                process.tree()?.look_up(folder, memory.slice(path, length)?)?;
                Err(Errno::Inval.into())
            })
        },
    )?;
    linker.func_wrap(
        WASI,
        "path_symlink",
        |caller: Caller<'_, Guest>, _target: i32, _: i32, fd: i32, _path: i32, _: i32| {
            call(caller, |process, _| process.folder(fd).and(Err(Errno::Perm)).map_err(Refused::from))
        },
    )?;
    linker.func_wrap(
        WASI,
        "path_link",
        |caller: Caller<'_, Guest>,
         fd: i32,
         _lookup: i32,
         _path: i32,
         _: i32,
         _to: i32,
         _new: i32,
         _: i32| {
            call(caller, |process, _| process.folder(fd).and(Err(Errno::Perm)).map_err(Refused::from))
        },
    )?;
    Ok(())
}

type OnPath = fn(&mut Tree, super::tree::Id, &[u8], u64) -> Result<(), Errno>;

/// What a guest says lies in its memory, and where it wants something.
struct Memory<'a>(&'a mut [u8]);

impl Memory<'_> {
    fn slice(&self, pointer: i32, length: i32) -> Result<&[u8], Stop> {
        let place = GuestSlice::new(pointer, length).check(self.0.len())?;
        Ok(self.0.get(place).unwrap_or_default())
    }

    fn slice_mut(&mut self, pointer: i32, length: i32) -> Result<&mut [u8], Stop> {
        let place = GuestSlice::new(pointer, length).check(self.0.len())?;
        Ok(self.0.get_mut(place).unwrap_or_default())
    }

    fn put(&mut self, pointer: i32, bytes: &[u8]) -> Done {
        let length = i32::try_from(bytes.len()).unwrap_or(-1);
        self.slice_mut(pointer, length)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Puts a number that is bounded far below what 32 bits hold.
    fn put_u32(&mut self, pointer: i32, number: usize) -> Done {
        self.put(pointer, &u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes())
    }

    /// One of the buffers of a list that has been checked.
    fn buffer(&self, buffers: i32, index: u32) -> Result<(i32, i32), Stop> {
        let place = buffers.wrapping_add((index * 8).cast_signed());
        let (pointer, length) = self.slice(place, 8)?.split_at_checked(4).unwrap_or_default();
        let number = |bytes: &[u8]| i32::from_le_bytes(bytes.try_into().unwrap_or_default());
        Ok((number(pointer), number(length)))
    }

    /// How many buffers of a list are looked at; all of the list lies in memory.
    fn buffers(&self, buffers: i32, count: i32) -> Result<u32, Stop> {
        let count = count.cast_unsigned();
        let length = count.checked_mul(8).map_or(-1, u32::cast_signed);
        self.slice(buffers, length)?;
        Ok(count.min(BUFFERS_MAX))
    }

    /// Copies bytes into buffers, as many as fit; how many that were.
    fn scatter(&mut self, buffers: i32, count: i32, bytes: &[u8]) -> Result<usize, Stop> {
        let mut left = bytes;
        for index in 0..self.buffers(buffers, count)? {
            let (pointer, length) = self.buffer(buffers, index)?;
            let place = self.slice_mut(pointer, length)?;
            let (now, later) = left.split_at(place.len().min(left.len()));
            if let Some(place) = place.get_mut(..now.len()) {
                place.copy_from_slice(now);
            }
            left = later;
        }
        Ok(bytes.len() - left.len())
    }
}

/// Writes what is in buffers; how much of it was written. A write that fails after some of it is short.
fn write(
    process: &mut Process,
    memory: &Memory<'_>,
    fd: i32,
    (buffers, count): (i32, i32),
    at: Option<u64>,
) -> Result<usize, Refused> {
    process.descriptor(fd)?;
    let mut total = 0;
    for index in 0..memory.buffers(buffers, count)? {
        let (pointer, length) = memory.buffer(buffers, index)?;
        let bytes = memory.slice(pointer, length)?;
        let at = at.map(|at| at.saturating_add(total as u64));
        match process.write(fd, at, bytes) {
            Ok(written) => {
                total += written;
                if written < bytes.len() {
                    break;
                }
            }
            Err(Refused::Errno(_)) if total > 0 => break,
            Err(refused) => return Err(refused),
        }
    }
    Ok(total)
}

/// Fills `room` with what a folder has after `cookie`; how much of it was filled. The last entry may be cut, which
/// tells the guest to ask again.
fn list(tree: &Tree, folder: super::tree::Id, cookie: u64, room: &mut [u8]) -> Result<usize, Errno> {
    let own = tree.stat(folder)?.number;
    let names = tree.list(folder, cookie.max(FIRST_NUMBER))?;
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

fn preopened(process: &Process, fd: i32) -> Result<(), Errno> {
    match process.descriptor(fd)? {
        Open::Folder { preopened: true, .. } => Ok(()),
        _ => Err(Errno::Badf),
    }
}

fn set_times(tree: &mut Tree, id: super::tree::Id, accessed: i64, modified: i64, flags: i32) -> Done {
    let now = now();
    let time = |given: i64, set: i32, set_now: i32| match (flags & set != 0, flags & set_now != 0) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(given.cast_unsigned())),
        (false, true) => Ok(Some(now)),
        (false, false) => Ok(None),
    };
    Ok(tree.set_times(id, time(accessed, 1, 2)?, time(modified, 4, 8)?, now)?)
}

fn kind(open: Open) -> u8 {
    match open {
        Open::Input(_) | Open::File(_) => KIND_FILE,
        Open::Answer | Open::Log => KIND_UNKNOWN,
        Open::Folder { .. } => KIND_FOLDER,
    }
}

fn fdstat(open: Open) -> [u8; 24] {
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
    // What is opened from a folder may have whatever there is.
    let inheriting = if let Open::Folder { .. } = open { RIGHTS_FILE | RIGHTS_FOLDER } else { 0 };
    let mut stat = [0; 24];
    set(&mut stat, 0, &[kind(open)]);
    set(&mut stat, 2, &[u8::from(append), 0]);
    set(&mut stat, 8, &rights.to_le_bytes());
    set(&mut stat, 16, &inheriting.to_le_bytes());
    stat
}

fn filestat(stat: Stat, kind: u8) -> [u8; 64] {
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

/// The folder that a command with files finds open.
const ROOT_NAME: &[u8] = b"/";

const KIND_UNKNOWN: u8 = 0;
const KIND_FOLDER: u8 = 3;
const KIND_FILE: u8 = 4;

const FLAG_APPEND: i32 = 1;

const OPEN_CREATE: i32 = 1;
const OPEN_FOLDER: i32 = 2;
const OPEN_EXCLUSIVE: i32 = 4;
const OPEN_TRUNCATE: i32 = 8;

const RIGHT_READ: i64 = 1 << 1;
const RIGHT_WRITE: i64 = 1 << 6;
const RIGHT_POLL: i64 = 1 << 27;

/// `fd_datasync`, `fd_write`, `fd_allocate`, `fd_filestat_set_size`.
const RIGHTS_WRITING: i64 = 1 | RIGHT_WRITE | 1 << 8 | 1 << 22;

/// What can be asked of a file: all of `fd_` but `fd_readdir`.
const RIGHTS_FILE: i64 = 0x1ff | 1 << 21 | 1 << 22 | 1 << 23 | RIGHT_POLL;

/// What can be asked of a folder: all of `path_`, `fd_readdir`, and what is common to both.
const RIGHTS_FOLDER: i64 = 0x07ff_fe00 | 1 << 3 | 1 << 4 | 1 << 21 | 1 << 23;
