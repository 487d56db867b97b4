//! The message loop of a guest, from its start to its end: messages, turns, and the call of `stop`.

use bytes::Bytes;
use tokio::time::{Duration, Instant, timeout_at};
use wasmtime::{Result, Store};

use crate::mailbox::{Delivery, Received};
use crate::sandbox::guest::Guest;
use crate::sandbox::{MESSAGES_IN_A_ROW, begin_call, begin_slice};

/// The exports of a guest that lives on between messages.
pub(super) trait Exports: Send {
    /// The store of the guest.
    fn store(&mut self) -> &mut Store<Guest>;

    /// When the guest takes turns.
    fn turns(&self) -> Turns;

    /// Calls `handle_msg` with a message.
    fn handle_msg(&mut self, message: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Calls `loop`, which gives the guest a turn.
    fn turn(&mut self) -> impl Future<Output = Result<Turn>> + Send;

    /// Calls `stop`, if the guest has it.
    fn stop(&mut self) -> impl Future<Output = Result<()>> + Send;
}

/// When a guest takes turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turns {
    /// Never.
    None,
    /// After each message.
    AfterMessages,
    /// At its start, and after each message.
    FromTheStart,
    /// From its start on, at each poll interval, and after each message, because its `loop` returns nothing.
    Polled,
}

/// When a guest wants its next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// After the next message.
    Idle,
    /// Immediately.
    Again,
    /// After the poll interval, or after the next message if that comes first.
    Later,
}

/// A guest that has been started.
pub(super) struct MessageLoop<E> {
    exports: E,
    /// Number of the last message if it is not done yet, because a turn will continue with it later.
    pending: Option<u64>,
    /// When the next turn is due, if no message comes first.
    next_turn: Option<Instant>,
    /// Messages and turns since the guest last waited or yielded.
    in_a_row: u32,
}

impl<E: Exports> MessageLoop<E> {
    pub(super) fn new(exports: E) -> Self {
        Self { exports, pending: None, next_turn: None, in_a_row: 0 }
    }

    /// Handles messages until the guest is asked to stop, then calls `stop`.
    pub(super) async fn live(&mut self) -> Result<()> {
        self.guest().mailbox.flush();
        match self.exports.turns() {
            Turns::None | Turns::AfterMessages => {}
            Turns::FromTheStart => self.take_turns().await?,
            Turns::Polled => self.next_turn = Some(Instant::now() + POLL_INTERVAL),
        }
        loop {
            match self.incoming().await {
                Some(Received::Message(delivery)) => self.handle(delivery).await?,
                Some(Received::Stop) => return self.stop().await,
                None => self.take_turns().await?,
            }
            self.in_a_row += 1;
            if self.in_a_row >= MESSAGES_IN_A_ROW {
                self.in_a_row = 0;
                if !self.guest().is_alone {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// The next message or stop request; `None` if a turn is due first.
    async fn incoming(&mut self) -> Option<Received> {
        let next_turn = self.next_turn;
        let mailbox = &self.exports.store().data().mailbox;
        let mut waited = false;
        let incoming = std::future::poll_fn(|cx| {
            let polled = mailbox.poll_incoming(cx);
            waited |= polled.is_pending();
            polled
        });
        let incoming = match next_turn {
            Some(next_turn) => timeout_at(next_turn, incoming).await.ok(),
            None => Some(incoming.await),
        };
        if waited {
            self.in_a_row = 0;
            begin_slice(self.exports.store());
            self.guest().meter.note_waited();
        }
        incoming
    }

    async fn handle(&mut self, delivery: Delivery) -> Result<()> {
        let Delivery { seq, payload, .. } = delivery;
        self.guest().take_up(seq);
        self.begin_call();
        self.exports.handle_msg(payload).await?;
        self.pending = Some(seq);
        match self.exports.turns() {
            Turns::None => self.finish(),
            Turns::AfterMessages | Turns::FromTheStart => return self.take_turns().await,
            Turns::Polled => {
                self.finish_if_answered();
                return self.take_turns().await;
            }
        }
        self.guest().mailbox.flush();
        Ok(())
    }

    /// Gives the guest turns until it wants no other immediately.
    async fn take_turns(&mut self) -> Result<()> {
        self.next_turn = None;
        loop {
            self.begin_call();
            match self.exports.turn().await? {
                Turn::Idle => self.finish(),
                Turn::Again => {
                    self.guest().mailbox.flush();
                    continue;
                }
                Turn::Later => {
                    self.finish_if_answered();
                    self.next_turn = Some(Instant::now() + POLL_INTERVAL);
                }
            }
            self.guest().mailbox.flush();
            return Ok(());
        }
    }

    /// Acknowledges the pending message as handled.
    fn finish(&mut self) {
        if let Some(seq) = self.pending.take() {
            self.guest().mailbox.done(seq, None);
        }
    }

    /// Acknowledges the pending message if the guest has sent something since it came.
    fn finish_if_answered(&mut self) {
        if self.guest().sent {
            self.finish();
        }
    }

    async fn stop(&mut self) -> Result<()> {
        let store = self.exports.store();
        begin_call(store, store.data().limits.stop);
        self.exports.stop().await?;
        self.guest().mailbox.flush();
        Ok(())
    }

    fn begin_call(&mut self) {
        let store = self.exports.store();
        begin_call(store, store.data().limits.call);
    }

    fn guest(&mut self) -> &mut Guest {
        self.exports.store().data_mut()
    }
}

/// Time between the turns of a guest that will continue later.
const POLL_INTERVAL: Duration = Duration::from_millis(grid_abi::POLL_INTERVAL_MS);
