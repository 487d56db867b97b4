//! The outcomes of a job, whose tasks are submitted meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use grid_protocol::client::{Denial, DenialCode};
use grid_protocol::job::{JobInfo, OutcomeEntry};

use crate::job::batch::{TaskBatch, TaskBatchBuilder};
use crate::job::{Inputs, Job, RESULTS_WAIT, TaskOutcome};

/// Tasks that [`Map`] submits ahead of the outcomes that it has given. It bounds the outcomes that wait here for their
/// turn.
const AHEAD_MAX: u64 = 50_000;

/// The outcomes of a job, whose tasks are submitted while outcomes are taken: with [`Self::next`], or as a [`Stream`].
///
/// One request waits for outcomes while another submits tasks, so that a slow source of tasks holds up no outcome, and
/// each task is submitted as soon as the source has it. Nothing is submitted while nobody waits for an outcome, nor is
/// the job closed: take outcomes until there are no more before you wait for the end of the job in another way.
pub struct Map<I> {
    job: Job,
    inputs: I,
    /// The number of the next task to submit; the manager has all before it.
    brought: u64,
    /// Number of outcomes given; in order, also the number of the next task.
    taken: u64,
    /// The number of the last outcome that came.
    after: u64,
    exhausted: bool,
    closed: bool,
    /// True if the job is over and the last answer had no more outcomes.
    drained: bool,
    /// Tasks that will be submitted next.
    filling: TaskBatchBuilder,
    /// Tasks that are being submitted, kept until the manager has them.
    batch: Option<TaskBatch>,
    /// Outcomes that came before their turn, if they are given in order.
    in_order: Option<BTreeMap<u64, OutcomeEntry>>,
    waiting: VecDeque<OutcomeEntry>,
    info: Option<JobInfo>,
    asking: Option<PendingRequest<(Vec<OutcomeEntry>, JobInfo)>>,
    bringing: Option<PendingRequest<BatchResult>>,
}

/// A request under way. It is kept across calls, so that a dropped call does not abandon it.
type PendingRequest<T> = Pin<Box<dyn Future<Output = Result<T, Denial>> + Send>>;

/// The result of submitting tasks or of closing the job.
enum BatchResult {
    /// The manager has all tasks before this number.
    Tasks(u64),
    /// The job takes no more tasks: it was closed, or it is over.
    NoMore(Box<JobInfo>),
}

impl Job {
    /// Continues a job: submits `inputs`, numbered from `first`, and gives the outcomes with numbers after `after`.
    ///
    /// With [`Map::in_order`], `after` must be 0: the first outcome given is that of task 0.
    pub fn go_on<I: Inputs>(&self, first: u64, inputs: I, after: u64) -> Map<I> {
        Map {
            job: self.clone(),
            inputs,
            brought: first,
            taken: 0,
            after,
            exhausted: false,
            closed: false,
            drained: false,
            filling: TaskBatchBuilder::default(),
            batch: None,
            in_order: None,
            waiting: VecDeque::new(),
            info: None,
            asking: None,
            bringing: None,
        }
    }

    async fn bring(self, first: u64, batch: TaskBatch) -> Result<BatchResult, Denial> {
        let end = first + batch.inputs.count();
        match self.submit_batch(first, batch).await {
            Ok(next) => Ok(BatchResult::Tasks(next.min(end))),
            Err(denial) if denial.code == DenialCode::Conflict => {
                let info = self.show().await?;
                if info.state.is_over() { Ok(BatchResult::NoMore(Box::new(info))) } else { Err(denial) }
            }
            Err(denial) => Err(denial),
        }
    }
}

impl<I: Inputs> Map<I> {
    /// Gives outcomes in the order of their tasks; a slow task holds back the outcomes after it.
    pub fn in_order(mut self) -> Self {
        self.in_order = Some(BTreeMap::new());
        self
    }

    /// The job.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// The job's state and counts as of the manager's last answer; `None` before the first.
    pub fn progress(&self) -> Option<&JobInfo> {
        self.info.as_ref()
    }

    /// Takes no more inputs; the outcomes of the tasks taken so far still come.
    pub fn bring_no_more(&mut self) {
        self.exhausted = true;
    }

    /// True if [`Self::next`] has an outcome to return without waiting.
    pub fn has_next(&self) -> bool {
        match &self.in_order {
            Some(early) => early.contains_key(&self.taken),
            None => !self.waiting.is_empty(),
        }
    }

    /// Waits for the next outcome; `None` when there are no more. Cancel-safe: a dropped call loses no outcome.
    ///
    /// When the job is given up or stopped, no more tasks are submitted. The outcomes that it has still come, and
    /// [`Self::progress`] tells the job's state.
    ///
    /// # Errors
    ///
    /// [`Denial`], of the manager or of the source of inputs.
    pub async fn next(&mut self) -> Result<Option<TaskOutcome>, Denial> {
        poll_fn(|cx| self.poll_outcome(cx)).await
    }

    fn poll_outcome(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<TaskOutcome>, Denial>> {
        loop {
            if let Some(outcome) = self.take_waiting() {
                return Poll::Ready(Ok(Some(outcome)));
            }
            if self.is_complete() {
                // The tasks of a stopped job that have no outcome leave gaps.
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
        Some(outcome.into())
    }

    fn is_complete(&self) -> bool {
        let all = |info: &JobInfo| info.state.is_over() && (self.drained || self.after >= info.recorded);
        self.info.as_ref().is_some_and(all)
    }

    /// Asks the manager for outcomes, and queues those that come.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        let asking = self.asking.get_or_insert_with(|| {
            let (job, after) = (self.job.clone(), self.after);
            Box::pin(async move { job.outcomes(after, RESULTS_WAIT).await })
        });
        let answered = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        let (outcomes, info) = answered?;
        self.drained = outcomes.is_empty() && info.state.is_over();
        self.after = outcomes.last().map_or(self.after, |newest| newest.seq);
        match &mut self.in_order {
            Some(early) => early.extend(outcomes.into_iter().map(|recorded| (recorded.task, recorded))),
            // None waited, or the manager would not have been asked.
            None => self.waiting = outcomes.into(),
        }
        self.learn(info);
        Poll::Ready(Ok(()))
    }

    /// Records the job's state, if it is news. A job that is over gets no more tasks.
    fn learn(&mut self, info: JobInfo) {
        // Each answer comes on a stream of its own, so that an older one may come later.
        let stand = |info: &JobInfo| (info.recorded, info.counts.submitted, info.state.is_over());
        if self.info.as_ref().is_some_and(|known| stand(known) > stand(&info)) {
            return;
        }
        if info.state.is_over() {
            (self.exhausted, self.closed, self.bringing) = (true, true, None);
            (self.filling, self.batch) = (TaskBatchBuilder::default(), None);
        }
        self.info = Some(info);
    }

    /// Submits the tasks that are ready, if there is room, or closes the job after the last; pending if there are none
    /// yet.
    fn poll_bringing(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        if self.bringing.is_none() {
            if self.batch.is_none() {
                ready!(self.poll_batch(cx))?;
                self.batch = self.filling.finish();
            }
            let (job, first) = (self.job.clone(), self.brought);
            self.bringing = match self.batch.clone() {
                Some(batch) => Some(Box::pin(job.bring(first, batch))),
                None if !self.closed => Some(Box::pin(async move {
                    job.close().await.map(|info| BatchResult::NoMore(Box::new(info)))
                })),
                None => None,
            };
        }
        let Some(bringing) = &mut self.bringing else {
            return Poll::Pending;
        };
        let brought = ready!(bringing.as_mut().poll(cx));
        self.bringing = None;
        match brought? {
            BatchResult::Tasks(next) => {
                (self.brought, self.batch) = (next, None);
            }
            BatchResult::NoMore(info) => {
                (self.exhausted, self.closed) = (true, true);
                self.learn(*info);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Fills the batch with the tasks that are ready; ready once it has one, or there will be none.
    fn poll_batch(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Denial>> {
        let given = if self.in_order.is_some() { self.taken } else { self.after };
        if self.brought.saturating_sub(given) >= AHEAD_MAX && !self.exhausted && self.filling.is_empty() {
            return Poll::Pending;
        }
        while !self.exhausted && !self.filling.is_enough() {
            match self.inputs.poll_input(cx) {
                Poll::Ready(Some(input)) => self.filling.push(input?),
                Poll::Ready(None) => self.exhausted = true,
                Poll::Pending if self.filling.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Inputs + Unpin> Stream for Map<I> {
    type Item = Result<TaskOutcome, Denial>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_outcome(cx).map(Result::transpose)
    }
}
