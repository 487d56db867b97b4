//! The outbox: mail and log lines of a host's workers, until the writers of the connection take them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use grid_protocol::id::WorkerId;
use grid_protocol::limits::{LOG_LINE_BYTES_MAX, MAIL_STREAMS};
use grid_protocol::link::Link;
use grid_protocol::mail::BulkHead;
use grid_protocol::session::MailSession;
use grid_protocol::time::millis;
use grid_protocol::worker::{LogLevel, LogLine};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::sandbox::wake_later;

/// Log lines that may wait for each worker. A worker that writes faster than the network carries loses its own lines.
const LINES_WAITING_MAX: usize = 64;

/// Outgoing mail, which belongs to one connection, and log lines, which outlive it.
#[derive(Debug, Default)]
pub struct Outbox {
    mail: Mutex<OutgoingMail>,
    logs: Mutex<BTreeMap<WorkerId, WaitingLog>>,
    /// Notifies the writer of the mail streams that mail waits.
    pub mail_ready: Arc<Notify>,
    /// Notifies the writer of the control stream that there may be something to report.
    pub control_ready: Notify,
}

#[derive(Debug, Default)]
struct OutgoingMail {
    session: MailSession,
    connection: u64,
}

/// Lines of one worker that wait for the control stream.
#[derive(Debug, Default)]
pub struct WaitingLog {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Number of lines that were dropped.
    pub dropped: u64,
}

impl Outbox {
    /// Changes the outgoing mail of `connection`; does nothing if that connection is lost.
    pub fn with_session(&self, connection: u64, change: impl FnOnce(&mut MailSession)) {
        let mut mail = self.mail.lock();
        if mail.connection == connection && connection != 0 {
            change(&mut mail.session);
            drop(mail);
            wake_later::notify(&self.mail_ready);
        }
    }

    /// Handles a new connection; returns its number, which is not 0. Drops mail queued for an earlier connection: the
    /// caller must resume each [`Mailbox`](crate::mailbox::Mailbox), which queues its mail again.
    pub fn connect(&self) -> u64 {
        let mut mail = self.mail.lock();
        mail.session.connect(&mut BTreeMap::<WorkerId, Link>::new(), &[]);
        mail.connection += 1;
        mail.connection
    }

    /// Handles the loss of the connection: drops its mail, and all mail until the next [`Self::connect`].
    pub fn disconnect(&self) {
        let mut mail = self.mail.lock();
        mail.session.disconnect();
        // The new number is given to no mailbox, so none can queue mail under it.
        mail.connection += 1;
    }

    /// Takes the mail that waits, and leaves the empty buffers in `lanes` for what is queued next.
    pub fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        self.mail.lock().session.take(lanes, bulk);
    }

    /// Keeps a line for the manager. If `text` is `None`, or too many lines wait, counts a dropped line instead.
    pub fn log(&self, worker: WorkerId, level: LogLevel, text: Option<&str>) {
        let mut logs = self.logs.lock();
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

    /// Takes the waiting log of `worker`, if it has any.
    pub(crate) fn take_log_of(&self, worker: WorkerId) -> Option<WaitingLog> {
        self.logs.lock().remove(&worker)
    }

    /// Takes the waiting log of one worker, the one with the lowest id; `None` if no log waits.
    pub fn take_log(&self) -> Option<(WorkerId, WaitingLog)> {
        self.logs.lock().pop_first()
    }

    /// Drops all waiting log lines.
    pub fn clear_logs(&self) {
        self.logs.lock().clear();
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(since)
}
