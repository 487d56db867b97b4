//! A guest's life between its start and its end, whichever entry point it has: messages, turns, the last call.

use bytes::Bytes;
use tokio::time::{Duration, Instant, timeout_at};
use wasmtime::{Result, Store};

use crate::mailbox::{Delivery, Received};
use crate::sandbox::guest::Guest;
use crate::sandbox::{MESSAGES_IN_A_ROW, begin_call, begin_slice};

/// What a guest that lives on between messages can be asked.
pub(super) trait Exports: Send {
    /// Where it lives.
    fn store(&mut self) -> &mut Store<Guest>;

    /// When it takes turns.
    fn turns(&self) -> Turns;

    /// Gives it a message.
    fn handle_msg(&mut self, message: Bytes) -> impl Future<Output = Result<()>> + Send;

    /// Gives it a turn.
    fn turn(&mut self) -> impl Future<Output = Result<Turn>> + Send;

    /// Tells it that it ends.
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
    /// From its start on, each poll interval, and after each message; it says nothing of itself.
    Polled,
}

/// What is left to do after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing, until the next message.
    Idle,
    /// Something.
    Again,
    /// Nothing now: it takes another turn at the next poll.
    Later,
}

/// A guest that has been started.
pub(super) struct MessageLoop<E> {
    exports: E,
    /// The last message whose handling is not over: one is left behind by a turn that is to go on later.
    pending: Option<u64>,
    /// When the next turn is due, if nothing comes.
    next_turn: Option<Instant>,
}

impl<E: Exports> MessageLoop<E> {
    pub(super) fn new(exports: E) -> Self {
        Self { exports, pending: None, next_turn: None }
    }

    /// Takes messages until it is told to stop.
    pub(super) async fn live(&mut self) -> Result<()> {
        self.guest().mailbox.flush();
        match self.exports.turns() {
            Turns::None | Turns::AfterMessages => {}
            Turns::FromTheStart => self.take_turns().await?,
            Turns::Polled => self.next_turn = Some(Instant::now() + POLL_INTERVAL),
        }
        let mut in_a_row = 0;
        loop {
            match self.incoming().await {
                Some(Received::Message(letter)) => self.handle(letter).await?,
                Some(Received::Stop) => return self.stop().await,
                None => self.take_turns().await?,
            }
            in_a_row += 1;
            if in_a_row == MESSAGES_IN_A_ROW {
                in_a_row = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// What comes next; `None` when a turn is due before anything comes.
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
            begin_slice(self.exports.store());
        }
        incoming
    }

    async fn handle(&mut self, letter: Delivery) -> Result<()> {
        let Delivery { seq, payload, .. } = letter;
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

    /// Gives turns until nothing is left to do for now.
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

    /// The message at hand is done.
    fn finish(&mut self) {
        if let Some(seq) = self.pending.take() {
            self.guest().mailbox.done(seq);
        }
    }

    /// The message at hand is done if something was sent since it came.
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

/// Between turns of a guest that is to go on later.
const POLL_INTERVAL: Duration = Duration::from_millis(grid_abi::POLL_INTERVAL_MS);
