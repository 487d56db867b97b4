//! Clients of the simulation: they submit jobs, take the outcomes, and check them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use grid_disk::Machine;
use grid_net::Network;
use grid_protocol::job::{JobId, Outcome, Payload};
use grid_protocol::key::SecretKey;
use grid_tests::Dice;
use wasm_grid::{Channel, Client, Denial, ManagerAddress};

use crate::check::Checker;
use crate::guests::Task;

/// A client of the simulation.
#[derive(Clone)]
pub struct ClientNode {
    pub number: u8,
    pub seed: u64,
    pub home: PathBuf,
    pub key: SecretKey,
    pub machine: Machine,
    pub network: Network,
    pub manager: ManagerAddress,
    pub checker: Arc<Checker>,
    /// The client begins no new job, and no new round of messages, after this time.
    pub until: Duration,
}

/// Tasks in a job.
const TASKS: usize = 60;

/// How long a client waits after an error before it begins again.
const PAUSE: Duration = Duration::from_secs(1);

impl ClientNode {
    /// Submits one job after the other until the time is over.
    pub async fn run(self) {
        let mut number = self.checker.jobs_of(self.number);
        loop {
            let begun = self.checker.is_begun(self.number, number);
            if !begun && turmoil::sim_elapsed().unwrap_or_default() > self.until {
                self.checker.client_is_through(self.number);
                return std::future::pending().await;
            }
            let tasks = self.tasks(number);
            let id = JobId([self.number * 100 + number; 16]);
            self.checker.begin(self.number, number, id, &tasks);
            let done = match self.connect(None).await {
                Ok(client) => self.work(&client, id, number, &tasks).await.map_err(|error| error.to_string()),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => {
                    self.checker.end(self.number);
                    number += 1;
                }
                Err(error) => {
                    tracing::info!(client = self.number, error, "the client begins again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// The tasks of a job: most are short, some outlast a lease, some fail.
    fn tasks(&self, job: u8) -> Vec<Task> {
        let mut dice = Dice::new(self.seed ^ u64::from(self.number) << 32 ^ u64::from(job) << 40);
        let task = |number| {
            let ms = match dice.roll(50) {
                0..3 => 12_000 + dice.roll(8000),
                3..12 => 1000 + dice.roll(2000),
                _ => 20 + dice.roll(600),
            };
            Task { number, ms: ms as u64, fails: dice.roll(25) == 0 }
        };
        (0..TASKS as u64).map(task).collect()
    }

    /// Connects, for the messages of the channel if one is given.
    pub async fn connect(&self, channel: Option<Channel>) -> Result<Client, String> {
        let builder = Client::builder().home(&self.home).key(self.key.clone());
        let builder = match channel {
            Some(channel) => builder.channel(channel),
            None => builder.without_mail(),
        };
        let builder = builder.rehearse_on(self.machine.clone(), self.network.clone());
        builder.connect_here(self.manager.clone()).await.map_err(|error| error.to_string())
    }

    async fn work(&self, client: &Client, id: JobId, number: u8, tasks: &[Task]) -> Result<(), Denial> {
        let module = match client.upload("made-up", grid_tests::echo()).await {
            Ok(info) => info.digest,
            Err(wasm_grid::PublishError::Denied(denial)) => return Err(denial),
            Err(error) => panic!("{error}"),
        };
        let job = client.job("job", module).id(id);
        let inputs = tasks.iter().map(|task| task.to_bytes());
        if number.is_multiple_of(2) {
            // As `Client::map` does.
            let mut results = job.map(inputs).await?;
            let mut seen = BTreeSet::new();
            while let Some(outcome) = results.next().await? {
                if !seen.insert(outcome.task) {
                    self.checker.violate(format!("I1: {id} task {} came twice", outcome.task));
                }
                results.progress().into_iter().for_each(|info| self.checker.told(info));
            }
        } else {
            let job = job.start().await?;
            let mut brought = 0;
            for tasks in tasks.chunks(10) {
                let inputs = tasks.iter().map(|task| task.to_bytes().into()).collect();
                brought = job.submit(brought, inputs).await?;
                self.checker.acknowledged(id, brought);
                self.checker.told(&job.show().await?);
            }
            job.close().await?;
            self.checker.told(&job.wait().await?);
        }
        self.audit(client, id).await
    }

    /// Reads everything that the manager recorded of a job, and checks it.
    async fn audit(&self, client: &Client, id: JobId) -> Result<(), Denial> {
        let job = client.find_job(id);
        let (mut after, mut outcomes) = (0, Vec::new());
        let told = self.checker.told_of(id);
        loop {
            let (more, info) = job.outcomes(after, Duration::ZERO).await?;
            self.checker.told(&info);
            if more.is_empty() {
                if told > outcomes.len() as u64 {
                    let there = outcomes.len();
                    self.checker
                        .violate(format!("I7: {told} outcomes of {id} were told of, and {there} are there"));
                }
                if !info.state.is_over() {
                    self.checker.violate(format!("I1: {id} is not over, and its client was told so"));
                }
                self.checker.audit(id, &info, &outcomes);
                return Ok(());
            }
            after = more.last().map_or(after, |recorded| recorded.seq);
            outcomes.extend(more.into_iter().map(|recorded| {
                let results = match recorded.outcome {
                    Outcome::Done(results) => Ok(results.into_iter().map(bytes).collect()),
                    Outcome::Dead { why, .. } => Err(why),
                };
                (recorded.task, results)
            }));
        }
    }
}

/// The bytes of a result; empty if the manager stores it as a blob.
fn bytes(result: Payload) -> Vec<u8> {
    if let Payload::Here(bytes) = result { bytes.into() } else { Vec::new() }
}
