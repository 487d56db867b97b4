//! The session: the client's end of its workers' mail, which outlives each connection.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use grid_manager::Event;
use grid_protocol::client::ClientEnd;
use grid_protocol::id::{SessionId, WorkerId};
use grid_protocol::link::{DeliveryContent, Link, MessageKind};
use grid_protocol::mail::MailFrame;
use grid_protocol::send_queue::SendQueue;
use grid_protocol::worker::End;

/// What a client keeps of its session from one connection to the next.
#[derive(Default)]
pub(crate) struct Session {
    pub(crate) session: Option<SessionId>,
    pub(crate) control: ClientEnd,
    pub(crate) links: HashMap<WorkerId, SessionWorker>,
    pub(crate) post: SendQueue,
    pub(crate) up: bool,
    pub(crate) waiting: VecDeque<Collectable>,
    pub(crate) late: Vec<WorkerId>,
}

/// One worker's mail, and its end once it has ended.
#[derive(Default)]
pub(crate) struct SessionWorker {
    pub(crate) link: Link,
    pub(crate) queued: bool,
    pub(crate) ending: Option<EndedWorker>,
}

impl SessionWorker {
    /// True once the worker has ended, all of its mail has arrived, and [`Event::Left`] is queued.
    pub(crate) fn is_over(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.end.is_none())
    }
}

/// How a worker ended; `end` is taken when all of its mail has arrived.
pub(crate) struct EndedWorker {
    pub(crate) end: Option<End>,
    pub(crate) sent: u64,
    pub(crate) settled: u64,
}

/// What the program has yet to collect, in order.
pub(crate) enum Collectable {
    Mail(WorkerId),
    Joined(Event),
    Left(WorkerId, End),
}

impl Session {
    /// Ends every worker as lost with its host, because the manager has forgotten the session.
    pub(crate) fn forget_everything(&mut self) {
        self.control = ClientEnd::default();
        let workers: Vec<_> = self.links.keys().copied().collect();
        for worker in workers {
            let Some(known) = self.links.get_mut(&worker) else {
                continue;
            };
            if known.ending.as_ref().is_none_or(|ending| ending.end.is_some()) {
                let sent = known.link.position();
                known.ending = Some(EndedWorker { end: Some(End::HostLost), sent, settled: 0 });
                self.check_end(worker);
            }
        }
    }

    pub(crate) fn check_end(&mut self, worker: WorkerId) {
        let Some(known) = self.links.get_mut(&worker) else {
            return;
        };
        let Some(ending) = &mut known.ending else {
            return;
        };
        if !known.link.has_arrived(ending.sent) {
            return;
        }
        if let Some(end) = ending.end.take() {
            let settled = ending.settled.min(known.link.last_pushed());
            // No more than was sent, so that this cannot fail.
            drop(known.link.settle(settled));
            self.waiting.push_back(Collectable::Left(worker, end));
        }
    }

    pub(crate) fn collect(&mut self, most: usize, out: &mut Vec<Event>) {
        while out.len() < most {
            match self.waiting.pop_front() {
                None => break,
                Some(Collectable::Joined(event)) => out.push(event),
                Some(Collectable::Left(worker, end)) => {
                    let known = self.links.remove(&worker);
                    let unsettled = known.map(|mut known| known.link.take_unsettled()).unwrap_or_default();
                    let unanswered = unsettled.into_iter().map(|sent| sent.payload).collect();
                    out.push(Event::Left { worker, end, unanswered });
                }
                Some(Collectable::Mail(worker)) => self.take_mail(worker, most, out),
            }
        }
        for worker in std::mem::take(&mut self.late) {
            if let Some(known) = self.links.get_mut(&worker).filter(|_| self.up) {
                self.post.settle(worker, &mut known.link);
            }
        }
    }

    pub(crate) fn take_mail(&mut self, worker: WorkerId, most: usize, out: &mut Vec<Event>) {
        let Some(known) = self.links.get_mut(&worker) else {
            return;
        };
        self.late.push(worker);
        while out.len() < most {
            let Some(letter) = known.link.take_arrival() else {
                known.queued = false;
                return;
            };
            known.link.finish(letter.seq);
            out.push(match letter.kind {
                MessageKind::Message => Event::Message { worker, payload: letter.payload },
                MessageKind::Failure { about } => Event::Failed {
                    worker,
                    message: about,
                    reason: String::from_utf8_lossy(&letter.payload).into_owned(),
                },
            });
        }
        self.waiting.push_front(Collectable::Mail(worker));
    }

    pub(crate) fn arrivals(&mut self, worker: WorkerId) {
        if let Some(known) = self.links.get_mut(&worker)
            && !known.queued
            && known.link.has_ready_arrival()
        {
            known.queued = true;
            self.waiting.push_back(Collectable::Mail(worker));
        }
        self.check_end(worker);
    }

    pub(crate) fn handle_frame(&mut self, body: &Bytes) -> Result<(), String> {
        let frame = MailFrame::decode(body).map_err(|error| error.to_string())?;
        let worker = frame.worker();
        let known = self.links.entry(worker).or_default();
        let wrong = |error: grid_protocol::link::LinkError| error.to_string();
        let settled = match frame {
            MailFrame::Inline { seq, settled, kind, payload, .. } => {
                known
                    .link
                    .accept(seq, kind, DeliveryContent::Here(body.slice_ref(payload)))
                    .map_err(wrong)?;
                settled
            }
            MailFrame::Bulk { seq, settled, kind, .. } => {
                known.link.accept(seq, kind, DeliveryContent::Elsewhere).map_err(wrong)?;
                settled
            }
            MailFrame::Settled { settled, .. } => settled,
            _ => return Ok(()),
        };
        drop(known.link.settle(settled).map_err(wrong)?);
        self.arrivals(worker);
        Ok(())
    }
}
