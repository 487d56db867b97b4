//! The end of a process: what it said last counts, and each of its guests is told how it ended.

use std::process::ExitStatus;

use grid_protocol::limits::REASON_BYTES_MAX;
use grid_protocol::worker::{End, FailureKind};
use tokio::io::AsyncReadExt;

use super::{Driver, failed};
use crate::sandbox::executor::process::GuestCommand;
use crate::sandbox::{GuestEnd, GuestStart};

/// Why a process ends.
#[derive(PartialEq)]
pub(super) enum ProcessEnd {
    /// It has ended by itself.
    Gone,
    /// Nobody needs it.
    Idle,
    /// Because of this guest, which ends so.
    Guest(u32, End),
    /// Because of what it did as a whole.
    Process(String),
    /// It cannot load its module.
    Refused(String),
}

impl Driver {
    /// Ends the process, and tells each of its guests how it ended.
    pub(super) async fn finish(mut self, mut verdict: ProcessEnd) {
        self.process.close(false);
        // It may have ended already.
        let _ = self.child.start_kill();
        let status = self.child.wait().await;
        // Whatever it sent before its end counts. A guest that was done with something then is not what took too long.
        let handled = self.handled_by_guilty(&verdict);
        while self.take_frames(usize::MAX).is_ok() && !self.reader.is_empty() {}
        let is_guilty = self.handled_by_guilty(&verdict) == handled;
        // Nothing is written any more, so that nothing can fail.
        let _ = self.attend_touched(false);
        if let Some(reason) = self.refused.take() {
            verdict = ProcessEnd::Refused(reason);
        }
        let reason = self.explain(&verdict, status).await;
        if matches!(verdict, ProcessEnd::Gone | ProcessEnd::Process(_)) {
            tracing::warn!(%reason, "guests are lost");
        }
        let refused = matches!(verdict, ProcessEnd::Refused(_));
        let guilty = match verdict {
            ProcessEnd::Guest(guest, end) if is_guilty => Some((guest, end)),
            _ => None,
        };
        let started = self.take_started();
        let lost = if refused {
            GuestEnd::Ended(failed(FailureKind::ModuleRefused, reason))
        } else {
            GuestEnd::Lost { reason }
        };
        for (guest, remote) in self.guests.drain() {
            let end = guilty.as_ref().filter(|(guilty, _)| *guilty == guest);
            remote.finish(end.map_or_else(|| lost.clone(), |(_, end)| GuestEnd::Ended(end.clone())));
        }
        for start in started {
            (start.on_end)(lost.clone());
        }
    }

    /// Why the process ended, in words.
    async fn explain(&mut self, verdict: &ProcessEnd, status: std::io::Result<ExitStatus>) -> String {
        match verdict {
            ProcessEnd::Gone => {
                let said = self.last_words().await;
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                let said = if said.is_empty() { said } else { format!(": {said}") };
                format!("its executor process ended: {status}{said}")
            }
            ProcessEnd::Idle => "its executor process was idle".to_owned(),
            ProcessEnd::Guest(..) => "another guest of its executor process did not end".to_owned(),
            ProcessEnd::Process(reason) => format!("its executor process was ended: {reason}"),
            ProcessEnd::Refused(reason) => reason.clone(),
        }
    }

    /// Number of messages that the guest which is to blame for an end has handled.
    fn handled_by_guilty(&self, end: &ProcessEnd) -> Option<u64> {
        let ProcessEnd::Guest(guest, _) = end else {
            return None;
        };
        self.guests.get(guest).map(|remote| remote.handled)
    }

    /// The guests that were to be started and were not.
    fn take_started(&mut self) -> Vec<GuestStart> {
        self.process.take_work(&mut self.work);
        self.commands.extend(self.work.commands.drain(..));
        let started = self.commands.drain(..).filter_map(|command| match command {
            GuestCommand::Start(_, start) => Some(*start),
            GuestCommand::End(_) | GuestCommand::Expire(_) | GuestCommand::Withdrawn { .. } => None,
        });
        started.collect()
    }

    /// What the process wrote to standard error.
    async fn last_words(&mut self) -> String {
        let mut said = Vec::new();
        if let Some(stderr) = self.child.stderr.take() {
            let mut stderr = stderr.take(REASON_BYTES_MAX as u64);
            // It holds no end of this pipe any more, so that this ends; if it fails, there is nothing to tell.
            let _ = stderr.read_to_end(&mut said).await;
        }
        String::from_utf8_lossy(&said).trim().to_owned()
    }
}
