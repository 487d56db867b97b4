//! The exporter: brings what a manager traced to a collector.

use std::time::Duration;

use grid_manager::TraceRecord;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::collector::Collector;
use crate::spans;

/// The name by which collectors know the manager.
const SERVICE: &str = "grid-manager";

/// Most records that one request brings: each is a dozen spans of some 200 bytes.
const BATCH_MAX: usize = 256;

/// Pause after a batch, in which the next one gathers.
const LINGER: Duration = Duration::from_millis(500);

/// Pauses between attempts to bring a batch; then it is dropped.
const RETRY_PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(15)];

/// Longest time to bring the rest when the manager has stopped.
const FINISH_TIME_MAX: Duration = Duration::from_secs(5);

/// Brings what a manager traced to a collector, in the background.
#[derive(Debug)]
pub struct Exporter {
    stop: oneshot::Sender<()>,
    work: JoinHandle<()>,
}

impl Exporter {
    /// Begins to bring `records` to `collector`. `say` is told when that begins to fail and when it works again, once
    /// each.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn start(
        collector: Collector,
        records: mpsc::Receiver<TraceRecord>,
        say: impl Fn(&str) + Send + 'static,
    ) -> Self {
        let (stop, stopped) = oneshot::channel();
        let work = Work { collector, records, say: Box::new(say), fails: false };
        Self { stop, work: tokio::spawn(work.run(stopped)) }
    }

    /// Brings what there is and ends, after five seconds at most.
    pub async fn finish(self) {
        // If the work has ended by itself, there is nothing to bring.
        let _ = self.stop.send(());
        if timeout(FINISH_TIME_MAX, self.work).await.is_err() {
            tracing::debug!("the last traces did not reach the collector in time");
        }
    }
}

struct Work {
    collector: Collector,
    records: mpsc::Receiver<TraceRecord>,
    say: Box<dyn Fn(&str) + Send>,
    /// The collector took nothing of late.
    fails: bool,
}

impl Work {
    async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                got = self.records.recv_many(&mut batch, BATCH_MAX) => if got == 0 { return },
            }
            tokio::select! {
                biased;
                _ = &mut stopped => {
                    self.bring(&batch).await;
                    break;
                }
                () = self.bring_surely(&batch) => {}
            }
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                () = sleep(LINGER) => {}
            }
        }
        let mut rest = Vec::new();
        while let Ok(record) = self.records.try_recv() {
            rest.push(record);
        }
        for batch in rest.chunks(BATCH_MAX) {
            self.bring(batch).await;
        }
    }

    /// Brings a batch, trying a few times.
    async fn bring_surely(&mut self, batch: &[TraceRecord]) {
        for pause in RETRY_PAUSES {
            if self.bring(batch).await {
                return;
            }
            sleep(pause).await;
        }
        self.bring(batch).await;
    }

    async fn bring(&mut self, batch: &[TraceRecord]) -> bool {
        let spans: Vec<_> = batch.iter().flat_map(spans::of_record).collect();
        if spans.is_empty() {
            return true;
        }
        let brought = self.collector.take(SERVICE, spans).await;
        let collector = &self.collector;
        match (&brought, self.fails) {
            (Err(error), false) => (self.say)(&format!("no traces reach {collector}: {error}")),
            (Ok(()), true) => (self.say)(&format!("traces reach {collector} again")),
            _ => {}
        }
        self.fails = brought.is_err();
        brought.is_ok()
    }
}
