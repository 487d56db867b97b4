//! The outbox: what a host's workers have to say, on its way to the connection's writers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use grid_protocol::id::WorkerId;
use grid_protocol::limits::{LOG_LINE_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::mail::BulkHead;
use grid_protocol::send_queue::SendQueue;
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
    pub mail_ready: Arc<Notify>,
    /// Wakes the writer of the control stream.
    pub control_ready: Notify,
}

#[derive(Debug, Default)]
struct OutgoingMail {
    post: SendQueue,
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
    pub fn with_post(&self, connection: u64, change: impl FnOnce(&mut SendQueue)) {
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
        *mail = OutgoingMail { post: SendQueue::default(), connection };
        connection
    }

    /// The connection is lost: mail for it is dropped until the next one stands.
    pub fn disconnect(&self) {
        // A number that no mailbox has been given.
        self.connect();
    }

    /// Takes the mail that waits; the empty buffers in `lanes` are used for what comes next.
    pub fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        let mut mail = lock(&self.mail);
        mail.post.take_lanes(lanes);
        bulk.extend(std::iter::from_fn(|| mail.post.take_bulk()));
    }

    /// Keeps a line for the manager, or counts one that its worker was not allowed to write.
    pub fn log(&self, worker: WorkerId, level: LogLevel, text: Option<&str>) {
        let mut logs = lock(&self.logs);
        let waiting = logs.entry(worker).or_default();
        match text.filter(|_| waiting.lines.len() < LINES_WAITING_MAX) {
            Some(text) => waiting.lines.push(LogLine {
                unix_ms: unix_ms(),
                level,
                text: text.get(..text.floor_char_boundary(LOG_LINE_BYTES_MAX)).unwrap_or_default().to_owned(),
            }),
            None => waiting.dropped += 1,
        }
        drop(logs);
        self.control_ready.notify_one();
    }

    /// The waiting log of one worker, if it has any.
    pub(crate) fn take_log_of(&self, worker: WorkerId) -> Option<WaitingLog> {
        lock(&self.logs).remove(&worker)
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

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
