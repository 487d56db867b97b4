//! What `grid top` asks the manager for, round by round.

use std::time::{Duration, SystemTime};

use grid_protocol::activity::{FEED_BATCH_MAX, FeedEntry, HostWork, JobSummary, Overview, TaskInfo};
use grid_protocol::time::millis;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use wasm_grid::{
    Client, Denial, HostInfo, JobInfo, LogLine, ModuleInfo, Reply, Request, Roles, Status, Subject,
    WorkerInfo, WorkerStatus, unexpected,
};

use crate::command::top::deed::TopDeed;
use crate::command::top::resource::TopResource;
use crate::command::top::thing::TopThing;

/// How long the manager may take to say that it is there; a round trip around the world takes a tenth.
const PATIENCE: Duration = Duration::from_secs(3);

/// By how much the clocks of two machines may differ between two answers, in milliseconds.
const CLOCKS_DIFFER_MS: u64 = 300;

/// How long a worker's host may take to say what the worker does.
const HOST_PATIENCE: Duration = Duration::from_secs(1);

/// What is on the screen, and so has to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TopWanted {
    /// The list.
    pub(crate) resource: TopResource,
    /// The thing that is described.
    pub(crate) thing: Option<TopThing>,
    /// True for its log instead of its description.
    pub(crate) logs: bool,
}

/// What came from the manager, or did not.
#[derive(Debug)]
pub(crate) enum TopNews {
    /// The answers of one round.
    Round(Box<TopRound>),
    /// The manager gives no answer.
    Lost {
        /// The time of this machine, in milliseconds since 1970.
        unix_ms: u64,
        /// Why.
        why: String,
    },
    /// A deed was done, or refused.
    Told {
        /// The sentence about it.
        text: String,
        /// True if it was refused.
        bad: bool,
    },
}

/// The answers of one round. A list that was not asked for, or refused, is `None`.
#[derive(Debug, Clone)]
pub(crate) struct TopRound {
    /// What was asked for.
    pub(crate) wanted: TopWanted,
    /// The grid, without which there is no round.
    pub(crate) status: Status,
    /// What the key may do; `None` where it may do everything.
    pub(crate) roles: Option<Roles>,
    pub(crate) overview: Option<Overview>,
    pub(crate) hosts: Option<Vec<HostInfo>>,
    pub(crate) jobs: Option<Vec<JobInfo>>,
    pub(crate) workers: Option<Vec<WorkerInfo>>,
    pub(crate) modules: Option<Vec<ModuleInfo>>,
    /// New events, oldest first.
    pub(crate) events: Vec<FeedEntry>,
    /// Number of events before them that nobody can have any more.
    pub(crate) missed: u64,
    /// True if the manager was started since the last round.
    pub(crate) started_anew: bool,
    /// What is said of the wanted thing.
    pub(crate) detail: Option<TopDetail>,
    /// The first refusal of the round.
    pub(crate) refused: Option<String>,
}

/// What is said of one thing.
#[derive(Debug, Clone)]
pub(crate) enum TopDetail {
    /// Of a host.
    Host(HostWork),
    /// Of a job, with why it is as it is.
    Job(Box<JobInfo>, JobSummary, Vec<String>),
    /// Of a task, with why it is as it is.
    Task(TaskInfo, Vec<String>),
    /// Of a worker: what its host says, if it says anything.
    Worker(Option<WorkerStatus>),
    /// What a worker wrote, and the number of lines that were dropped before.
    Logs(Vec<LogLine>, u64),
    /// That it cannot be shown.
    Refused(String),
}

/// Asks the manager again and again.
pub(crate) struct TopFetcher {
    client: Client,
    interval: Duration,
    wanted: watch::Receiver<TopWanted>,
    news: mpsc::Sender<TopNews>,
    /// The number of the last event that was seen.
    after: u64,
    /// How long the manager had been up at its last answer, in milliseconds, and when that came.
    up: Option<(u64, Instant)>,
}

impl TopFetcher {
    /// Asks for what is wanted each `interval`, and whenever something else is wanted.
    pub(crate) fn new(
        client: Client,
        interval: Duration,
        wanted: watch::Receiver<TopWanted>,
        news: mpsc::Sender<TopNews>,
    ) -> Self {
        Self { client, interval, wanted, news, after: 0, up: None }
    }

    /// Runs until nobody listens.
    pub(crate) async fn run(mut self) {
        loop {
            let begun = Instant::now();
            let wanted = *self.wanted.borrow_and_update();
            let news = match self.round(wanted).await {
                Ok(round) => TopNews::Round(Box::new(round)),
                Err(why) => TopNews::Lost { unix_ms: unix_ms(), why },
            };
            if self.news.send(news).await.is_err() {
                return;
            }
            tokio::select! {
                () = sleep_until(begun + self.interval) => {}
                changed = self.wanted.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The answers to what is wanted, or why there are none.
    async fn round(&mut self, wanted: TopWanted) -> Result<TopRound, String> {
        let begun = Instant::now();
        let asked = timeout(PATIENCE, self.client.request(Request::Status)).await;
        let status = match asked {
            Err(_) => return Err("it does not answer".to_owned()),
            Ok(Err(denial)) => return Err(refusal(&denial)),
            Ok(Ok(Reply::Status(status))) => status,
            Ok(Ok(other)) => return Err(refusal(&unexpected(&other))),
        };
        let started_anew =
            self.up.is_some_and(|(before, at)| is_younger(before, begun - at, status.uptime_ms));
        self.up = Some((status.uptime_ms, Instant::now()));
        if started_anew {
            self.after = 0;
        }
        let roles = self.client.roles();
        let mut round = TopRound {
            wanted,
            status,
            roles,
            overview: None,
            hosts: None,
            jobs: None,
            workers: None,
            modules: None,
            events: Vec::new(),
            missed: 0,
            started_anew,
            detail: None,
            refused: None,
        };
        let everyones = roles.is_none_or(Roles::sees_all);
        let (client, after) = (&self.client, self.after);
        let requests = requests(wanted, everyones);
        let (feed, detail, replies) =
            tokio::join!(feed(client, after), detail(client, wanted), ask_all(client, requests));
        for reply in replies {
            round.take(reply);
        }
        let (events, missed, next) = feed.unwrap_or_else(|denial| {
            round.refused.get_or_insert_with(|| refusal(&denial));
            (Vec::new(), 0, after)
        });
        (round.events, round.missed, round.detail, self.after) = (events, missed, detail, next);
        Ok(round)
    }
}

/// True if a manager that has been up for `uptime_ms` is not the one that had been up for `before` milliseconds at least
/// `passed` ago.
fn is_younger(before: u64, passed: Duration, uptime_ms: u64) -> bool {
    let passed = millis(passed);
    uptime_ms.saturating_add(CLOCKS_DIFFER_MS) < before.saturating_add(passed)
}

impl TopRound {
    fn take(&mut self, reply: Result<Reply, Denial>) {
        match reply {
            Ok(Reply::Overview(overview)) => self.overview = Some(overview),
            Ok(Reply::Hosts(hosts)) => self.hosts = Some(hosts),
            Ok(Reply::Jobs(jobs)) => self.jobs = Some(jobs),
            Ok(Reply::Workers(workers)) => self.workers = Some(workers),
            Ok(Reply::Modules(modules)) => self.modules = Some(modules),
            Ok(other) => self.refused = Some(refusal(&unexpected(&other))),
            Err(denial) => {
                self.refused.get_or_insert_with(|| refusal(&denial));
            }
        }
    }
}

/// The lists that a screen needs: its own, and those that have the names of what stands in it.
fn requests(wanted: TopWanted, everyones: bool) -> Vec<Request> {
    let mut requests = vec![Request::Overview];
    let (resource, thing) = (wanted.resource, wanted.thing);
    let is_worker = resource == TopResource::Workers || matches!(thing, Some(TopThing::Worker(_)));
    let is_host = resource == TopResource::Hosts || matches!(thing, Some(TopThing::Host(_)));
    let is_job = resource == TopResource::Jobs || matches!(thing, Some(TopThing::Job(_)));
    let is_module = resource == TopResource::Modules || matches!(thing, Some(TopThing::Module(_)));
    if is_host || is_worker {
        requests.push(Request::HostList);
    }
    if is_module || is_worker || is_job || matches!(thing, Some(TopThing::Host(_))) {
        requests.push(Request::ModuleList);
    }
    if resource == TopResource::Jobs {
        requests.push(Request::JobList { everyones });
    }
    if is_worker {
        requests.push(Request::WorkerList { everyones, ended: true });
    }
    requests
}

async fn ask_all(client: &Client, requests: Vec<Request>) -> Vec<Result<Reply, Denial>> {
    let mut replies = Vec::new();
    for request in requests {
        replies.push(client.request(request).await);
    }
    replies
}

/// The events after a number, the number of those that were missed, and the number to ask with next.
async fn feed(client: &Client, after: u64) -> Result<(Vec<FeedEntry>, u64, u64), Denial> {
    let (mut events, mut missed_so_far, mut after) = (Vec::new(), 0, after);
    loop {
        match client.request(Request::Feed { after, most: FEED_BATCH_MAX, wait_ms: 0 }).await? {
            Reply::Feed { entries, missed, next } => {
                let is_all = entries.len() < FEED_BATCH_MAX as usize;
                events.extend(entries);
                (missed_so_far, after) = (missed_so_far + missed, next);
                if is_all {
                    return Ok((events, missed_so_far, after));
                }
            }
            other => return Err(unexpected(&other)),
        }
    }
}

/// What is said of the thing that is wanted.
async fn detail(client: &Client, wanted: TopWanted) -> Option<TopDetail> {
    let detail = match wanted.thing? {
        TopThing::Worker(worker) if wanted.logs => logs(client, Request::WorkerLogs { worker }).await,
        TopThing::Worker(worker) => {
            let asked = timeout(HOST_PATIENCE, client.request(Request::WorkerPing { worker })).await;
            match asked {
                Ok(Ok(Reply::WorkerStatus(status))) => Ok(TopDetail::Worker(Some(status))),
                _ => Ok(TopDetail::Worker(None)),
            }
        }
        TopThing::Host(host) => match client.request(Request::HostShow { host }).await {
            Ok(Reply::HostWork(work)) => Ok(TopDetail::Host(work)),
            other => Err(denial(other)),
        },
        TopThing::Job(job) => {
            let (info, summary) = tokio::join!(
                client.request(Request::JobShow { job }),
                client.request(Request::JobSummary { job })
            );
            match (info, summary) {
                (Ok(Reply::Job(info)), Ok(Reply::JobSummary(summary))) => {
                    let explained = explanation(client, Subject::Job(job)).await;
                    Ok(TopDetail::Job(Box::new(info), summary, explained))
                }
                (Ok(Reply::Job(_)), other) | (other, _) => Err(denial(other)),
            }
        }
        TopThing::Task(job, task) => match client.request(Request::TaskShow { job, task }).await {
            Ok(Reply::Task(info)) => {
                Ok(TopDetail::Task(info, explanation(client, Subject::Task(job, task)).await))
            }
            other => Err(denial(other)),
        },
        TopThing::Module(_) | TopThing::Event(_) => return None,
    };
    Some(detail.unwrap_or_else(|denial| TopDetail::Refused(refusal(&denial))))
}

async fn logs(client: &Client, request: Request) -> Result<TopDetail, Denial> {
    match client.request(request).await {
        Ok(Reply::Logs { lines, dropped }) => Ok(TopDetail::Logs(lines, dropped)),
        other => Err(denial(other)),
    }
}

/// Why it is as it is; the refusal if that is refused.
async fn explanation(client: &Client, subject: Subject) -> Vec<String> {
    match client.request(Request::Explain(subject)).await {
        Ok(Reply::Explanation { lines }) => lines,
        other => vec![refusal(&denial(other))],
    }
}

fn denial(reply: Result<Reply, Denial>) -> Denial {
    reply.map_or_else(|denial| denial, |reply| unexpected(&reply))
}

/// Does a deed; what is to be said of it.
pub(crate) async fn carry_out(client: &Client, deed: &TopDeed) -> TopNews {
    match client.request(deed.request()).await {
        Ok(_) => TopNews::Told { text: deed.done(), bad: false },
        Err(denial) => TopNews::Told { text: refusal(&denial), bad: true },
    }
}

/// A refusal in a sentence, with what to do about it.
fn refusal(denial: &Denial) -> String {
    let help = if denial.help.is_empty() { String::new() } else { format!("; {}", denial.help) };
    format!("the manager says no: {denial}{help}")
}

/// The time of this machine, in milliseconds since 1970.
fn unix_ms() -> u64 {
    let passed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    millis(passed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasm_grid::{DenialCode, WorkerId};

    #[test]
    fn only_what_is_on_the_screen_is_asked_for() {
        let wanted = |resource, thing| TopWanted { resource, thing, logs: false };
        assert_eq!(requests(wanted(TopResource::Events, None), true), [Request::Overview]);
        let jobs = requests(wanted(TopResource::Jobs, None), false);
        assert_eq!(jobs, [Request::Overview, Request::ModuleList, Request::JobList { everyones: false }]);
        let worker = requests(wanted(TopResource::Events, Some(TopThing::Worker(WorkerId::new(1, 2)))), true);
        assert!(worker.contains(&Request::WorkerList { everyones: true, ended: true }), "{worker:?}");
        assert!(worker.contains(&Request::HostList) && worker.contains(&Request::ModuleList), "{worker:?}");
    }

    #[test]
    fn a_manager_that_was_started_again_is_told_from_one_that_answers_late() {
        let second = Duration::from_secs(1);
        assert!(!is_younger(5000, second, 6000));
        assert!(!is_younger(5000, second, 9000), "it was asked before, and answered late");
        assert!(is_younger(5000, second, 100));
        assert!(is_younger(500, 3 * second, 2000), "it is up for longer, and not for long enough");
    }

    #[test]
    fn a_refusal_says_what_why_and_what_to_do() {
        let (what, why) = ("job stop".to_owned(), "it is over".to_owned());
        let mut denial = Denial { code: DenialCode::Conflict, what, why, help: String::new() };
        assert_eq!(refusal(&denial), "the manager says no: job stop: it is over");
        denial.help = "look again".to_owned();
        assert_eq!(refusal(&denial), "the manager says no: job stop: it is over; look again");
    }
}
