//! Components of the worlds of `grid:worker`: guests that live as core modules do, but are called by typed functions.

use bytes::Bytes;
use grid_abi::component as abi;
use grid_inspect::ComponentEntry;
use grid_protocol::worker::{Failure, FailureKind};
use wasmtime::component::{ComponentType, Func, InstancePre, Lift, Linker, TypedFunc, WasmList, WasmStr};
use wasmtime::{Result, Store, StoreContextMut};

use crate::sandbox::engine::RESOURCES_MAX;
use crate::sandbox::failure::Stop;
use crate::sandbox::grid_calls::deliver;
use crate::sandbox::guest::Guest;
use crate::sandbox::message_loop::{self, Exports, Turns};
use crate::sandbox::{begin_call, prepare};

/// A component that has been started, and its exports.
pub(super) struct Component {
    store: Store<Guest>,
    handle_msg: Func,
    turn: Option<TypedFunc<(), (ComponentTurn,)>>,
    stop: Option<TypedFunc<(), ()>>,
}

/// What `loop` returns.
#[expect(dead_code, reason = "made by lifting what a guest returns")]
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum ComponentTurn {
    #[component(name = "idle")]
    Idle,
    #[component(name = "again")]
    Again,
    #[component(name = "later")]
    Later,
}

/// Level of a log line.
#[expect(dead_code, reason = "made by lifting what a guest says")]
#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
enum Level {
    #[component(name = "error")]
    Error,
    #[component(name = "warn")]
    Warn,
    #[component(name = "info")]
    Info,
    #[component(name = "debug")]
    Debug,
    #[component(name = "trace")]
    Trace,
}

impl Component {
    /// Instantiates the component and runs its `start`.
    pub(super) async fn start(
        instance: &InstancePre<Guest>,
        entry_point: ComponentEntry,
        guest: Guest,
        arguments: Bytes,
    ) -> Result<Self> {
        let mut store = Store::new(instance.engine(), guest);
        prepare(&mut store);
        // Limits the bytes that one call from the guest may pass, and the handles that the guest may hold.
        store.set_hostcall_fuel(store.data().limits.message_bytes + CALL_BYTES_BESIDES);
        store.set_max_component_handles(RESOURCES_MAX);
        begin_call(&store, store.data().limits.start);
        let instance = instance.instantiate_async(&mut store).await?;
        if entry_point.start {
            let start = instance.get_typed_func::<(&[u8],), ()>(&mut store, abi::START)?;
            start.call_async(&mut store, (&arguments,)).await?;
            store.data().check_not_refused()?;
        }
        let missing = || wasmtime::Error::msg("the component does not export `handle-msg`");
        let handle_msg = instance.get_func(&mut store, abi::HANDLE_MSG).ok_or_else(missing)?;
        let turn = entry_point.turns.then(|| instance.get_typed_func(&mut store, abi::LOOP)).transpose()?;
        let stop = entry_point.stop.then(|| instance.get_typed_func(&mut store, abi::STOP)).transpose()?;
        Ok(Self { store, handle_msg, turn, stop })
    }
}

impl Exports for Component {
    fn store(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }

    fn turns(&self) -> Turns {
        if self.turn.is_some() { Turns::FromTheStart } else { Turns::None }
    }

    async fn handle_msg(&mut self, message: Bytes) -> Result<()> {
        // Typed at each call, because the type has the lifetime of the message.
        let handle_msg = self.handle_msg.typed::<(&[u8],), ()>(&self.store)?;
        handle_msg.call_async(&mut self.store, (&message,)).await
    }

    async fn turn(&mut self) -> Result<message_loop::Turn> {
        let Some(turn) = &self.turn else {
            return Ok(message_loop::Turn::Idle);
        };
        let (turn,) = turn.call_async(&mut self.store, ()).await?;
        Ok(match turn {
            ComponentTurn::Idle => message_loop::Turn::Idle,
            ComponentTurn::Again => message_loop::Turn::Again,
            ComponentTurn::Later => message_loop::Turn::Later,
        })
    }

    async fn stop(&mut self) -> Result<()> {
        match &self.stop {
            Some(stop) => stop.call_async(&mut self.store, ()).await,
            None => Ok(()),
        }
    }
}

/// Bytes that a call may pass besides a message of maximal length.
const CALL_BYTES_BESIDES: usize = 1 << 20;

/// Adds the grid calls, and WASI 0.2 that grants no files, network, arguments or environment.
pub(super) fn link(linker: &mut Linker<Guest>) -> Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    let mut calls = linker.instance(&format!("{}@{}", abi::CALLS, abi::VERSION))?;
    calls.func_wrap_async("send", |store, (message,): (WasmList<u8>,)| Box::new(send(store, message)))?;
    calls.func_wrap("log", |store, (level, line): (Level, WasmStr)| log(store, level, &line))?;
    calls.func_wrap("fail", |store, (reason,): (WasmStr,)| fail(store, &reason))?;
    Ok(())
}

async fn send(mut store: StoreContextMut<'_, Guest>, message: WasmList<u8>) -> Result<()> {
    let message = message.as_le_slice(&store);
    let max = store.data().limits.message_bytes;
    if message.len() > max {
        return Err(Stop::MessageTooLarge { length: message.len(), max }.into());
    }
    let message = Bytes::copy_from_slice(message);
    deliver(store.data_mut(), message).await;
    Ok(())
}

fn log(mut store: StoreContextMut<'_, Guest>, level: Level, line: &WasmStr) -> Result<()> {
    let line = text(&store, line)?;
    let level = match level {
        Level::Error => grid_abi::level::ERROR,
        Level::Warn => grid_abi::level::WARN,
        Level::Info => grid_abi::level::INFO,
        Level::Debug => grid_abi::level::DEBUG,
        Level::Trace => grid_abi::level::TRACE,
    };
    store.data_mut().log(level, &line);
    Ok(())
}

fn fail(mut store: StoreContextMut<'_, Guest>, reason: &WasmStr) -> Result<()> {
    let reason = text(&store, reason)?;
    let failure = Failure { kind: FailureKind::Reported, message: reason, backtrace: Vec::new() };
    store.data_mut().fail(failure);
    Ok(())
}

/// Text from a guest, cut to the longest log line. Invalid text is a trap, as the component model requires.
fn text(store: &StoreContextMut<'_, Guest>, words: &WasmStr) -> Result<String> {
    let words = words.to_str(store)?;
    Ok(words.get(..words.floor_char_boundary(grid_abi::TEXT_BYTES_MAX)).unwrap_or_default().to_owned())
}
