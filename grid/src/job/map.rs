//! The outcomes of a job, whose tasks are brought meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use grid_protocol::client::{Denial, DenialCode};
use grid_protocol::job::{JobInfo, OutcomeEntry};
use grid_protocol::limits::{BATCH_BYTES_MAX, BATCH_TASKS_MAX};

use crate::job::{Inputs, Job, RESULTS_WAIT, TaskOutcome};

/// Tasks that [`Map`] brings before it has given the outcomes of earlier ones: what waits here for its turn is never
/// more than their outcomes.
const AHEAD_MAX: u64 = 50_000;

/// The outcomes of a job whose tasks are brought as they are taken.
///
/// One request asks for outcomes while another brings tasks, so that a slow source of tasks holds up no outcome, and
/// a task is brought as soon as it is there. It is a [`Stream`], too.
pub struct Map<'a, I> {
    job: Job<'a>,
    inputs: I,
    /// Tasks that the manager has, from the first.
    brought: u64,
    /// Outcomes that were given.
    taken: u64,
    /// The number of the last outcome that came.
    after: u64,
    exhausted: bool,
    closed: bool,
    /// Whether the last answer had no more outcomes.
    drained: bool,
    /// Tasks that are on their way, in case that the way is left half-way.
    batch: Vec<Bytes>,
    /// Outcomes that came before their turn, if they are wanted in order.
    in_order: Option<BTreeMap<u64, TaskOutcome>>,
    waiting: VecDeque<TaskOutcome>,
    info: Option<JobInfo>,
    asking: Option<PendingRequest<'a, (Vec<OutcomeEntry>, JobInfo)>>,
    bringing: Option<PendingRequest<'a, BatchResult>>,
}

/// A request that is under way: it goes on where it was, whoever asks for its answer next.
type PendingRequest<'a, T> = Pin<Box<dyn Future<Output = Result<T, Denial>> + Send + 'a>>;

/// What came of bringing tasks.
enum BatchResult {
    /// The manager has all before this number.
    Tasks(u64),
    /// The job takes no more, because it was asked to, or because it is over.
    NoMore(Box<JobInfo>),
}

impl<'a> Job<'a> {
    /// Goes on with a job: brings `inputs`, of which the first is task `first`, and gives outcomes after number
    /// `after`.
    pub fn go_on<I: Inputs>(&self, first: u64, inputs: I, after: u64) -> Map<'a, I> {
        Map {
            job: self.clone(),
            inputs,
            brought: first,
            taken: 0,
            after,
            exhausted: false,
            closed: false,
            drained: false,
            batch: Vec::new(),
            in_order: None,
            waiting: VecDeque::new(),
            info: None,
            asking: None,
            bringing: None,
        }
    }

    async fn bring(self, first: u64, batch: Vec<Bytes>) -> Result<BatchResult, Denial> {
        match self.submit(first, batch).await {
            Ok(next) => Ok(BatchResult::Tasks(next)),
            Err(denial) if denial.code == DenialCode::Conflict => {
                let info = self.show().await?;
                if info.state.is_over() { Ok(BatchResult::NoMore(Box::new(info))) } else { Err(denial) }
            }
            Err(denial) => Err(denial),
        }
    }
}

impl<'a, I: Inputs> Map<'a, I> {
    /// Gives outcomes in the order of their tasks; a slow one holds back those after it.
    pub fn in_order(mut self) -> Self {
        self.in_order = Some(BTreeMap::new());
        self
    }

    /// The job.
    pub fn job(&self) -> &Job<'a> {
        &self.job
    }

    /// How far it is, as far as is known here.
    pub fn progress(&self) -> Option<&JobInfo> {
        self.info.as_ref()
    }

    /// Brings no more tasks: the outcomes of those that were brought still come.
    pub fn bring_no_more(&mut self) {
        self.exhausted = true;
    }

    /// True if the next outcome is here already.
    pub fn has_next(&self) -> bool {
        match &self.in_order {
            Some(early) => early.contains_key(&self.taken),
            None => !self.waiting.is_empty(),
        }
    }

    /// The next outcome; `None` when there are no more. One whose future was dropped half-way is not lost.
    ///
    /// A job that is given up or stopped while tasks are brought is brought no more of them: the outcomes that it
    /// has still come, and how it stands says the rest.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub async fn next(&mut self) -> Result<Option<TaskOutcome>, Denial> {
        poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<TaskOutcome>, Denial>> {
        loop {
            if let Some(outcome) = self.take_waiting() {
                return Poll::Ready(Ok(Some(outcome)));
            }
            if self.is_complete() {
                // Tasks that were stopped leave holes.
                let early = self.in_order.take().unwrap_or_default();
                if early.is_empty() {
                    return Poll::Ready(Ok(None));
                }
                self.waiting.extend(early.into_values());
                continue;
            }
            let answered = self.poll_answer(cx)?;
            let brought = self.poll_bringing(cx)?;
            if answered.is_pending() && brought.is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn take_waiting(&mut self) -> Option<TaskOutcome> {
        let outcome = match &mut self.in_order {
            Some(early) => early.remove(&self.taken),
            None => self.waiting.pop_front(),
        }?;
        self.taken += 1;
        Some(outcome)
    }

    fn is_complete(&self) -> bool {
        let all = |info: &JobInfo| info.state.is_over() && (self.drained || self.after >= info.recorded);
        self.info.as_ref().is_some_and(all)
    }

    /// Asks for outcomes, and takes in those that come.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        let asking = self.asking.get_or_insert_with(|| {
            let (job, after) = (self.job.clone(), self.after);
            Box::pin(async move { job.outcomes(after, RESULTS_WAIT).await })
        });
        let answered = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        let (outcomes, info) = answered?;
        self.drained = outcomes.is_empty() && info.state.is_over();
        for recorded in outcomes {
            self.after = recorded.seq;
            match &mut self.in_order {
                Some(early) => {
                    early.insert(recorded.task, recorded.into());
                }
                None => self.waiting.push_back(recorded.into()),
            }
        }
        self.learn(info);
        Poll::Ready(Ok(()))
    }

    /// Takes note of how the job stands. One that is over gets no more tasks.
    fn learn(&mut self, info: JobInfo) {
        // Answers come on streams of their own, and one may overtake another.
        let stand = |info: &JobInfo| (info.recorded, info.counts.submitted, info.state.is_over());
        if self.info.as_ref().is_some_and(|known| stand(known) > stand(&info)) {
            return;
        }
        if info.state.is_over() {
            (self.exhausted, self.closed, self.bringing) = (true, true, None);
            self.batch.clear();
        }
        self.info = Some(info);
    }

    /// Brings what tasks there are, if there is room; pending if there are none as yet.
    fn poll_bringing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        if self.bringing.is_none() {
            ready!(self.poll_batch(cx))?;
            let (job, first, batch) = (self.job.clone(), self.brought, self.batch.clone());
            self.bringing = if !batch.is_empty() {
                Some(Box::pin(job.bring(first, batch)))
            } else if !self.closed {
                Some(Box::pin(
                    async move { job.close().await.map(|info| BatchResult::NoMore(Box::new(info))) },
                ))
            } else {
                None
            };
        }
        let Some(bringing) = &mut self.bringing else {
            return Poll::Pending;
        };
        let brought = ready!(bringing.as_mut().poll(cx));
        self.bringing = None;
        match brought? {
            BatchResult::Tasks(next) => {
                self.brought = next;
                self.batch.clear();
            }
            BatchResult::NoMore(info) => {
                (self.exhausted, self.closed) = (true, true);
                self.learn(*info);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Fills the batch with what tasks there are; ready once it has one, or there will be none.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        let given = if self.in_order.is_some() { self.taken } else { self.after };
        if self.brought.saturating_sub(given) >= AHEAD_MAX && !self.exhausted && self.batch.is_empty() {
            return Poll::Pending;
        }
        let mut bytes: usize = self.batch.iter().map(|input| input.len() + 16).sum();
        while !self.exhausted && self.batch.len() < BATCH_TASKS_MAX / 2 && bytes < BATCH_BYTES_MAX / 2 {
            match self.inputs.poll_input(cx) {
                Poll::Ready(Some(input)) => {
                    let input = input?;
                    bytes += input.len() + 16;
                    self.batch.push(input);
                }
                Poll::Ready(None) => self.exhausted = true,
                Poll::Pending if self.batch.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Inputs + Unpin> Stream for Map<'_, I> {
    type Item = Result<TaskOutcome, Denial>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_outcome(cx).map(Result::transpose)
    }
}
