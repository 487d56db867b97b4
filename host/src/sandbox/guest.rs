//! A guest's own state in the host.

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::worker::Failure;
use wasmtime::{Memory, ResourceLimiter, Result};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::{WasiCtxView, WasiView};

use crate::mailbox::MessagePort;
use crate::sandbox::command::wasi_process::WasiProcess;
use crate::sandbox::failure::FailureContext;
use crate::sandbox::limits::Limits;
use crate::sandbox::log_budget::LogBudget;
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
            log: LogBudget::new(&limits),
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
