//! Standard output and error of a guest, whose lines go to its log.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{WasiCtxBuilder, WasiView, async_trait};

use crate::mailbox::MessagePort;
use crate::sandbox::engine::RESOURCES_MAX;
use crate::sandbox::failure::FailureContext;
use crate::sandbox::limits::Limits;
use crate::sandbox::log_budget::{LogBudget, text};

/// WASI with nothing granted: no files, no network, no arguments, no environment. The guest has clocks and
/// randomness, sleeps without occupying a thread, and its output goes to its log.
pub(crate) fn nothing_granted(
    mailbox: &Arc<dyn MessagePort>,
    limits: &Limits,
    failure_context: &Arc<FailureContext>,
) -> WasiP1Ctx {
    let mut builder = WasiCtxBuilder::new();
    builder.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false).max_random_size(RANDOM_BYTES_MAX);
    builder.stdout(Stdio::stdout(mailbox, limits));
    builder.stderr(Stdio::stderr(mailbox, limits, failure_context));
    let mut wasi = builder.build_p1();
    wasi.ctx().table.set_max_capacity(RESOURCES_MAX);
    wasi
}

/// Random bytes that one call may ask for: 1 MiB, enough for any key, and too few to keep a thread busy.
const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Bytes that one call may write to a stream: 64 KiB, as much as a pipe takes; a call with more writes only these. Each
/// line costs about 200 ns, a guest could pass 240 MiB of one-byte lines, and no deadline stops a host call.
pub(super) const CONSOLE_BYTES_MAX: usize = 64 << 10;

/// An output stream of a guest; clones refer to the same stream.
#[derive(Clone)]
pub(crate) struct Stdio(Arc<Mutex<StdioLines>>);

struct StdioLines {
    mailbox: Arc<dyn MessagePort>,
    limits: Limits,
    budget: LogBudget,
    level: u8,
    begun: Vec<u8>,
    tail: Vec<u8>,
    failure_context: Option<Arc<FailureContext>>,
}

/// Bytes of the end of the output that [`Stdio::finish`] returns, for a failure.
const TAIL_BYTES_MAX: usize = 2 << 10;

impl Stdio {
    pub(crate) fn new(mailbox: &Arc<dyn MessagePort>, limits: &Limits, level: i32) -> Self {
        Self(Arc::new(Mutex::new(StdioLines {
            mailbox: mailbox.clone(),
            limits: *limits,
            budget: LogBudget::new(limits),
            level: u8::try_from(level).unwrap_or_default(),
            begun: Vec::new(),
            tail: Vec::new(),
            failure_context: None,
        })))
    }

    pub(crate) fn stdout(mailbox: &Arc<dyn MessagePort>, limits: &Limits) -> Self {
        Self::new(mailbox, limits, grid_abi::level::INFO)
    }

    pub(crate) fn stderr(
        mailbox: &Arc<dyn MessagePort>,
        limits: &Limits,
        failure_context: &Arc<FailureContext>,
    ) -> Self {
        Self::new(mailbox, limits, grid_abi::level::WARN).remembered(failure_context)
    }

    /// Takes what a guest writes, and logs each complete line.
    pub(crate) fn take(&self, bytes: &[u8]) {
        self.0.lock().write(bytes);
    }

    /// Also notes what is written in `failure_context`.
    fn remembered(self, failure_context: &Arc<FailureContext>) -> Self {
        self.0.lock().failure_context = Some(failure_context.clone());
        self
    }

    /// Logs the last line if it is incomplete, and returns the end of everything written.
    pub(crate) fn finish(&self) -> String {
        let mut lines = self.0.lock();
        lines.end_line();
        String::from_utf8_lossy(&lines.tail).trim().to_owned()
    }
}

impl StdioLines {
    fn write(&mut self, bytes: &[u8]) {
        let keep = bytes.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.extend_from_slice(bytes.get(keep..).unwrap_or_default());
        let excess = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..excess);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            // A line that is too long is split into lines of maximal length.
            for part in text.chunks(grid_abi::TEXT_BYTES_MAX) {
                if self.begun.len() + part.len() > grid_abi::TEXT_BYTES_MAX {
                    self.end_line();
                }
                self.begun.extend_from_slice(part);
            }
            if ends {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if !self.begun.is_empty() {
            let Self { mailbox, limits, budget, level, begun, failure_context, .. } = self;
            if let Some(failure_context) = failure_context {
                failure_context.note_stderr(begun);
            }
            let line = text(begun);
            let allowed = budget.allow(limits, line.len());
            mailbox.log(*level, &line, allowed);
            self.begun.clear();
        }
    }
}

impl IsTerminal for Stdio {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stdio {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[async_trait]
impl Pollable for Stdio {
    async fn ready(&mut self) {}
}

impl OutputStream for Stdio {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.take(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        // The stream is always ready: a guest that floods it spends its own time, and the log budget drops the excess.
        Ok(CONSOLE_BYTES_MAX)
    }
}
