//! WASI commands: a fresh instance for each message.

use bytes::Bytes;
use grid_protocol::limits::REASON_BYTES_MAX;
use grid_protocol::worker::Failure;
use wasmtime::{InstancePre, Store};
use wasmtime_wasi::I32Exit;
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};

use crate::mailbox::{Incoming, Letter};
use crate::sandbox::console::{Console, builder};
use crate::sandbox::failure::explain;
use crate::sandbox::guest::Guest;
use crate::sandbox::{begin_call, prepare};

/// Runs a command for each message: the message is its standard input, its standard output the answer.
/// A command that fails fails its message and nothing else.
pub(super) async fn run(
    instance: &InstancePre<Guest>,
    guest: Guest,
    on_start: impl FnOnce(),
) -> Result<(), Failure> {
    on_start();
    let Guest { mailbox, limits, meter, .. } = guest;
    loop {
        let letter = match std::future::poll_fn(|cx| mailbox.poll_incoming(cx)).await {
            Incoming::Message(letter) => letter,
            Incoming::Stop => return Ok(()),
        };
        let Letter { seq, payload, .. } = letter;
        let guest = Guest::new(mailbox.clone(), limits, meter.clone());
        match handle(instance, guest, payload).await {
            Ok(answer) => {
                std::future::poll_fn(|cx| mailbox.poll_room(cx)).await;
                mailbox.send(answer);
            }
            Err(failure) => mailbox.fail(seq, failure),
        }
        mailbox.done(seq);
        mailbox.flush();
        tokio::task::yield_now().await;
    }
}

async fn handle(instance: &InstancePre<Guest>, mut guest: Guest, input: Bytes) -> Result<Bytes, Failure> {
    let stdout = MemoryOutputPipe::new(guest.limits.message_bytes);
    let stderr = Console::new(&guest.mailbox, &guest.limits, grid_abi::level::WARN);
    let mut wasi = builder();
    wasi.arg("worker").stdin(MemoryInputPipe::new(input)).stdout(stdout.clone()).stderr(stderr.clone());
    guest.wasi = Some(wasi.build_p1());
    let budget = guest.limits.call;
    let remains = guest.remains.clone();
    let mut store = Store::new(instance.module().engine(), guest);
    prepare(&mut store);
    begin_call(&store, budget);
    let ran = async {
        let instance = instance.instantiate_async(&mut store).await?;
        store.data_mut().memory = instance.get_memory(&mut store, grid_abi::MEMORY);
        let start = instance.get_typed_func::<(), ()>(&mut store, grid_abi::START)?;
        start.call_async(&mut store, ()).await
    };
    let ended = ran.await;
    drop(store);
    let tail = stderr.finish();
    match ended {
        Ok(()) => Ok(stdout.contents()),
        Err(error) if error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0) => {
            Ok(stdout.contents())
        }
        Err(error) => Err(with_tail(explain(&error, false, &remains), &tail)),
    }
}

/// What it wrote last says more than how it ended.
fn with_tail(mut failure: Failure, tail: &str) -> Failure {
    if !tail.is_empty() {
        failure.message.push_str("; it wrote: ");
        failure.message.push_str(tail);
    }
    failure.message.truncate(failure.message.floor_char_boundary(REASON_BYTES_MAX));
    failure
}
