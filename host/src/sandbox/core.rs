//! Core modules: guests that live on between messages, and are called by functions of numbers.

use bytes::Bytes;
use grid_inspect::{CoreEntry, LoopKind};
use wasmtime::{Instance, InstancePre, Result, Store, TypedFunc};

use crate::sandbox::direct_call::{CallKind, all_sent, call};
use crate::sandbox::failure::Stop;
use crate::sandbox::guest::Guest;
use crate::sandbox::message_loop::{Exports, Turn, Turns};
use crate::sandbox::{begin_call, prepare};

/// A core module that has been started, and its exports.
pub(super) struct Core {
    store: Store<Guest>,
    calls: CallKind,
    handle_msg: TypedFunc<i32, ()>,
    turn: Loop,
    stop: Option<TypedFunc<(), ()>>,
}

enum Loop {
    Absent,
    Answering(TypedFunc<(), i32>),
    Polled(TypedFunc<(), ()>),
}

impl Core {
    /// Instantiates the module and runs its `_initialize` and `init`.
    pub(super) async fn start(
        instance: &InstancePre<Guest>,
        entry_point: CoreEntry,
        calls: CallKind,
        guest: Guest,
        arguments: Bytes,
    ) -> Result<Self> {
        let mut store = Store::new(instance.module().engine(), guest);
        prepare(&mut store);
        begin_call(&store, store.data().limits.start);
        let begun = Self::begin(&mut store, instance, entry_point, arguments).await;
        // Whatever came of it.
        all_sent(&mut store).await;
        let instance = begun?;
        let handle_msg = instance.get_typed_func::<i32, ()>(&mut store, grid_abi::HANDLE_MSG)?;
        let turn = match entry_point.turn {
            LoopKind::Absent => Loop::Absent,
            LoopKind::Answering => Loop::Answering(instance.get_typed_func(&mut store, grid_abi::LOOP)?),
            LoopKind::Polled => Loop::Polled(instance.get_typed_func(&mut store, grid_abi::LOOP)?),
        };
        let stop =
            entry_point.stop.then(|| instance.get_typed_func(&mut store, grid_abi::STOP)).transpose()?;
        Ok(Self { store, calls, handle_msg, turn, stop })
    }

    /// Does what comes before the first message.
    async fn begin(
        store: &mut Store<Guest>,
        instance: &InstancePre<Guest>,
        entry_point: CoreEntry,
        arguments: Bytes,
    ) -> Result<Instance> {
        let instance = instance.instantiate_async(&mut *store).await?;
        store.data_mut().memory = instance.get_memory(&mut *store, grid_abi::MEMORY);
        if entry_point.initialize {
            let initialize = instance.get_typed_func::<(), ()>(&mut *store, grid_abi::INITIALIZE)?;
            initialize.call_async(&mut *store, ()).await?;
        }
        if entry_point.init {
            let init = instance.get_typed_func::<i32, ()>(&mut *store, grid_abi::INIT)?;
            let length = i32::try_from(arguments.len()).unwrap_or(i32::MAX);
            store.data_mut().waiting = Some(arguments);
            init.call_async(&mut *store, length).await?;
            store.data_mut().waiting = None;
            store.data().check_not_refused()?;
        }
        Ok(instance)
    }
}

impl Exports for Core {
    fn store(&mut self) -> &mut Store<Guest> {
        &mut self.store
    }

    fn turns(&self) -> Turns {
        match self.turn {
            Loop::Absent => Turns::None,
            Loop::Answering(_) => Turns::AfterMessages,
            Loop::Polled(_) => Turns::Polled,
        }
    }

    async fn handle_msg(&mut self, message: Bytes) -> Result<()> {
        let length = i32::try_from(message.len()).unwrap_or(i32::MAX);
        self.store.data_mut().waiting = Some(message);
        call(self.calls, &mut self.store, &self.handle_msg, length).await?;
        // A message that the guest did not receive in this call is dropped.
        self.store.data_mut().waiting = None;
        Ok(())
    }

    async fn turn(&mut self) -> Result<Turn> {
        match &self.turn {
            Loop::Absent => Ok(Turn::Idle),
            Loop::Polled(turn) => {
                call(self.calls, &mut self.store, turn, ()).await?;
                Ok(Turn::Later)
            }
            Loop::Answering(turn) => match call(self.calls, &mut self.store, turn, ()).await? {
                grid_abi::IDLE => Ok(Turn::Idle),
                grid_abi::AGAIN => Ok(Turn::Again),
                other => Err(Stop::BadReturn(other).into()),
            },
        }
    }

    async fn stop(&mut self) -> Result<()> {
        match &self.stop {
            Some(stop) => call(self.calls, &mut self.store, stop, ()).await,
            None => Ok(()),
        }
    }
}
