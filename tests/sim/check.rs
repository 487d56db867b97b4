//! What was promised, and whether it was kept.
//!
//! (I1) each acknowledged task has exactly one outcome; (I2) there is none for what was never brought; (I3) results
//! are those of a run in which nothing goes wrong; (I4) never are two attempts at a task both accepted; (I5) no lease
//! is older than its time and a second; (I6) what waits, is leased, done and dead is what was brought; (I7) nothing that a
//! client was told of a job is taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use grid_protocol::job::{JobCounts, JobId, JobInfo};

use crate::guests::Task;

/// A task's number, and what is recorded of it: its results, or why it failed.
pub type Violation = (u64, Result<Vec<Vec<u8>>, String>);

/// Keeps the promises, and the first that was broken.
#[derive(Default)]
pub struct Checker(Mutex<Book>);

#[derive(Default)]
struct Book {
    violation: Option<String>,
    jobs: BTreeMap<JobId, Vec<Task>>,
    acknowledged: BTreeMap<JobId, u64>,
    /// What clients were told last of their jobs.
    told: BTreeMap<JobId, JobInfo>,
    /// Jobs that each client has ended, and whether another is under way.
    clients: BTreeMap<u8, (u8, bool)>,
    through: BTreeSet<u8>,
    outcomes: u64,
    dead: u64,
    /// How the manager described itself last.
    state: String,
}

impl Checker {
    /// Notes the first promise that is broken.
    pub fn violate(&self, what: String) {
        self.0.lock().unwrap().violation.get_or_insert(what);
    }

    /// How the manager describes itself.
    pub fn note_state(&self, state: String) {
        self.0.lock().unwrap().state = state;
    }

    /// How it last did.
    pub fn state(&self) -> String {
        self.0.lock().unwrap().state.clone()
    }

    /// What was broken, if anything.
    pub fn violation(&self) -> Option<String> {
        self.0.lock().unwrap().violation.clone()
    }

    /// The number of the job that a client is at.
    pub fn jobs_of(&self, client: u8) -> u8 {
        self.0.lock().unwrap().clients.get(&client).map_or(0, |at| at.0)
    }

    /// True if a client has begun that job and not ended it.
    pub fn is_begun(&self, client: u8, number: u8) -> bool {
        self.0.lock().unwrap().clients.get(&client) == Some(&(number, true))
    }

    /// A client begins a job, or begins it again.
    pub fn begin(&self, client: u8, number: u8, id: JobId, tasks: &[Task]) {
        let mut book = self.0.lock().unwrap();
        book.clients.insert(client, (number, true));
        book.jobs.insert(id, tasks.to_vec());
    }

    /// A client has everything of its job.
    pub fn end(&self, client: u8) {
        let mut book = self.0.lock().unwrap();
        let at = book.clients.entry(client).or_default();
        *at = (at.0 + 1, false);
    }

    /// A client begins nothing more.
    pub fn client_is_through(&self, client: u8) {
        self.0.lock().unwrap().through.insert(client);
    }

    /// How many clients are through.
    pub fn through(&self) -> usize {
        self.0.lock().unwrap().through.len()
    }

    /// Tasks up to `count` were acknowledged.
    pub fn acknowledged(&self, job: JobId, count: u64) {
        self.0.lock().unwrap().acknowledged.insert(job, count);
    }

    /// A client was told how its job stands.
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

    /// Outcomes of which a client was told.
    pub fn told_of(&self, id: JobId) -> u64 {
        let book = self.0.lock().unwrap();
        book.told.get(&id).map_or(0, |info| info.counts.done + info.counts.dead)
    }

    /// Tasks brought, outcomes recorded, and those among them that failed.
    pub fn counts(&self) -> (u64, u64, u64) {
        let book = self.0.lock().unwrap();
        (book.jobs.values().map(|tasks| tasks.len() as u64).sum(), book.outcomes, book.dead)
    }

    /// Compares everything that is recorded of a job with what it should be.
    pub fn audit(&self, id: JobId, info: &JobInfo, outcomes: &[Violation]) {
        if let Err(violation) = self.check(id, info, outcomes) {
            self.violate(format!("{violation} ({id})"));
        }
    }

    fn check(&self, id: JobId, info: &JobInfo, outcomes: &[Violation]) -> Result<(), String> {
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
