//! The state that a connection's driver and its client share.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use grid_net::{Conn, MailHandler};
use grid_protocol::client::{self, Channel, Denial};
use grid_protocol::event::Event;
use grid_protocol::frame::FrameBatch;
use grid_protocol::host::Resume;
use grid_protocol::limits::MAIL_STREAMS;
use grid_protocol::mail::BulkHead;
use grid_protocol::role::Roles;
use grid_protocol::session::PendingEnd;
use grid_protocol::uncollected::Collectable;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, watch};

use crate::session::Session;

pub(super) struct ConnectionShared {
    pub(super) channel: Option<Channel>,
    pub(super) inner: Mutex<Session>,
    pub(super) mail_ready: Arc<Notify>,
    pub(super) control_ready: Notify,
    pub(super) arrived: Notify,
    pub(super) room: Notify,
    pub(super) conn: watch::Sender<Option<Conn>>,
    /// Why the manager disconnected this client for good, if it did.
    pub(super) sent_away: OnceLock<Denial>,
    pub(super) roles: Mutex<Roles>,
    /// The manager knows the requests about traces.
    pub(super) knows_traces: AtomicBool,
}

impl ConnectionShared {
    pub(super) fn new(channel: Option<Channel>) -> Self {
        Self {
            channel,
            inner: Mutex::default(),
            mail_ready: Arc::default(),
            control_ready: Notify::new(),
            arrived: Notify::new(),
            room: Notify::new(),
            conn: watch::Sender::new(None),
            sent_away: OnceLock::new(),
            roles: Mutex::default(),
            knows_traces: AtomicBool::new(false),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        self.inner.lock()
    }

    pub(super) fn connected(&self, conn: &Conn, state: Option<Resume>, resumed: bool) -> Result<(), String> {
        self.lock().connected(state.as_ref(), resumed)?;
        self.conn.send_replace(Some(conn.clone()));
        self.arrived.notify_one();
        // The manager may have forgotten the workers.
        self.room.notify_waiters();
        self.mail_ready.notify_one();
        self.control_ready.notify_one();
        Ok(())
    }

    pub(super) fn sent_away(&self, denial: Denial) {
        let _ = self.sent_away.set(denial);
        // Wakes the requests that wait for a connection.
        self.conn.send_replace(None);
    }

    pub(super) fn disconnected(&self) {
        self.conn.send_replace(None);
        self.lock().mail.disconnect();
    }

    /// Waits until the manager has acknowledged every note, for up to 1 s.
    pub(super) async fn flushed(&self) {
        let taken = async {
            while self.lock().control.backlog() > 0 {
                self.arrived.notified().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), taken).await;
    }

    pub(super) fn handle_control(&self, frame: &[u8]) -> Result<(), String> {
        let mut inner = self.lock();
        let event = inner.control.handle_frame(frame).map_err(|error| error.to_string())?;
        match event {
            Some(client::ClientEvent::Joined { worker, host, module, replaces }) => {
                inner.links.entry(worker).or_default();
                inner.waiting.push(Collectable::Joined(Event::Joined { worker, host, module, replaces }));
            }
            Some(client::ClientEvent::Left { worker, end, sent, settled }) => {
                let known = inner.links.entry(worker).or_default();
                known.ending = Some(PendingEnd { end: Some(end), sent, settled });
                inner.check_end(worker);
            }
            Some(_) | None => {}
        }
        drop(inner);
        self.arrived.notify_one();
        self.room.notify_waiters();
        self.control_ready.notify_one();
        Ok(())
    }
}

pub(super) struct RemoteMailHandler(pub(super) Arc<ConnectionShared>);

impl MailHandler for RemoteMailHandler {
    fn take(&self, lanes: &mut [Vec<u8>; MAIL_STREAMS], bulk: &mut VecDeque<(BulkHead, Bytes)>) {
        self.0.lock().mail.take(lanes, bulk);
    }

    fn handle_frames(&self, frames: &FrameBatch) -> Result<(), String> {
        let mut inner = self.0.lock();
        for body in frames.bodies() {
            inner.handle_frame(body, frames.buffer())?;
        }
        drop(inner);
        self.0.arrived.notify_one();
        self.0.room.notify_waiters();
        Ok(())
    }

    fn handle_bulk(&self, head: BulkHead, payload: Bytes) -> Result<(), String> {
        self.0.lock().handle_bulk(head, payload)?;
        self.0.arrived.notify_one();
        Ok(())
    }
}
