//! A guest's own state in the host, and the grid calls that it may make.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use grid_protocol::worker::{Failure, FailureKind};
use wasmtime::{Caller, Linker, Memory, ResourceLimiter, Result};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::mailbox::MessagePort;
use crate::sandbox::command::WasiProcess;
use crate::sandbox::failure::{FailureContext, Stop};
use crate::sandbox::limits::Limits;
use crate::sandbox::meter::Meter;
use crate::sandbox::stdio::{self, Stdio};

/// What the host keeps for one guest.
pub(crate) struct Guest {
    pub(crate) mailbox: Arc<dyn MessagePort>,
    pub(crate) limits: Limits,
    pub(crate) meter: Arc<Meter>,
    /// What `recv` gives.
    pub(crate) waiting: Option<Bytes>,
    /// The message at hand.
    pub(crate) at_hand: u64,
    /// The guest sent something since this was last cleared.
    pub(crate) sent: bool,
    /// The message at hand was reported as failed.
    pub(crate) failed: bool,
    pub(crate) memory: Option<Memory>,
    pub(crate) wasi: Option<WasiP1Ctx>,
    /// Standard output and error of a core module.
    consoles: Option<[Stdio; 2]>,
    /// What a command has at hand, and no other guest.
    pub(crate) process: Option<WasiProcess>,
    /// What its failure will say besides the engine's own words.
    pub(crate) failure_context: Arc<FailureContext>,
    /// All of its memories together, in bytes: a component may have several.
    memory_bytes: usize,
    log: LogBudget,
}

impl Guest {
    pub(crate) fn new(mailbox: Arc<dyn MessagePort>, limits: Limits, meter: Arc<Meter>) -> Self {
        Self {
            mailbox,
            limits,
            meter,
            waiting: None,
            at_hand: 0,
            sent: false,
            failed: false,
            memory: None,
            wasi: None,
            consoles: None,
            process: None,
            failure_context: Arc::default(),
            memory_bytes: 0,
            log: LogBudget { left: limits.log_burst_bytes, refilled: None },
        }
    }

    /// The WASI state, made at the first call: most guests never ask.
    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        let Self { wasi, mailbox, limits, failure_context, .. } = self;
        wasi.get_or_insert_with(|| stdio::nothing_granted(mailbox, limits, failure_context))
    }

    /// What a descriptor of a core module writes to, made at the first call.
    pub(crate) fn stdio(&mut self, fd: i32) -> Option<&Stdio> {
        let Self { consoles, mailbox, limits, failure_context, .. } = self;
        let [stdout, stderr] = consoles.get_or_insert_with(|| {
            [Stdio::stdout(mailbox, limits), Stdio::stderr(mailbox, limits, failure_context)]
        });
        match fd {
            1 => Some(stdout),
            2 => Some(stderr),
            _ => None,
        }
    }

    /// A message is taken up.
    pub(crate) fn take_up(&mut self, seq: u64) {
        self.at_hand = seq;
        self.failed = false;
        self.sent = false;
        self.failure_context.forget();
    }

    /// Writes a line to the log.
    pub(crate) fn log(&mut self, level: i32, line: &str) {
        let level = level.clamp(grid_abi::level::ERROR, grid_abi::level::TRACE);
        if level == grid_abi::level::ERROR {
            self.failure_context.note_error(line.as_bytes());
        }
        let allowed = self.log.allow(&self.limits, line.len());
        self.mailbox.log(u8::try_from(level).unwrap_or_default(), line, allowed);
    }

    /// The message at hand could not be handled; only the first reason counts.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if !std::mem::replace(&mut self.failed, true) {
            self.mailbox.fail(self.at_hand, failure);
            self.sent = true;
        }
    }

    /// An error if `init`, or `start` of a component, refused the spawn arguments.
    pub(crate) fn check_not_refused(&self) -> Result<()> {
        if self.failed {
            return Err(wasmtime::Error::msg("the worker refused its spawn arguments"));
        }
        Ok(())
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi().ctx()
    }
}

/// Sends a message to the client, once there is room for it.
pub(crate) async fn deliver(guest: &mut Guest, message: Bytes) {
    let mailbox = &guest.mailbox;
    if !mailbox.has_room() {
        // What was sent before must leave, or there never is room again.
        mailbox.flush();
        std::future::poll_fn(|cx| mailbox.poll_room(cx)).await;
    }
    mailbox.send(message);
    guest.sent = true;
}

/// A place in a guest's memory that a grid call was given: an allegation until it is checked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuestSlice {
    pointer: u32,
    length: u32,
}

impl GuestSlice {
    pub(crate) fn new(pointer: i32, length: i32) -> Self {
        Self { pointer: pointer.cast_unsigned(), length: length.cast_unsigned() }
    }

    /// The place, if all of it lies in a memory of `size` bytes.
    pub(crate) fn check(self, size: usize) -> Result<Range<usize>, Stop> {
        let start = self.pointer as usize;
        let end = start.checked_add(self.length as usize).filter(|end| *end <= size);
        end.map(|end| start..end).ok_or(Stop::OutOfBounds {
            pointer: self.pointer,
            length: self.length,
            memory: size,
        })
    }

    fn read<'a>(self, caller: &'a Caller<'_, Guest>) -> Result<&'a [u8], Stop> {
        let memory = caller.data().memory.map_or(&[][..], |memory| memory.data(caller));
        let place = self.check(memory.len())?;
        Ok(memory.get(place).unwrap_or_default())
    }
}

/// Offers the grid calls, and WASI with nothing behind it.
pub(crate) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    wasmtime_wasi::p1::add_to_linker_async(linker, Guest::wasi)?;
    stdio::link(linker)?;
    linker.func_wrap(grid_abi::IMPORT_MODULE, grid_abi::RECV, recv)?;
    linker.func_wrap_async(
        grid_abi::IMPORT_MODULE,
        grid_abi::SEND,
        |caller, (pointer, length): (i32, i32)| Box::new(send(caller, pointer, length)),
    )?;
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
    // A message is bounded by 64 MiB.
    Ok(i32::try_from(length).unwrap_or(i32::MAX))
}

async fn send(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<()> {
    let message = GuestSlice::new(pointer, length).read(&caller)?;
    let max = caller.data().limits.message_bytes;
    if message.len() > max {
        return Err(Stop::MessageTooLarge { length: message.len(), max }.into());
    }
    let message = Bytes::copy_from_slice(message);
    deliver(caller.data_mut(), message).await;
    Ok(())
}

fn log(mut caller: Caller<'_, Guest>, level: i32, pointer: i32, length: i32) -> Result<()> {
    let line = text(GuestSlice::new(pointer, length).read(&caller)?);
    caller.data_mut().log(level, &line);
    Ok(())
}

fn fail(mut caller: Caller<'_, Guest>, pointer: i32, length: i32) -> Result<()> {
    let reason = text(GuestSlice::new(pointer, length).read(&caller)?);
    let failure = Failure { kind: FailureKind::Reported, message: reason, backtrace: Vec::new() };
    caller.data_mut().fail(failure);
    Ok(())
}

/// AssemblyScript's runtime calls this with two UTF-16 strings and a place in the source.
fn abort(caller: Caller<'_, Guest>, message: i32, file: i32, line: i32, column: i32) -> Result<()> {
    let string = |pointer: i32| {
        // The length in bytes stands in the four bytes before the string.
        let length = GuestSlice::new(pointer.wrapping_sub(4), 4).read(&caller).ok()?;
        let length = i32::from_le_bytes(length.try_into().ok()?);
        let bytes = GuestSlice::new(pointer, length.clamp(0, 4096)).read(&caller).ok()?;
        let units: Vec<u16> = bytes.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        Some(String::from_utf16_lossy(&units))
    };
    let (message, file) = (string(message).unwrap_or_default(), string(file).unwrap_or_default());
    Err(Stop::Abort(format!("{message} at {file}:{line}:{column}")).into())
}

/// Words of a guest: cut before they are copied, and made to be text.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.get(..grid_abi::TEXT_BYTES_MAX).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// How much a worker may still write to its log.
#[derive(Debug)]
struct LogBudget {
    left: u32,
    refilled: Option<Instant>,
}

impl LogBudget {
    fn allow(&mut self, limits: &Limits, length: usize) -> bool {
        let now = Instant::now();
        let elapsed = self.refilled.map_or(0, |refilled| now.duration_since(refilled).as_millis());
        let gained = u128::from(limits.log_bytes_per_s) * elapsed / 1000;
        if gained > 0 || self.refilled.is_none() {
            self.refilled = Some(now);
            let gained = u32::try_from(gained).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(gained).min(limits.log_burst_bytes);
        }
        // An empty line costs something too.
        let cost = u32::try_from(length).unwrap_or(u32::MAX).saturating_add(32);
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }
}

impl Guest {
    /// Takes a line from a guest's standard output or error.
    pub(crate) fn console_line(
        log: &mut StdioBudget,
        limits: &Limits,
        mailbox: &dyn MessagePort,
        level: u8,
        line: &[u8],
    ) {
        let line = text(line);
        let allowed = log.0.allow(limits, line.len());
        mailbox.log(level, &line, allowed);
    }
}

/// The budget of a guest's standard output and error, apart from that of its `log`.
#[derive(Debug)]
pub(crate) struct StdioBudget(LogBudget);

impl StdioBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self(LogBudget { left: limits.log_burst_bytes, refilled: None })
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let all = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        let allowed = all <= self.limits.memory_bytes;
        if allowed {
            self.memory_bytes = all;
        } else {
            self.failure_context.note_memory_refused();
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= self.limits.table_elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_at_the_very_end_is_inside_and_one_byte_more_is_not() {
        assert_eq!(GuestSlice::new(10, 6).check(16), Ok(10..16));
        assert_eq!(GuestSlice::new(16, 0).check(16), Ok(16..16));
        assert!(GuestSlice::new(10, 7).check(16).is_err());
        assert!(GuestSlice::new(17, 0).check(16).is_err());
        assert!(GuestSlice::new(-1, -1).check(16).is_err());
        assert!(GuestSlice::new(1, -1).check(16).is_err());
    }

    #[test]
    fn a_flood_of_log_is_cut_to_its_rate() {
        let limits = Limits::default();
        let mut budget = LogBudget { left: limits.log_burst_bytes, refilled: None };
        let allowed = (0..100_000).filter(|_| budget.allow(&limits, 100)).count();
        assert!((400..1000).contains(&allowed), "{allowed}");
    }
}
