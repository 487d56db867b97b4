//! The WASI calls `fd_write` and `proc_exit` of a core module.

use wasmtime::{Caller, Linker, Result};
use wasmtime_wasi::I32Exit;

use crate::sandbox::command::errno::Errno;
use crate::sandbox::command::memory::Memory;
use crate::sandbox::guest::Guest;
use crate::sandbox::stdio::CONSOLE_BYTES_MAX;

/// Replaces `fd_write` and `proc_exit` in `linker`: wasmtime's own take a buffer of any length in one call, and no exit
/// code above 125.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    linker.allow_shadowing(true);
    linker.func_wrap(WASI, "fd_write", fd_write)?;
    linker
        .func_wrap(WASI, "proc_exit", |_: Caller<'_, Guest>, code: i32| Err::<(), _>(I32Exit(code).into()))?;
    linker.allow_shadowing(false);
    Ok(())
}

/// What modules import WASI preview 1 from.
pub(super) const WASI: &str = "wasi_snapshot_preview1";

/// Writes to standard output or error, the only open descriptors; returns the errno.
fn fd_write(mut caller: Caller<'_, Guest>, fd: i32, buffers: i32, count: i32, out: i32) -> Result<i32> {
    let exported = |caller: &mut Caller<'_, Guest>| caller.get_export(grid_abi::MEMORY)?.into_memory();
    // A start function calls before `Guest::memory` is set.
    let memory = caller.data().memory.or_else(|| exported(&mut caller));
    let Some(memory) = memory else {
        return Ok(Errno::Badf.code());
    };
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let Some(stdio) = guest.stdio(fd) else {
        return Ok(Errno::Badf.code());
    };
    let mut memory = Memory(bytes);
    let mut written = 0;
    for index in 0..memory.buffers(buffers, count)? {
        let (pointer, length) = memory.buffer(buffers, index)?;
        let bytes = memory.slice(pointer, length)?;
        let bytes = bytes.get(..CONSOLE_BYTES_MAX - written).unwrap_or(bytes);
        stdio.take(bytes);
        written += bytes.len();
        if written == CONSOLE_BYTES_MAX {
            break;
        }
    }
    let written = u32::try_from(written).unwrap_or(u32::MAX);
    memory.slice_mut(out, 4)?.copy_from_slice(&written.to_le_bytes());
    Ok(0)
}
