//! Feeds tasks from their source to the job. They are read on a thread of their own, so that a slow source delays
//! neither outcomes nor Ctrl-C.

use std::cmp::Ordering;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::{thread, vec};

use tokio::sync::{mpsc, oneshot};
use wasm_grid::{Bytes, Denial, Inputs};

use crate::command::cli_error::CliError;
use crate::command::run::journal::{Prefix, RunJournal, chained};
use crate::command::run::source::TaskSource;
use crate::command::run::spans::Spans;

/// The tasks of a run, as the thread reads them.
pub(crate) struct Feed {
    chunks: mpsc::Receiver<Result<Vec<Bytes>, CliError>>,
    chunk: vec::IntoIter<Bytes>,
    checked: Option<oneshot::Receiver<()>>,
    /// The error in the input that ended the tasks, if any.
    pub(crate) wrong: Option<CliError>,
}

/// Tasks of the input that must not be submitted, because the job has them or they are done.
#[derive(Debug, Default)]
pub(crate) struct Skip {
    /// Tasks that were done before the job was made.
    pub(crate) done: Spans,
    /// Number of the other tasks that the job has already.
    pub(crate) had: u64,
}

/// Chunks that the thread reads ahead.
const CHUNKS_MAX: usize = 4;

/// Tasks and bytes of a chunk: a fast source gives about a batch at a time.
const CHUNK_TASKS_MAX: usize = 4096;
const CHUNK_BYTES_MAX: usize = 256 << 10;

impl Feed {
    /// Starts the thread that reads.
    pub(crate) fn start(
        source: TaskSource,
        skip: Skip,
        journal: Option<Arc<RunJournal>>,
    ) -> Result<Self, CliError> {
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let (check, checked) = oneshot::channel();
        let known = journal.as_ref().map(|journal| journal.prefix()).unwrap_or_default();
        let reader = FeedReader {
            source,
            skip,
            journal,
            known,
            read: Prefix::default(),
            chunk: Vec::new(),
            bytes: 0,
            check: Some(check),
            sender,
        };
        thread::Builder::new()
            .name("grid-tasks".to_owned())
            .spawn(move || reader.run())
            .map_err(|error| CliError::failed("the system gives no thread", error))?;
        Ok(Self { chunks, chunk: Vec::new().into_iter(), checked: Some(checked), wrong: None })
    }

    /// Waits until the input has been compared with the part that the journal knows; fails if they differ.
    pub(crate) async fn checked(&mut self) -> Result<(), CliError> {
        let Some(checked) = self.checked.take() else {
            return Ok(());
        };
        if checked.await.is_ok() {
            return Ok(());
        }
        match self.chunks.recv().await {
            Some(Err(fault)) => Err(fault),
            _ => Err(CliError::failed("the tasks cannot be read", "the thread that reads them has ended")),
        }
    }

    /// The next chunk of tasks; `None` when there are no more, or the input is wrong.
    pub(crate) async fn next_chunk(&mut self) -> Option<Vec<Bytes>> {
        match self.chunks.recv().await? {
            Ok(chunk) => Some(chunk),
            Err(fault) => {
                self.wrong = Some(fault);
                None
            }
        }
    }
}

impl Inputs for &mut Feed {
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Denial>>> {
        loop {
            if let Some(task) = self.chunk.next() {
                return Poll::Ready(Some(Ok(task)));
            }
            match ready!(self.chunks.poll_recv(cx)) {
                Some(Ok(chunk)) => self.chunk = chunk.into_iter(),
                Some(Err(fault)) => self.wrong = Some(fault),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// The reader on the thread.
struct FeedReader {
    source: TaskSource,
    skip: Skip,
    journal: Option<Arc<RunJournal>>,
    /// The part of the input that the journal knows.
    known: Prefix,
    /// The part that has been read in this run.
    read: Prefix,
    chunk: Vec<Bytes>,
    bytes: usize,
    check: Option<oneshot::Sender<()>>,
    sender: mpsc::Sender<Result<Vec<Bytes>, CliError>>,
}

impl FeedReader {
    fn run(mut self) {
        if let Err(fault) = self.read() {
            // The tasks before the wrong one are still submitted.
            let stopped = self.check.is_none() && self.flush().is_err();
            self.check = None;
            if !stopped {
                // The receiver is dropped if the run was interrupted.
                let _ = self.sender.blocking_send(Err(fault));
            }
        }
    }

    fn read(&mut self) -> Result<(), CliError> {
        self.check_prefix(false)?;
        while let Some(task) = self.source.next()? {
            self.take(task);
            self.check_prefix(false)?;
            let full = self.chunk.len() >= CHUNK_TASKS_MAX || self.bytes >= CHUNK_BYTES_MAX;
            // Nothing is handed out before the input is known to be the journal's.
            if self.check.is_none() && (full || self.source.may_wait()) {
                self.flush()?;
            }
        }
        self.check_prefix(true)?;
        self.read.all = true;
        self.flush()
    }

    fn take(&mut self, task: Bytes) {
        let number = self.read.tasks;
        self.read.tasks += 1;
        if self.journal.is_some() {
            self.read.digest = chained(self.read.digest, &task);
        }
        if self.skip.done.contains(number) {
            return;
        }
        if self.skip.had > 0 {
            self.skip.had -= 1;
            return;
        }
        self.bytes += task.len();
        self.chunk.push(task);
    }

    /// Compares what was read with the journal once as much is read as the journal knows; `ended` is true at the end.
    fn check_prefix(&mut self, ended: bool) -> Result<(), CliError> {
        if self.check.is_none() {
            return Ok(());
        }
        let Prefix { tasks, digest, all } = self.known;
        let same = match self.read.tasks.cmp(&tasks) {
            Ordering::Less => !ended,
            Ordering::Equal => self.read.digest == digest,
            Ordering::Greater => false,
        };
        if !same {
            return Err(CliError::usage(format!("the journal is of another input: it knows {tasks} tasks"))
                .help("give the same tasks again, or another --resume JOURNAL to begin anew"));
        }
        let enough = self.read.tasks == tasks && (ended || !all);
        if let Some(check) = self.check.take_if(|_| enough) {
            // The receiver is dropped if the run was interrupted.
            let _ = check.send(());
        }
        Ok(())
    }

    /// Records what was read in the journal, then hands out the chunk.
    fn flush(&mut self) -> Result<(), CliError> {
        if let Some(journal) = &self.journal
            && (self.read.tasks > self.known.tasks || (self.read.all && !self.known.all))
        {
            journal.brought(self.read)?;
            self.known = self.read;
        }
        self.bytes = 0;
        if !self.chunk.is_empty() {
            let gone = |_| CliError::failed("the tasks are not wanted", "the run has ended");
            self.sender.blocking_send(Ok(std::mem::take(&mut self.chunk))).map_err(gone)?;
        }
        Ok(())
    }
}
