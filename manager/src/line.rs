//! Lines: the outgoing mail of each peer, whether or not it is connected just now.

use std::sync::Arc;

use grid_protocol::id::WorkerId;
use grid_protocol::send_queue::SendQueue;
use tokio::sync::Notify;

/// The outgoing side of one peer's mail.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Frames that wait for the writer.
    pub(crate) post: SendQueue,
    /// Wakes the connection's writer.
    pub(crate) wake: Arc<Notify>,
    /// False while no connection stands: frames are not made, and a resumption makes them anew.
    pub(crate) up: bool,
    /// Workers whose acknowledgement is owed and may travel with the next message to them.
    pub(crate) late: Vec<WorkerId>,
}

impl Line {
    /// A new connection stands: starts without the frames of the old one. The caller then resumes each link.
    pub(crate) fn connect(&mut self) -> Arc<Notify> {
        self.post = SendQueue::default();
        self.late.clear();
        self.wake = Arc::default();
        self.up = true;
        self.wake.clone()
    }

    /// The connection is lost.
    pub(crate) fn disconnect(&mut self) {
        self.post = SendQueue::default();
        self.late.clear();
        self.up = false;
    }
}

/// Names a line; as long as the manager lives, a peer keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct LineId(usize);

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Vec<Line>,
}

impl Lines {
    /// Adds a line, for a peer that has none.
    pub(crate) fn add(&mut self) -> LineId {
        self.lines.push(Line::default());
        LineId(self.lines.len() - 1)
    }

    /// The line, if a connection stands under it.
    pub(crate) fn up(&mut self, id: LineId) -> Option<&mut Line> {
        self.get(id).filter(|line| line.up)
    }

    /// The line.
    pub(crate) fn get(&mut self, id: LineId) -> Option<&mut Line> {
        self.lines.get_mut(id.0)
    }

    /// All lines.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Line> {
        self.lines.iter_mut()
    }
}
