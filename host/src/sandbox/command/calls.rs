//! The calls of WASI preview 1 for arguments, descriptors and files, on a [`WasiProcess`].
//!
//! Of the rights that a guest asks for, only those to read and to write a file have an effect.
//!
//! # Source
//!
//! WASI preview 1: the numbers, and the layout of what is written to the guest's memory.

use wasmtime::{Caller, Linker, Result};

use super::errno::Errno;
use super::layout::{KIND_FILE, KIND_FOLDER, RIGHT_READ, RIGHT_WRITE, fdstat, filestat, kind, list};
use super::mem_fs::{How, MemFs};
use super::memory::{Memory, TRANSFER_BYTES_MAX};
use super::wasi_process::{Open, OpenFile, Refused, WasiProcess, Whence, now};
use crate::sandbox::guest::Guest;
use crate::sandbox::stdio::CONSOLE_BYTES_MAX;

/// Replaces the calls of the same names in `linker`.
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

/// Does a call on the guest's process and memory; returns the errno, or the error that ends the guest.
fn call(
    mut caller: Caller<'_, Guest>,
    work: impl FnOnce(&mut WasiProcess, &mut Memory<'_>) -> Done,
) -> Result<i32> {
    let Some(memory) = caller.data().memory else {
        // A start function calls before the instance exists, so there is no memory to read or write.
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
            Ok(process.fs()?.allocate(file.id, size, now())?)
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
            Ok(process.fs()?.resize(file.id, size.cast_unsigned(), now())?)
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
                set_times(process.fs()?, id, accessed, modified, flags)
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
                let length = list(process.fs()?, folder, cookie.cast_unsigned(), room)?;
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
                    id: super::mem_fs::ROOT,
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
                let fs = process.fs()?;
                let stat = fs.look_up(folder, memory.slice(path, length)?).and_then(|id| fs.stat(id))?;
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
                let fs = process.fs()?;
                let id = fs.look_up(folder, memory.slice(path, length)?)?;
                set_times(fs, id, accessed, modified, flags)
            })
        },
    )?;
    let on_path = [
        ("path_create_directory", MemFs::make_folder as OnPath),
        ("path_remove_directory", MemFs::remove_folder),
        ("path_unlink_file", MemFs::unlink),
    ];
    for (name, work) in on_path {
        linker.func_wrap(WASI, name, move |caller: Caller<'_, Guest>, fd: i32, path: i32, length: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                Ok(work(process.fs()?, folder, memory.slice(path, length)?, now())?)
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
                Ok(process.fs()?.rename(from, to, now())?)
            })
        },
    )?;
    link_links(linker)
}

/// The file system has no links: calls that make one fail with `EPERM`, and no path is one.
fn link_links(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(
        WASI,
        "path_readlink",
        |caller: Caller<'_, Guest>, fd: i32, path: i32, length: i32, _out: i32, _room: i32, _used: i32| {
            call(caller, |process, memory| {
                let folder = process.folder(fd)?;
                process.fs()?.look_up(folder, memory.slice(path, length)?)?;
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

type OnPath = fn(&mut MemFs, super::mem_fs::Id, &[u8], u64) -> Result<(), Errno>;

/// Writes buffers to a descriptor; returns the number of bytes written. That is fewer than asked for if the write fails
/// after a part, or if a call may not move so many.
fn write(
    process: &mut WasiProcess,
    memory: &Memory<'_>,
    fd: i32,
    (buffers, count): (i32, i32),
    at: Option<u64>,
) -> Result<usize, Refused> {
    let max = match process.descriptor(fd)? {
        Open::Log => CONSOLE_BYTES_MAX,
        _ => TRANSFER_BYTES_MAX,
    };
    let mut total = 0;
    for index in 0..memory.buffers(buffers, count)? {
        let (pointer, length) = memory.buffer(buffers, index)?;
        let bytes = memory.slice(pointer, length)?;
        let bytes = bytes.get(..max - total).unwrap_or(bytes);
        let at = at.map(|at| at.saturating_add(total as u64));
        match process.write(fd, at, bytes) {
            Ok(written) => {
                total += written;
                if written < bytes.len() || total == max {
                    break;
                }
            }
            Err(Refused::Errno(_)) if total > 0 => break,
            Err(refused) => return Err(refused),
        }
    }
    Ok(total)
}

fn preopened(process: &WasiProcess, fd: i32) -> Result<(), Errno> {
    match process.descriptor(fd)? {
        Open::Folder { preopened: true, .. } => Ok(()),
        _ => Err(Errno::Badf),
    }
}

fn set_times(fs: &mut MemFs, id: super::mem_fs::Id, accessed: i64, modified: i64, flags: i32) -> Done {
    let now = now();
    let time = |given: i64, set: i32, set_now: i32| match (flags & set != 0, flags & set_now != 0) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(given.cast_unsigned())),
        (false, true) => Ok(Some(now)),
        (false, false) => Ok(None),
    };
    Ok(fs.set_times(id, time(accessed, 1, 2)?, time(modified, 4, 8)?, now)?)
}

/// Name of the preopened folder of a command that was granted files.
const ROOT_NAME: &[u8] = b"/";

const FLAG_APPEND: i32 = 1;

const OPEN_CREATE: i32 = 1;
const OPEN_FOLDER: i32 = 2;
const OPEN_EXCLUSIVE: i32 = 4;
const OPEN_TRUNCATE: i32 = 8;
