//! The outbox: what a host's workers have to say, on its way to the connection's writers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use grid_protocol::id::WorkerId;
use grid_protocol::limits::LOG_LINE_BYTES_MAX;
use grid_protocol::post::Post;
use grid_protocol::worker::{LogLevel, LogLine};
use tokio::sync::Notify;

/// Lines that wait for each worker: a worker that writes faster than the network carries loses its own.
const LINES_WAITING_MAX: usize = 64;

/// Everything that a host sends, whichever connection carries it.
#[derive(Debug, Default)]
pub struct Outbox {
    mail: Mutex<OutgoingMail>,
    logs: Mutex<BTreeMap<WorkerId, WaitingLog>>,
    /// Wakes the writer of the mail streams.
    pub mail_ready: Notify,
    /// Wakes the writer of the control stream.
    pub control_ready: Notify,
}

#[derive(Debug, Default)]
struct OutgoingMail {
    post: Post,
    connection: u64,
}

/// Lines of one worker that wait for the control stream.
#[derive(Debug, Default)]
pub struct WaitingLog {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// How many were dropped before them.
    pub dropped: u64,
}

impl Outbox {
    /// Changes the outgoing mail of `connection`; does nothing if that one is gone.
    pub fn with_post(&self, connection: u64, change: impl FnOnce(&mut Post)) {
        let mut mail = lock(&self.mail);
        if mail.connection == connection && connection != 0 {
            change(&mut mail.post);
            drop(mail);
            self.mail_ready.notify_one();
        }
    }

    /// A connection stands; the number that names it. Mail made for an earlier one is dropped: each worker
    /// resumes by itself.
    pub fn connect(&self) -> u64 {
        let mut mail = lock(&self.mail);
        let connection = mail.connection + 1;
        *mail = OutgoingMail { post: Post::default(), connection };
        connection
    }

    /// The connection is lost: mail for it is dropped until the next one stands.
    pub fn disconnect(&self) {
        // A number that no mailbox has been given.
        self.connect();
    }

    /// Takes the mail that waits.
    pub fn take_post(&self) -> Post {
        std::mem::take(&mut lock(&self.mail).post)
    }

    /// Keeps a line for the manager.
    pub fn log(&self, worker: WorkerId, level: LogLevel, text: &str) {
        let text = text.get(..text.floor_char_boundary(LOG_LINE_BYTES_MAX)).unwrap_or_default().to_owned();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let mut logs = lock(&self.logs);
        let waiting = logs.entry(worker).or_default();
        if waiting.lines.len() < LINES_WAITING_MAX {
            waiting.lines.push(LogLine { unix_ms, level, text });
        } else {
            waiting.dropped += 1;
        }
        drop(logs);
        self.control_ready.notify_one();
    }

    /// Takes the lines of one worker that wait.
    pub fn take_log(&self) -> Option<(WorkerId, WaitingLog)> {
        lock(&self.logs).pop_first()
    }

    /// Forgets the lines that wait.
    pub fn clear_logs(&self) {
        lock(&self.logs).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
