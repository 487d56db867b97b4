//! WASI commands: a fresh instance for each message.

mod arguments;
mod calls;
mod cbor;
pub(super) mod errno;
mod layout;
mod mem_fs;
pub(super) mod memory;
pub(in crate::sandbox) mod wasi_process;

use std::sync::Arc;

use bytes::Bytes;
use grid_protocol::limits::REASON_BYTES_MAX;
use grid_protocol::manifest::{FilesAsked, Manifest};
use grid_protocol::worker::{Failure, FailureKind};
use wasmtime::{InstancePre, Linker, Result, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p1::WasiP1Ctx;

use crate::mailbox::{Delivery, Received};
use crate::sandbox::failure::{Stop, explain};
use crate::sandbox::guest::Guest;
use crate::sandbox::stdio::Stdio;
use crate::sandbox::{all_sent, begin_call, prepare};
use arguments::{Arguments, ArgumentsError};
pub(crate) use wasi_process::WasiProcess;

/// What a command takes from its module's manifest: its name, and whether it is granted files.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    name: Arc<str>,
    files: bool,
}

impl Terms {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self::named(&manifest.name, manifest.files == FilesAsked::Folder)
    }

    pub(super) fn named(name: &str, files: bool) -> Self {
        Self { name: name.into(), files }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn grants_files(&self) -> bool {
        self.files
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self { name: "worker".into(), files: false }
    }
}

/// Replaces the calls for arguments, descriptors and files in `linker` by those of commands.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    calls::link(linker)
}

/// Runs a command for each message: the message is its standard input, its standard output is the answer.
///
/// If a run fails, only its message fails, and the next one is handled. Returns when the worker is asked to stop.
///
/// # Errors
///
/// [`FailureKind::Start`] if the spawn arguments are no arguments of a command.
pub(super) async fn run(
    instance: &InstancePre<Guest>,
    terms: &Terms,
    guest: Guest,
    arguments: &Bytes,
    on_start: impl FnOnce(),
) -> Result<(), Failure> {
    let arguments = Arguments::read(arguments).map_err(|error| refused(FailureKind::Start, error))?;
    on_start();
    let Guest { mailbox, limits, meter, memory_use, abort, .. } = guest;
    let command = CommandRun { instance, terms, arguments };
    // Clocks and randomness, reused because making them takes longer than an instance. They keep no state of a run that
    // succeeded.
    let mut wasi = None;
    loop {
        let delivery = match std::future::poll_fn(|cx| mailbox.poll_incoming(cx)).await {
            Received::Message(delivery) => delivery,
            Received::Stop => return Ok(()),
        };
        let Delivery { seq, payload, .. } = delivery;
        let memory = memory_use.of_another();
        let mut guest = Guest::new(mailbox.clone(), limits, meter.clone(), memory, abort.clone());
        guest.wasi = wasi.take();
        match command.handle(guest, payload).await {
            Ok((answer, kept)) => {
                wasi = kept;
                std::future::poll_fn(|cx| mailbox.poll_room(cx)).await;
                mailbox.send(answer);
            }
            Err(failure) => mailbox.fail(seq, failure),
        }
        mailbox.done(seq, None);
        mailbox.flush();
        tokio::task::yield_now().await;
    }
}

/// What the runs of a command have in common.
struct CommandRun<'a> {
    instance: &'a InstancePre<Guest>,
    terms: &'a Terms,
    arguments: Arguments,
}

impl CommandRun<'_> {
    /// Runs the command once; returns its answer, and the WASI state to reuse.
    ///
    /// # Errors
    ///
    /// If the command traps, exits with a code other than 0, or answers too much; or if the input does not fit its
    /// arguments.
    async fn handle(&self, mut guest: Guest, input: Bytes) -> Result<(Bytes, Option<WasiP1Ctx>), Failure> {
        let refuse = |error| refused(FailureKind::Reported, error);
        let arguments = self.arguments.of(&self.terms.name, &input).map_err(refuse)?;
        let log = Stdio::new(&guest.mailbox, &guest.limits, grid_abi::level::WARN);
        let max = guest.limits.message_bytes;
        // Files that are returned are part of the answer, so they have the same limit.
        let files = self.terms.files.then_some(max);
        guest.process = Some(WasiProcess::new(arguments, input, log.clone(), max, files));
        let budget = guest.limits.call;
        let failure_context = guest.failure_context.clone();
        let mut store = Store::new(self.instance.module().engine(), guest);
        prepare(&mut store);
        begin_call(&store, budget);
        let ran = async {
            let instance = self.instance.instantiate_async(&mut store).await?;
            store.data_mut().memory = instance.get_memory(&mut store, grid_abi::MEMORY);
            let start = instance.get_typed_func::<(), ()>(&mut store, grid_abi::START)?;
            start.call_async(&mut store, ()).await
        };
        let ended = ran.await;
        all_sent(&mut store).await;
        let Guest { process, wasi, .. } = store.into_data();
        let tail = log.finish();
        match ended {
            Err(error) if error.downcast_ref::<I32Exit>().is_none_or(|exit| exit.0 != 0) => {
                Err(with_tail(explain(&error, false, &failure_context), &tail))
            }
            _ => Ok((process.map_or(Ok(Bytes::new()), |process| answer(process, max))?, wasi)),
        }
    }
}

/// The answer of a command that succeeded: its standard output and, if it was granted files, those in its output
/// folder.
fn answer(process: WasiProcess, max: usize) -> Result<Bytes, Failure> {
    let (stdout, fs) = process.into_answer();
    let Some(fs) = fs else {
        return Ok(stdout.into());
    };
    let files = fs.into_output();
    let length = cbor::answer_length(&stdout, &files);
    if length > max {
        let message = Stop::MessageTooLarge { length, max }.to_string();
        return Err(Failure { kind: FailureKind::MessageTooLarge, message, backtrace: Vec::new() });
    }
    Ok(cbor::answer(&stdout, &files).into())
}

fn refused(kind: FailureKind, error: ArgumentsError) -> Failure {
    Failure { kind, message: error.to_string(), backtrace: Vec::new() }
}

/// Adds the end of the command's standard error to a failure, which it often explains better.
fn with_tail(mut failure: Failure, tail: &str) -> Failure {
    if !tail.is_empty() {
        failure.message.push_str("; it wrote: ");
        failure.message.push_str(tail);
    }
    failure.message.truncate(failure.message.floor_char_boundary(REASON_BYTES_MAX));
    failure
}
