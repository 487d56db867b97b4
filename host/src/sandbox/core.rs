//! Core modules: a guest that lives on between messages.

use bytes::Bytes;
use grid_inspect::{CoreDoor, LoopKind};
use grid_protocol::worker::Failure;
use tokio::time::{Duration, Instant, timeout_at};
use wasmtime::{AsContextMut, InstancePre, Result, Store, TypedFunc};

use crate::mailbox::{Incoming, Letter};
use crate::sandbox::failure::{Stop, explain};
use crate::sandbox::guest::Guest;
use crate::sandbox::{MESSAGES_IN_A_ROW, begin_call, begin_slice, prepare};

/// A guest that is set up, with its exports at hand.
struct Core {
    store: Store<Guest>,
    handle_msg: TypedFunc<i32, ()>,
    turn: Turn,
    stop: Option<TypedFunc<(), ()>>,
    /// The last message whose handling is not over: only a polled `loop` leaves one behind.
    pending: Option<u64>,
}

enum Turn {
    Absent,
    Answering(TypedFunc<(), i32>),
    Polled(TypedFunc<(), ()>),
}

/// Runs a guest from its start to its end.
pub(super) async fn run(
    instance: &InstancePre<Guest>,
    door: CoreDoor,
    guest: Guest,
    arguments: Bytes,
    on_start: impl FnOnce(),
) -> Result<(), Failure> {
    let mut core =
        Core::start(instance, door, guest, arguments).await.map_err(|error| explain(&error, true))?;
    on_start();
    core.store.data().mailbox.flush();
    core.live().await.map_err(|error| explain(&error, false))
}

impl Core {
    async fn start(
        instance: &InstancePre<Guest>,
        door: CoreDoor,
        guest: Guest,
        arguments: Bytes,
    ) -> Result<Self> {
        let mut store = Store::new(instance.module().engine(), guest);
        prepare(&mut store);
        let budget = store.data().limits.start;
        begin_call(&store, budget);
        let instance = instance.instantiate_async(&mut store).await?;
        store.data_mut().memory = instance.get_memory(&mut store, grid_abi::MEMORY);
        if door.initialize {
            let initialize = instance.get_typed_func::<(), ()>(&mut store, grid_abi::INITIALIZE)?;
            initialize.call_async(&mut store, ()).await?;
        }
        if door.init {
            let init = instance.get_typed_func::<i32, ()>(&mut store, grid_abi::INIT)?;
            let length = i32::try_from(arguments.len()).unwrap_or(i32::MAX);
            store.data_mut().waiting = Some(arguments);
            init.call_async(&mut store, length).await?;
            store.data_mut().waiting = None;
            if store.data().failed {
                return Err(wasmtime::Error::msg("`init` refused the spawn arguments; the log says why"));
            }
        }
        let handle_msg = instance.get_typed_func::<i32, ()>(&mut store, grid_abi::HANDLE_MSG)?;
        let turn = match door.turn {
            LoopKind::Absent => Turn::Absent,
            LoopKind::Answering => Turn::Answering(instance.get_typed_func(&mut store, grid_abi::LOOP)?),
            LoopKind::Polled => Turn::Polled(instance.get_typed_func(&mut store, grid_abi::LOOP)?),
        };
        let stop = door.stop.then(|| instance.get_typed_func(&mut store, grid_abi::STOP)).transpose()?;
        Ok(Self { store, handle_msg, turn, stop, pending: None })
    }

    /// Takes messages until it is told to stop.
    async fn live(&mut self) -> Result<()> {
        let mut in_a_row = 0;
        let mut next_poll = Instant::now() + POLL_INTERVAL;
        loop {
            match self.incoming(next_poll).await {
                Some(Incoming::Message(letter)) => self.handle(letter).await?,
                Some(Incoming::Stop) => return self.stop().await,
                None => {}
            }
            if let Turn::Polled(_) = self.turn {
                self.poll_loop().await?;
                next_poll = Instant::now() + POLL_INTERVAL;
            }
            in_a_row += 1;
            if in_a_row == MESSAGES_IN_A_ROW {
                in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// What comes next; `None` when a polled `loop` is due before anything comes.
    async fn incoming(&mut self, next_poll: Instant) -> Option<Incoming> {
        let mailbox = &self.store.data().mailbox;
        let mut waited = false;
        let incoming = std::future::poll_fn(|cx| {
            let polled = mailbox.poll_incoming(cx);
            waited |= polled.is_pending();
            polled
        });
        let incoming = match self.turn {
            Turn::Polled(_) => timeout_at(next_poll, incoming).await.ok(),
            Turn::Absent | Turn::Answering(_) => Some(incoming.await),
        };
        if waited {
            begin_slice(&mut self.store);
        }
        incoming
    }

    async fn handle(&mut self, letter: Letter) -> Result<()> {
        let Letter { seq, payload, .. } = letter;
        let length = i32::try_from(payload.len()).unwrap_or(i32::MAX);
        let guest = self.store.data_mut();
        guest.waiting = Some(payload);
        guest.at_hand = seq;
        guest.failed = false;
        guest.sent = false;
        let budget = guest.limits.call;
        begin_call(&self.store, budget);
        self.handle_msg.call_async(&mut self.store, length).await?;
        // What was not received by now never is.
        self.store.data_mut().waiting = None;
        if let Turn::Answering(turn) = &self.turn {
            loop {
                begin_call(&self.store, budget);
                match turn.call_async(&mut self.store, ()).await? {
                    grid_abi::IDLE => break,
                    grid_abi::AGAIN => self.store.data().mailbox.flush(),
                    other => return Err(Stop::BadReturn(other).into()),
                }
            }
        }
        self.pending = Some(seq);
        if !matches!(self.turn, Turn::Polled(_)) || self.store.data().sent {
            self.finish();
        }
        self.store.data().mailbox.flush();
        Ok(())
    }

    /// Calls a `loop` that says nothing of itself; what it sends ends the message at hand.
    async fn poll_loop(&mut self) -> Result<()> {
        let Turn::Polled(turn) = &self.turn else {
            return Ok(());
        };
        let budget = self.store.data().limits.call;
        self.store.data_mut().sent = false;
        begin_call(&self.store, budget);
        turn.call_async(self.store.as_context_mut(), ()).await?;
        if self.store.data().sent {
            self.finish();
        }
        self.store.data().mailbox.flush();
        Ok(())
    }

    /// The message at hand is done.
    fn finish(&mut self) {
        if let Some(seq) = self.pending.take() {
            self.store.data().mailbox.done(seq);
        }
    }

    async fn stop(&mut self) -> Result<()> {
        if let Some(stop) = &self.stop {
            let budget = self.store.data().limits.stop;
            begin_call(&self.store, budget);
            stop.call_async(&mut self.store, ()).await?;
        }
        self.store.data().mailbox.flush();
        Ok(())
    }
}

/// Between calls of a `loop` that says nothing of itself.
const POLL_INTERVAL: Duration = Duration::from_millis(grid_abi::POLL_INTERVAL_MS);
