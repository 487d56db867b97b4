//! The promises that the simulation checks.
//!
//! (I1) each acknowledged task has exactly one outcome; (I2) no outcome is of a task that was never submitted; (I3)
//! results are those of a run without faults; (I4) no two attempts at one task are both accepted; (I5) no lease
//! outlives its time by more than a second; (I6) the waiting, leased, done and dead tasks together are those submitted;
//! (I7) nothing that a client was told of a job is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use grid_protocol::job::{JobCounts, JobId, JobInfo};

use crate::guests::Task;

/// A task's number and its recorded outcome: its results, or why it failed.
pub type CollectedOutcome = (u64, Result<Vec<Vec<u8>>, String>);

/// Records what clients were told, and the first promise that was broken.
#[derive(Default)]
pub struct Checker(Mutex<Book>);

#[derive(Default)]
struct Book {
    violation: Option<String>,
    jobs: BTreeMap<JobId, Vec<Task>>,
    acknowledged: BTreeMap<JobId, u64>,
    /// The last state of each job that a client was told.
    told: BTreeMap<JobId, JobInfo>,
    /// Number of jobs that each client has finished, and whether another is under way.
    clients: BTreeMap<u8, (u8, bool)>,
    through: BTreeSet<u8>,
    outcomes: u64,
    dead: u64,
    /// Messages to workers that were answered.
    answers: u64,
    /// The manager's last description of its own state.
    state: String,
}

impl Checker {
    /// Records a broken promise, if it is the first.
    pub fn violate(&self, what: String) {
        self.0.lock().unwrap().violation.get_or_insert(what);
    }

    /// Records the manager's description of its state.
    pub fn note_state(&self, state: String) {
        self.0.lock().unwrap().state = state;
    }

    /// The manager's last description of its state.
    pub fn state(&self) -> String {
        self.0.lock().unwrap().state.clone()
    }

    /// The first broken promise, if any.
    pub fn violation(&self) -> Option<String> {
        self.0.lock().unwrap().violation.clone()
    }

    /// The number of a client's current or next job.
    pub fn jobs_of(&self, client: u8) -> u8 {
        self.0.lock().unwrap().clients.get(&client).map_or(0, |at| at.0)
    }

    /// True if a client has begun that job and not finished it.
    pub fn is_begun(&self, client: u8, number: u8) -> bool {
        self.0.lock().unwrap().clients.get(&client) == Some(&(number, true))
    }

    /// Records that a client begins a job, or begins it again.
    pub fn begin(&self, client: u8, number: u8, id: JobId, tasks: &[Task]) {
        let mut book = self.0.lock().unwrap();
        book.clients.insert(client, (number, true));
        book.jobs.insert(id, tasks.to_vec());
    }

    /// Records that a client has finished its job.
    pub fn end(&self, client: u8) {
        let mut book = self.0.lock().unwrap();
        let at = book.clients.entry(client).or_default();
        *at = (at.0 + 1, false);
    }

    /// Records that a client begins no more jobs.
    pub fn client_is_through(&self, client: u8) {
        self.0.lock().unwrap().through.insert(client);
    }

    /// Number of clients that begin no more jobs.
    pub fn through(&self) -> usize {
        self.0.lock().unwrap().through.len()
    }

    /// Records that the first `count` tasks of a job were acknowledged.
    pub fn acknowledged(&self, job: JobId, count: u64) {
        self.0.lock().unwrap().acknowledged.insert(job, count);
    }

    /// Checks (I7) and records the state of a job that a client was told.
    pub fn told(&self, info: &JobInfo) {
        let mut book = self.0.lock().unwrap();
        let before = book.told.insert(info.id, info.clone());
        let numbers = |info: &JobInfo| {
            let JobCounts { submitted, done, dead, .. } = info.counts;
            [submitted, done, dead, info.recorded]
        };
        let Some(before) = before else { return };
        let less = numbers(&before).iter().zip(numbers(info)).any(|(before, now)| *before > now);
        if less || (before.state.is_over() && before.state != info.state) {
            let what = format!("I7: {} was told as {before:?}, and then as {info:?}", info.id);
            book.violation.get_or_insert(what);
        }
    }

    /// Number of outcomes that a client was told of.
    pub fn told_of(&self, id: JobId) -> u64 {
        let book = self.0.lock().unwrap();
        book.told.get(&id).map_or(0, |info| info.counts.done + info.counts.dead)
    }

    /// Records that a client of workers has had a round, with so many answers.
    pub fn round(&self, answers: u64) {
        self.0.lock().unwrap().answers += answers;
    }

    /// Number of messages to workers that were answered.
    pub fn answers(&self) -> u64 {
        self.0.lock().unwrap().answers
    }

    /// Number of tasks submitted, of outcomes recorded, and of the failed ones among those.
    pub fn counts(&self) -> (u64, u64, u64) {
        let book = self.0.lock().unwrap();
        (book.jobs.values().map(|tasks| tasks.len() as u64).sum(), book.outcomes, book.dead)
    }

    /// Checks everything that the manager recorded of a job.
    pub fn audit(&self, id: JobId, info: &JobInfo, outcomes: &[CollectedOutcome]) {
        if let Err(violation) = self.check(id, info, outcomes) {
            self.violate(format!("{violation} ({id})"));
        }
    }

    fn check(&self, id: JobId, info: &JobInfo, outcomes: &[CollectedOutcome]) -> Result<(), String> {
        let mut book = self.0.lock().unwrap();
        let tasks = book.jobs.get(&id).cloned().unwrap_or_default();
        let mut seen = BTreeSet::new();
        for (number, results) in outcomes {
            let task = usize::try_from(*number).ok().and_then(|place| tasks.get(place));
            let task = task.ok_or_else(|| format!("I2: task {number} was never brought"))?;
            if !seen.insert(*number) {
                return Err(format!("I1: task {number} has two outcomes"));
            }
            match results {
                Ok(results) if task.fails => return Err(format!("I3: task {number} gave {results:?}")),
                Ok(results) if *results != [task.answer()] => {
                    return Err(format!("I3: task {number} gave {results:?}"));
                }
                Err(why) if !task.fails && !why.contains("were lost") => {
                    return Err(format!("I3: task {number} failed: {why}"));
                }
                _ => {}
            }
            book.outcomes += 1;
            book.dead += u64::from(results.is_err());
        }
        if let Some(missing) = (0..tasks.len() as u64).find(|task| !seen.contains(task)) {
            return Err(format!("I1: task {missing} has no outcome"));
        }
        let counts = info.counts;
        let whole = counts.waiting + counts.leased + counts.done + counts.dead;
        if whole != counts.submitted || counts.submitted != tasks.len() as u64 {
            return Err(format!("I6: {counts:?} of {} tasks", tasks.len()));
        }
        let acknowledged = book.acknowledged.get(&id).copied().unwrap_or_default();
        if acknowledged > counts.submitted {
            return Err(format!(
                "I1: {acknowledged} tasks were acknowledged and {} are there",
                counts.submitted
            ));
        }
        Ok(())
    }
}
