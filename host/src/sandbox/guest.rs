//! The state that the host keeps for a guest.

use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use grid_protocol::worker::Failure;
use wasmtime::{Memory, ResourceLimiter, Result};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::mailbox::MessagePort;
use crate::sandbox::abort::Abort;
use crate::sandbox::command::wasi_process::WasiProcess;
use crate::sandbox::failure::{FailureContext, Stop};
use crate::sandbox::limits::Limits;
use crate::sandbox::log_budget::LogBudget;
use crate::sandbox::memory_use::MemoryUse;
use crate::sandbox::meter::Meter;
use crate::sandbox::stdio::{self, Stdio};
use crate::sandbox::unsent::Unsent;

/// The state of one guest, held by its store.
pub(crate) struct Guest {
    pub(crate) mailbox: Arc<dyn MessagePort>,
    pub(crate) limits: Limits,
    pub(crate) meter: Arc<Meter>,
    /// The message or arguments that the next `recv` returns.
    pub(crate) waiting: Option<Bytes>,
    /// Number of the current message.
    pub(crate) at_hand: u64,
    /// The guest sent something since this was last cleared.
    pub(crate) sent: bool,
    /// The current message was reported as failed; before the first message, `init` reported a failure.
    pub(crate) failed: bool,
    pub(crate) memory: Option<Memory>,
    pub(crate) wasi: Option<WasiP1Ctx>,
    /// Standard output and error of a core module.
    consoles: Option<[Stdio; 2]>,
    /// The run of a command; `None` for other guests.
    pub(crate) process: Option<WasiProcess>,
    /// No other guest waits for its thread.
    pub(crate) is_alone: bool,
    /// What a failure of the guest reports besides the engine's error.
    pub(crate) failure_context: Arc<FailureContext>,
    /// All the guest's memories together: a component may have several.
    pub(crate) memory_use: MemoryUse,
    /// Ends the guest.
    pub(crate) abort: Arc<Abort>,
    /// It was called on the stack of the thread, which is its own until the call ends.
    pub(crate) has_thread: bool,
    /// What it has sent that waits for room; `None` for nothing.
    unsent: Option<Box<Unsent>>,
    log: LogBudget,
}

impl Guest {
    pub(crate) fn new(
        mailbox: Arc<dyn MessagePort>,
        limits: Limits,
        meter: Arc<Meter>,
        memory_use: MemoryUse,
        abort: Arc<Abort>,
    ) -> Self {
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
            is_alone: false,
            failure_context: Arc::default(),
            memory_use,
            abort,
            has_thread: false,
            unsent: None,
            log: LogBudget::new(&limits),
        }
    }

    /// The WASI state, made at the first call, because most guests never need it.
    pub(crate) fn wasi(&mut self) -> &mut WasiP1Ctx {
        let Self { wasi, mailbox, limits, failure_context, .. } = self;
        wasi.get_or_insert_with(|| stdio::nothing_granted(mailbox, limits, failure_context))
    }

    /// The stream that descriptor `fd` of a core module writes to, if there is one. Made at the first call.
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

    /// Begins to handle message `seq`.
    pub(crate) fn take_up(&mut self, seq: u64) {
        self.at_hand = seq;
        self.failed = false;
        self.sent = false;
        self.failure_context.forget();
    }

    /// Writes a line to the log, if the log budget allows it.
    pub(crate) fn log(&mut self, level: i32, line: &str) {
        let level = level.clamp(grid_abi::level::ERROR, grid_abi::level::TRACE);
        if level == grid_abi::level::ERROR {
            self.failure_context.note_error(line.as_bytes());
        }
        let allowed = self.log.allow(&self.limits, line.len());
        self.mailbox.log(u8::try_from(level).unwrap_or_default(), line, allowed);
    }

    /// Reports that the current message could not be handled. Only the first report for a message counts.
    pub(crate) fn fail(&mut self, failure: Failure) {
        if !std::mem::replace(&mut self.failed, true) {
            match &mut self.unsent {
                Some(unsent) => unsent.add_failure(self.at_hand, failure),
                None => self.mailbox.fail(self.at_hand, failure),
            }
            self.sent = true;
        }
    }

    /// Sends a message. False if it waits for room, so that the guest must be interrupted until what waits has been sent.
    ///
    /// # Errors
    ///
    /// [`Stop::NoRoom`] if too much waits.
    pub(crate) fn send(&mut self, message: Bytes) -> Result<bool, Stop> {
        self.sent = true;
        if self.unsent.is_none() && self.mailbox.has_room() {
            self.mailbox.send(message);
            return Ok(true);
        }
        let memory = &self.memory_use;
        let unsent = self.unsent.get_or_insert_with(|| Box::new(Unsent::new(memory.of_another())));
        unsent.add_message(message, self.limits.message_bytes)?;
        Ok(false)
    }

    /// What waits that the guest has sent, taken from it: a future that is ready when all of it has been sent. `None` if nothing
    /// waits.
    pub(crate) fn take_unsent(&mut self) -> Option<impl Future<Output = ()> + Send + use<>> {
        let (mut unsent, mailbox) = (self.unsent.take()?, self.mailbox.clone());
        Some(std::future::poll_fn(move |cx| {
            loop {
                if unsent.pass_on(&*mailbox) {
                    return Poll::Ready(());
                }
                // Or there is never room again.
                mailbox.flush();
                ready!(mailbox.poll_room(cx));
            }
        }))
    }

    /// Checks that `init`, or `start` of a component, has not refused the spawn arguments.
    ///
    /// # Errors
    ///
    /// If the guest has reported a failure.
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

impl ResourceLimiter for Guest {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let allowed = self.memory_use.grow(desired.saturating_sub(current), self.limits.memory_bytes);
        if !allowed {
            self.failure_context.note_memory_refused();
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(desired <= self.limits.table_elements)
    }
}
