//! The grid calls that a core module may make, and WASI preview 1 with nothing granted.

use bytes::Bytes;
use grid_protocol::worker::{Failure, FailureKind};
use wasmtime::{AsContextMut, Caller, Linker, Result};

use crate::sandbox::direct_call;
use crate::sandbox::engine::CodeForm;
use crate::sandbox::failure::Stop;
use crate::sandbox::guest::Guest;
use crate::sandbox::guest_slice::GuestSlice;
use crate::sandbox::log_budget::text;
use crate::sandbox::stdio_calls;

/// Adds the grid calls, and WASI preview 1 that grants no files, network, arguments or environment, for code of this form.
pub(crate) fn link(linker: &mut Linker<Guest>, form: CodeForm) -> Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, Guest::wasi)?;
    stdio_calls::link(linker)?;
    linker.func_wrap(grid_abi::IMPORT_MODULE, grid_abi::RECV, recv)?;
    if form.interruptible {
        linker.func_wrap(grid_abi::IMPORT_MODULE, grid_abi::SEND, send)?;
    } else {
        linker.func_wrap_async(
            grid_abi::IMPORT_MODULE,
            grid_abi::SEND,
            |caller, (pointer, length): (i32, i32)| Box::new(send_and_wait(caller, pointer, length)),
        )?;
    }
    linker.func_wrap(grid_abi::IMPORT_MODULE, grid_abi::LOG, log)?;
    linker.func_wrap(grid_abi::IMPORT_MODULE, grid_abi::FAIL, fail)?;
    linker.func_wrap("env", "abort", abort)?;
    Ok(())
}

fn recv(mut caller: Caller<'_, Guest>, pointer: i32, capacity: i32) -> Result<i32> {
    let Some(memory) = caller.data().memory else {
        return Ok(grid_abi::NOTHING);
    };
    let (bytes, guest) = memory.data_and_store_mut(&mut caller);
    let room = GuestSlice::new(pointer, capacity).check(bytes.len())?;
    let Some(waiting) = &guest.waiting else {
        return Ok(grid_abi::NOTHING);
    };
    let length = waiting.len();
    if let Some(place) = bytes.get_mut(room).and_then(|room| room.get_mut(..length)) {
        place.copy_from_slice(waiting);
        guest.waiting = None;
    }
    // A message has at most 64 MiB, so the length fits.
    Ok(i32::try_from(length).unwrap_or(i32::MAX))
}

/// For code that can be interrupted.
fn send(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<()> {
    let message = message(&caller, pointer, length)?;
    let guest = caller.data_mut();
    if guest.has_thread {
        direct_call::wait_for_room(guest)?;
    }
    if !guest.send(message)? {
        // Loops compare the epoch with the deadline that they have read before; functions read it.
        caller.as_context_mut().set_epoch_deadline(0);
        caller.engine().increment_epoch();
    }
    Ok(())
}

async fn send_and_wait(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<()> {
    let message = message(&caller, pointer, length)?;
    deliver(caller.data_mut(), message).await;
    Ok(())
}

/// The message that a guest sends.
fn message(caller: &Caller<'_, Guest>, pointer: i32, length: i32) -> Result<Bytes, Stop> {
    let message = read(caller, pointer, length)?;
    let max = caller.data().limits.message_bytes;
    if message.len() > max {
        return Err(Stop::MessageTooLarge { length: message.len(), max });
    }
    Ok(Bytes::copy_from_slice(message))
}

fn log(mut caller: Caller<'_, Guest>, level: i32, pointer: i32, length: i32) -> Result<()> {
    let line = text(read(&caller, pointer, length)?);
    caller.data_mut().log(level, &line);
    Ok(())
}

fn fail(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<()> {
    let reason = text(read(&caller, pointer, length)?);
    let failure = Failure { kind: FailureKind::Reported, message: reason, backtrace: Vec::new() };
    caller.data_mut().fail(failure);
    Ok(())
}

/// Called by AssemblyScript's runtime with two UTF-16 strings, the message and the file, and a line and column.
fn abort(caller: Caller<'_, Guest>, message: i32, file: i32, line: i32, column: i32) -> Result<()> {
    let string = |pointer: i32| {
        // The four bytes before the string hold its length in bytes.
        let length = read(&caller, pointer.wrapping_sub(4), 4).ok()?;
        let length = i32::from_le_bytes(length.try_into().ok()?);
        let bytes = read(&caller, pointer, length.clamp(0, 4096)).ok()?;
        let units: Vec<u16> = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        Some(String::from_utf16_lossy(&units))
    };
    let (message, file) = (string(message).unwrap_or_default(), string(file).unwrap_or_default());
    Err(Stop::Abort(format!("{message} at {file}:{line}:{column}")).into())
}

/// Sends a guest's message; waits until there is room for it.
pub(crate) async fn deliver(guest: &mut Guest, message: Bytes) {
    let mailbox = &guest.mailbox;
    if !mailbox.has_room() {
        // Messages sent before must be flushed, or there is never room again.
        mailbox.flush();
        std::future::poll_fn(|cx| mailbox.poll_room(cx)).await;
    }
    mailbox.send(message);
    guest.sent = true;
}

/// The bytes of a slice of guest memory, after a check that the guest has it.
fn read<'a>(caller: &'a Caller<'_, Guest>, pointer: i32, length: i32) -> Result<&'a [u8], Stop> {
    let memory = caller.data().memory.map_or(&[][..], |memory| memory.data(caller));
    let place = GuestSlice::new(pointer, length).check(memory.len())?;
    Ok(memory.get(place).unwrap_or_default())
}
