//! A client over the network: the same mail as a client in the manager's process, over a connection that is made
//! again whenever it is lost.

mod driver;
mod requests;
mod shared;

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use grid_net::{BindError, ReachError, run_as_task};
use grid_protocol::client::{Channel, ClientNote, Denial, Reply, Request};
use grid_protocol::event::{Event, SendError};
use grid_protocol::host::JoinRefusal;
use grid_protocol::id::WorkerId;
use grid_protocol::job::{BlobRef, JobId};
use grid_protocol::limits::MESSAGE_BYTES_MAX;
use grid_protocol::link::MessageKind;
use grid_protocol::role::Roles;
use tokio::sync::{oneshot, watch};

pub(crate) use driver::Dialer;
pub(crate) use requests::ask;

use crate::access::{Access, Answer};
use crate::connection::driver::{AdmissionCallback, run};
use crate::connection::shared::ConnectionShared;
use crate::session::Session;

/// Why no connection to the manager was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connection was lost, or the manager's greeting made no sense.
    #[error("the manager cannot be reached: {0}")]
    Unreachable(String),
    /// The manager does not let this key in.
    #[error("the manager refuses: {0}")]
    Refused(JoinRefusal),
    /// The manager was not reached, or showed another key than the expected one.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// The UDP socket cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system gave no thread.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
}

/// A client's connection to its manager, kept up until it is dropped.
pub(crate) struct Connection {
    shared: Arc<ConnectionShared>,
    stopping: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Connection {
    /// Connects, and keeps the connection up from then on. Without a channel the client makes requests only.
    pub(crate) fn connect(dialer: Dialer, channel: Option<Channel>) -> Result<Self, ConnectError> {
        let shared = Arc::new(ConnectionShared::new(channel));
        let (stopping, stopped) = watch::channel(false);
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        // The receiver waits below.
        let ready: AdmissionCallback = Box::new(move |entered| drop(ready.send(entered)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Thread)?;
        let work = {
            let shared = shared.clone();
            move || run_as_task(&runtime, run(shared, dialer, stopped, ready))
        };
        let thread = thread::Builder::new()
            .name("grid-client".to_owned())
            .spawn(work)
            .map_err(ConnectError::Thread)?;
        is_ready.recv().map_err(|_| ended())??;
        Ok(Self { shared, stopping, thread: Some(thread) })
    }

    /// As [`Self::connect`], on the runtime of the caller.
    pub(crate) async fn connect_here(dialer: Dialer, channel: Option<Channel>) -> Result<Self, ConnectError> {
        let shared = Arc::new(ConnectionShared::new(channel));
        let (stopping, stopped) = watch::channel(false);
        let (ready, is_ready) = oneshot::channel();
        let ready: AdmissionCallback = Box::new(move |entered| drop(ready.send(entered)));
        tokio::spawn(run(shared.clone(), dialer, stopped, ready));
        is_ready.await.map_err(|_| ended())??;
        Ok(Self { shared, stopping, thread: None })
    }
}

impl Access for Connection {
    fn channel(&self) -> Channel {
        self.shared.channel.unwrap_or(Channel::COMMAND)
    }

    fn request(&self, request: Request, body: Option<Bytes>) -> Answer<'_, Reply> {
        Box::pin(async { self.exchange(request, body).await.0 })
    }

    fn fetch(&self, job: JobId, payload: BlobRef) -> Answer<'_, Result<Bytes, Denial>> {
        Box::pin(async move {
            match self.exchange(Request::PayloadFetch { job, payload }, None).await {
                (Reply::Payload { .. }, bytes) => Ok(bytes),
                (Reply::Denied(denial), _) => Err(denial),
                (other, _) => Err(crate::denial::unexpected(&other)),
            }
        })
    }

    fn try_send(&self, worker: WorkerId, message: Bytes) -> Result<u64, SendError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(SendError::TooLong { length: message.len(), max: MESSAGE_BYTES_MAX });
        }
        let mut session = self.shared.lock();
        let Session { links, mail, .. } = &mut *session;
        let Some(known) = links.get_mut(&worker).filter(|known| known.ending.is_none()) else {
            return Err(SendError::Gone(worker));
        };
        if !known.link.has_room() {
            return Err(SendError::Full(worker));
        }
        let seq = mail.send(worker, &mut known.link, MessageKind::Message, message, ());
        self.shared.mail_ready.notify_one();
        Ok(seq)
    }

    fn send(&self, worker: WorkerId, message: Bytes) -> Answer<'_, Result<u64, SendError>> {
        Box::pin(async move {
            loop {
                let room = self.shared.room.notified();
                tokio::pin!(room);
                room.as_mut().enable();
                match self.try_send(worker, message.clone()) {
                    Err(SendError::Full(_)) => room.await,
                    other => return other,
                }
            }
        })
    }

    fn try_collect(&self, most: usize, events: &mut Vec<Event>) {
        self.shared.lock().collect(most, events);
        self.shared.mail_ready.notify_one();
    }

    fn collect<'a>(&'a self, most: usize, events: &'a mut Vec<Event>) -> Answer<'a, ()> {
        Box::pin(async move {
            loop {
                let before = events.len();
                self.try_collect(before + most, events);
                if events.len() > before {
                    return;
                }
                self.shared.arrived.notified().await;
            }
        })
    }

    fn take_joined(&self) -> Option<Event> {
        self.shared.lock().waiting.take_joined()
    }

    fn changes(&self) -> Vec<(WorkerId, bool)> {
        self.shared.lock().waiting.changes().collect()
    }

    fn expect(&self, workers: &[WorkerId]) {
        let mut session = self.shared.lock();
        workers.iter().for_each(|worker| session.expect(*worker));
    }

    fn is_quiet(&self, worker: WorkerId) -> bool {
        let session = self.shared.lock();
        session.links.get(&worker).is_none_or(|known| {
            let link = &known.link;
            known.is_over() || link.unsettled().len() == 0 && link.has_arrived(link.last_accepted())
        })
    }

    fn sent_away(&self) -> Option<&Denial> {
        self.shared.sent_away.get()
    }

    fn settled(&self) -> Answer<'_, ()> {
        Box::pin(self.shared.room.notified())
    }

    fn goodbye(&self, grace_ms: u32) {
        self.shared.lock().control.send(&ClientNote::Goodbye { grace_ms });
        self.shared.control_ready.notify_one();
    }

    fn roles(&self) -> Option<Roles> {
        Some(*self.shared.roles.lock())
    }
}

fn ended() -> ConnectError {
    ConnectError::Unreachable("the client was ended before it was let in".to_owned())
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.stopping.send(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the client's thread panicked");
        }
    }
}
