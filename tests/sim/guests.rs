//! Simulated guests: they take as long as their tasks say, fail if their tasks say so, and hang when their host does.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grid_host::mailbox::{MessagePort, Received};
use grid_host::sandbox::{GuestHandle, SimulatedGuests};
use grid_protocol::digest::Digest;
use grid_protocol::worker::{End, Failure, FailureKind};
use tokio::sync::Notify;

/// A task: its number, how long it takes, and whether it fails.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    /// Its number in its job.
    pub number: u64,
    /// How long it takes, in milliseconds.
    pub ms: u64,
    /// True if it fails on every host.
    pub fails: bool,
}

impl Task {
    /// The task as the bytes of an input.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.number, self.ms, u64::from(self.fails)].map(u64::to_le_bytes).concat()
    }

    fn from_bytes(bytes: &[u8]) -> Self {
        let word = |place: usize| {
            let bytes = bytes.get(place * 8..place * 8 + 8).and_then(|bytes| bytes.try_into().ok());
            u64::from_le_bytes(bytes.unwrap_or_default())
        };
        Self { number: word(0), ms: word(1), fails: word(2) != 0 }
    }

    /// The task's result.
    pub fn answer(self) -> Vec<u8> {
        self.number.wrapping_mul(self.number + 7).to_le_bytes().to_vec()
    }
}

/// What controls the simulated guests of one host.
#[derive(Debug, Default)]
pub struct Stage {
    /// True while all guests of the host hang.
    pub hangs: AtomicBool,
}

#[derive(Debug)]
struct Player {
    stage: Arc<Stage>,
    ended: AtomicBool,
    expired: AtomicBool,
    changed: Notify,
}

impl SimulatedGuests for Cast {
    fn start(
        &self,
        _: Digest,
        mail: Arc<dyn MessagePort>,
        on_start: Box<dyn FnOnce() + Send>,
        on_end: Box<dyn FnOnce(End) + Send>,
    ) -> Arc<dyn GuestHandle> {
        let player = Arc::new(Player {
            stage: self.0.clone(),
            ended: false.into(),
            expired: false.into(),
            changed: Notify::new(),
        });
        let playing = player.clone();
        let on_end = Mutex::new(Some(on_end));
        tokio::spawn(async move {
            on_start();
            let end = tokio::select! {
                end = play(&playing, &*mail) => end,
                end = until_ended(&playing) => end,
            };
            if let Some(on_end) = on_end.lock().unwrap().take() {
                on_end(end);
            }
        });
        player
    }

    fn are_wedged(&self) -> bool {
        self.0.hangs.load(Ordering::Relaxed)
    }
}

/// The simulated guests of one host, as the host is given them.
#[derive(Debug, Clone)]
pub struct Cast(pub Arc<Stage>);

async fn play(player: &Player, mail: &dyn MessagePort) -> End {
    loop {
        match poll_fn(|cx| mail.poll_incoming(cx)).await {
            Received::Message(delivery) => {
                let task = Task::from_bytes(&delivery.payload);
                tokio::time::sleep(Duration::from_millis(task.ms)).await;
                while player.stage.hangs.load(Ordering::Relaxed) {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                if task.fails {
                    return End::Failed(failure(FailureKind::Trap));
                }
                mail.send(task.answer().into());
                mail.done(delivery.seq, None);
                mail.flush();
            }
            Received::Stop => return End::Stopped,
        }
    }
}

async fn until_ended(player: &Player) -> End {
    loop {
        let hangs = player.stage.hangs.load(Ordering::Relaxed);
        if player.ended.load(Ordering::Relaxed) && !hangs {
            return End::Stopped;
        }
        if player.expired.load(Ordering::Relaxed) && !hangs {
            return End::Failed(failure(FailureKind::TimeLimit));
        }
        if hangs {
            tokio::time::sleep(Duration::from_millis(100)).await;
        } else {
            player.changed.notified().await;
        }
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, message: "as it was told to".into(), backtrace: Vec::new() }
}

impl GuestHandle for Player {
    fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn expire(&self, over: bool) {
        self.expired.store(over, Ordering::Relaxed);
        self.changed.notify_one();
    }

    fn is_stuck(&self) -> bool {
        self.stage.hangs.load(Ordering::Relaxed)
    }
}
