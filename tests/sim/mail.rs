//! Clients that talk to workers: they spawn some, send each numbered messages, and check what comes back.
//!
//! (M1) the answers of a worker come in the order of its messages, each once; (M2) when a worker has ended, each of its
//! messages was answered or is given back; (M3) on a good network everything is answered or given back at last.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_protocol::worker::Restart;
use grid_tests::Dice;
use tokio::time::{sleep, timeout};
use wasm_grid::{Bytes, Channel, Client, Event, WorkerId};

use crate::client::ClientNode;
use crate::guests::Task;

/// Workers of a round, and messages to each.
const WORKERS: u32 = 3;
const MESSAGES: u64 = 40;

/// How long a client waits after an error before it tries again.
const PAUSE: Duration = Duration::from_secs(1);

/// One worker, as its client sees it.
#[derive(Debug, Default)]
struct Correspondence {
    sent: u64,
    answered: u64,
    over: bool,
}

impl ClientNode {
    /// Has one round of messages after the other until the time is over.
    pub async fn exchange(self) {
        let mut dice = Dice::new(self.seed ^ 0x6d61_696c << 8 ^ u64::from(self.number));
        let client = loop {
            match self.connect(Some(Channel(u64::from(self.number) + 1))).await {
                Ok(client) => break client,
                Err(error) => tracing::info!(error, "a client of workers is not in yet"),
            }
            sleep(PAUSE).await;
        };
        while turmoil::sim_elapsed().unwrap_or_default() < self.until {
            match self.spawn(&client, &mut dice).await {
                Ok(workers) => self.round(&client, workers, &mut dice).await,
                Err(error) => {
                    tracing::info!(error, "no workers");
                    sleep(PAUSE).await;
                }
            }
        }
        self.checker.client_is_through(self.number);
        std::future::pending().await
    }

    async fn spawn(&self, client: &Client, dice: &mut Dice) -> Result<Vec<WorkerId>, String> {
        let module = client.upload("made-up", grid_tests::echo()).await.map_err(|error| error.to_string())?;
        let restart = [Restart::Never, Restart::OnFailure { at_most: 2 }][dice.roll(2)];
        let workers = client.spawn(module.digest).restart(restart).anywhere(WORKERS).await;
        workers.map_err(|denial| denial.to_string())
    }

    /// Sends the workers their messages, and waits until each is answered or given back; then stops the workers.
    async fn round(&self, client: &Client, workers: Vec<WorkerId>, dice: &mut Dice) {
        let mut all: BTreeMap<_, _> = workers.iter().map(|id| (*id, Correspondence::default())).collect();
        let mut stopping = false;
        while all.values().any(|worker| !worker.over) {
            for (id, worker) in &mut all {
                self.send(client, *id, worker, dice);
            }
            let answered = |worker: &Correspondence| worker.over || worker.answered == MESSAGES;
            if !stopping && all.values().all(answered) {
                stopping = client.stop_workers(&workers, Duration::from_secs(5)).await.is_ok();
            }
            // Room in a window opens without an event.
            let mut events = Vec::new();
            let _ = timeout(Duration::from_millis(200), client.next_events(&mut events)).await;
            for event in events {
                self.take(&mut all, event);
            }
            if stopping && all.values().any(|worker| !worker.over) {
                // A stop may have been lost with the manager that it was told.
                stopping = dice.roll(20) > 0;
            }
        }
        self.checker.round(all.values().map(|worker| worker.answered).sum());
    }

    fn send(&self, client: &Client, id: WorkerId, worker: &mut Correspondence, dice: &mut Dice) {
        while !worker.over && worker.sent < MESSAGES {
            let fails = dice.roll(200) == 0;
            let task = Task { number: worker.sent, ms: dice.roll(150) as u64, fails };
            match client.try_send(id, task.to_bytes()) {
                Ok(_) => worker.sent += 1,
                // Its window is full, or it has ended and its end is on its way.
                Err(_) => return,
            }
            if dice.roll(4) == 0 {
                return;
            }
        }
    }

    fn take(&self, all: &mut BTreeMap<WorkerId, Correspondence>, event: Event) {
        match event {
            Event::Message { worker, payload } => {
                let Some(known) = all.get_mut(&worker) else { return };
                let expected = Task { number: known.answered, ms: 0, fails: false }.answer();
                if known.over || payload != expected || known.answered >= known.sent {
                    let at = known.answered;
                    self.checker
                        .violate(format!("M1: {worker} gave {payload:?} as answer {at} of {known:?}"));
                }
                known.answered += 1;
            }
            Event::Left { worker, unanswered, end } => {
                let Some(known) = all.get_mut(&worker) else { return };
                if known.over {
                    self.checker.violate(format!("M2: {worker} ended twice"));
                }
                known.over = true;
                let back = unanswered.len() as u64;
                let in_order = unanswered.iter().rev().zip((0..known.sent).rev());
                let wrong = in_order.filter(|(payload, number)| number_of(payload) != *number).count();
                if known.answered + back < known.sent || back > known.sent || wrong > 0 {
                    self.checker
                        .violate(format!("M2: {worker} ended ({end}) with {back} messages back: {known:?}"));
                }
            }
            _ => {}
        }
    }
}

/// The number of a message that is given back.
fn number_of(payload: &Bytes) -> u64 {
    payload.get(..8).and_then(|bytes| bytes.try_into().ok()).map_or(u64::MAX, u64::from_le_bytes)
}
