//! The journal of a run, with which the same command continues the run after a crash of any program.
//!
//! Each line is a JSON entry that holds from then on. Tasks are recorded before the manager gets them, and outcomes
//! after they were written out. A crash in between submits a task again, which the manager recognises, or prints an
//! outcome again, but loses none. If outcomes go to a file, its length is recorded with them, and anything beyond that
//! length is cut off.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasm_grid::{Bytes, Digest, JobId};

use crate::command::cli_error::CliError;
use crate::command::run::spans::Spans;

/// What identifies a run, apart from its input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunHeader {
    /// The digest of its module.
    pub(crate) module: String,
    /// The flags that change the results.
    pub(crate) options: Value,
}

/// The beginning of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// Number of its tasks.
    pub(crate) tasks: u64,
    /// The digest of all of them.
    pub(crate) digest: Digest,
    /// True if it is all of the input.
    pub(crate) all: bool,
}

impl Default for Prefix {
    fn default() -> Self {
        Self { tasks: 0, digest: Digest::of(&[]), all: false }
    }
}

impl Prefix {
    /// True if it is all of an input with this number of tasks.
    pub(crate) fn is_all(&self, tasks: u64) -> bool {
        self.all && self.tasks == tasks
    }
}

/// The digest of an input with one more task.
pub(crate) fn chained(digest: Digest, task: &Bytes) -> Digest {
    let both = [*digest.as_bytes(), *Digest::of(task).as_bytes()].concat();
    Digest::of(&both)
}

/// A line of the journal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Entry {
    /// The first line: identifies the run.
    RunHeader { version: u32, run: RunHeader },
    /// A job is made for all tasks that are not written out yet.
    Job { id: String },
    /// The manager may have the tasks of the input up to here.
    Brought { tasks: u64, digest: String, all: bool },
    /// Outcomes were written out: ranges of tasks, the number of the last outcome, and the length of the output in
    /// bytes.
    Written { tasks: Vec<(u64, u64)>, after: u64, length: u64 },
}

/// The version of the journal's format.
const VERSION: u32 = 1;

/// What a journal says, all entries together.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunState {
    /// The last job.
    pub(crate) job: Option<JobId>,
    /// Tasks whose outcomes were written out before the job was made: it does not have them.
    pub(crate) done_before: Spans,
    /// The number of the job's last outcome that was written out.
    pub(crate) after: u64,
    /// Tasks whose outcomes were written out.
    pub(crate) written: Spans,
    /// The length of the output after them, in bytes.
    pub(crate) length: u64,
    prefix: Prefix,
}

/// An open journal, locked against other runs.
pub(crate) struct RunJournal {
    path: PathBuf,
    inner: Mutex<JournalFile>,
}

struct JournalFile {
    file: File,
    state: RunState,
    /// Tasks whose outcomes were handed to the output since the last [`Entry::Written`].
    fresh: Spans,
}

impl RunJournal {
    /// Opens the journal of a run, or creates it.
    pub(crate) fn open(path: &Path, run: &RunHeader) -> Result<Self, CliError> {
        let unread =
            |error| CliError::failed(format!("the journal {} cannot be used", path.display()), error);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = opened.map_err(unread)?;
        file.try_lock().map_err(|error| {
            CliError::failed(format!("the journal {} is in use", path.display()), error)
                .help("another `grid run` has it; wait for its end")
        })?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unread)?;
        let (state, length) = replay(&bytes, run).map_err(|why| {
            CliError::usage(format!("the journal {} {why}", path.display())).help(OTHER_RUN)
        })?;
        let first = Entry::RunHeader { version: VERSION, run: run.clone() };
        let begins = |line: Vec<u8>| line.starts_with(&bytes);
        if length == 0 && !serde_json::to_vec(&first).is_ok_and(begins) {
            return Err(CliError::usage(format!("{} is no journal", path.display())).help(OTHER_RUN));
        }
        // A crash may have left half a line at the end.
        file.set_len(length as u64).map_err(unread)?;
        file.seek(SeekFrom::End(0)).map_err(unread)?;
        let journal = Self {
            path: path.to_path_buf(),
            inner: Mutex::new(JournalFile { file, state, fresh: Spans::default() }),
        };
        if length == 0 {
            journal.append(&mut journal.lock(), &first)?;
            journal.sync()?;
            // The file's name must be on disk, too.
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))
                .and_then(|folder| folder.sync_all())
                .map_err(unread)?;
        }
        Ok(journal)
    }

    /// What the journal says.
    pub(crate) fn state(&self) -> RunState {
        self.lock().state.clone()
    }

    /// The part of the input that the journal knows.
    pub(crate) fn prefix(&self) -> Prefix {
        self.lock().state.prefix
    }

    /// True if the outcome of the task was written out.
    pub(crate) fn has(&self, task: u64) -> bool {
        let inner = self.lock();
        inner.state.written.contains(task)
    }

    /// Records that a job is about to be made for the tasks not written out; on disk when this returns.
    pub(crate) fn job(&self, id: JobId) -> Result<(), CliError> {
        self.note(Entry::Job { id: id.to_string() })?;
        self.sync()
    }

    /// Records that tasks up to here are about to be submitted; on disk when this returns.
    pub(crate) fn brought(&self, prefix: Prefix) -> Result<(), CliError> {
        let Prefix { tasks, digest, all } = prefix;
        self.note(Entry::Brought { tasks, digest: digest.to_string(), all })?;
        self.sync()
    }

    /// Notes that a task's outcome was handed to the output; [`Self::written`] must follow.
    pub(crate) fn handed(&self, task: u64) {
        let mut inner = self.lock();
        inner.fresh.insert(task, task + 1);
        inner.state.written.insert(task, task + 1);
    }

    /// Records that everything handed to the output is written out: `after` is the number of the last outcome, `length`
    /// that of the output's bytes.
    ///
    /// The record survives the end of this process; after [`Self::sync`] also that of the machine.
    pub(crate) fn written(&self, after: u64, length: u64) -> Result<(), CliError> {
        let fresh = std::mem::take(&mut self.lock().fresh);
        if fresh.count() == 0 {
            return Ok(());
        }
        self.note(Entry::Written { tasks: fresh.rows().collect(), after, length })
    }

    /// Waits until all of the journal is on disk.
    pub(crate) fn sync(&self) -> Result<(), CliError> {
        self.lock().file.sync_data().map_err(|error| self.unwritten(error))
    }

    fn note(&self, entry: Entry) -> Result<(), CliError> {
        let mut inner = self.lock();
        self.append(&mut inner, &entry)?;
        // An entry that this process wrote is well-formed.
        let _ = inner.state.learn(entry);
        Ok(())
    }

    fn append(&self, inner: &mut JournalFile, entry: &Entry) -> Result<(), CliError> {
        let mut line = serde_json::to_vec(entry).map_err(|error| self.unwritten(error.into()))?;
        line.push(b'\n');
        inner.file.write_all(&line).map_err(|error| self.unwritten(error))
    }

    fn unwritten(&self, error: std::io::Error) -> CliError {
        CliError::failed(format!("the journal {} cannot be written", self.path.display()), error)
    }

    fn lock(&self) -> MutexGuard<'_, JournalFile> {
        self.inner.lock()
    }
}

const OTHER_RUN: &str = "give the module, the flags and the tasks that it was begun with, or another JOURNAL";

impl RunState {
    fn learn(&mut self, entry: Entry) -> Result<(), &'static str> {
        match entry {
            Entry::RunHeader { .. } => {}
            Entry::Job { id } => {
                self.job = Some(id.parse().map_err(|_| "names a job that cannot be")?);
                (self.done_before, self.after) = (self.written.clone(), 0);
            }
            Entry::Brought { tasks, digest, all } => {
                let digest = digest.parse().map_err(|_| "has a digest that cannot be")?;
                self.prefix = Prefix { tasks, digest, all };
            }
            Entry::Written { tasks, after, length } => {
                tasks.into_iter().for_each(|(first, end)| self.written.insert(first, end));
                (self.after, self.length) = (after, length);
            }
        }
        Ok(())
    }
}

/// Reads the complete lines; returns the state that they give and their length in bytes.
fn replay(bytes: &[u8], run: &RunHeader) -> Result<(RunState, usize), String> {
    let mut state = RunState::default();
    let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
    let lines = bytes.get(..length).unwrap_or_default().split(|byte| *byte == b'\n');
    for (number, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        let entry: Entry = serde_json::from_slice(line)
            .map_err(|error| format!("is no journal: line {}: {error}", number + 1))?;
        match (&entry, number) {
            (Entry::RunHeader { version: VERSION, run: theirs }, 0) => differs(theirs, run)?,
            (Entry::RunHeader { .. }, _) | (_, 0) => {
                return Err("is of another version of this program".to_owned());
            }
            _ => {}
        }
        state.learn(entry)?;
    }
    Ok((state, length))
}

/// Fails with a description of what differs between two runs, if anything does.
fn differs(theirs: &RunHeader, ours: &RunHeader) -> Result<(), String> {
    if theirs.module != ours.module {
        return Err(format!("is of another module, {}", theirs.module));
    }
    let (Some(theirs), Some(ours)) = (theirs.options.as_object(), ours.options.as_object()) else {
        return Err("is of a run with other flags".to_owned());
    };
    let other = ours.iter().find(|(name, value)| theirs.get(*name) != Some(value));
    other.map_or(Ok(()), |(name, value)| {
        let before = theirs.get(name).unwrap_or(&Value::Null);
        Err(format!("is of a run with another --{name}: it was {before}, and is {value}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run() -> RunHeader {
        RunHeader { module: "abc".to_owned(), options: json!({ "timeout": 1.0 }) }
    }

    fn written(path: &Path) {
        let journal = RunJournal::open(path, &run()).unwrap();
        journal.job(JobId([1; 16])).unwrap();
        let digest = chained(Digest::of(&[]), &Bytes::from("task"));
        journal.brought(Prefix { tasks: 9, digest, all: true }).unwrap();
        for task in [4, 5, 0] {
            journal.handed(task);
        }
        journal.written(3, 77).unwrap();
    }

    #[test]
    fn a_journal_that_is_opened_again_says_what_was_noted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path);
        let state = RunJournal::open(&path, &run()).unwrap().state();
        assert_eq!((state.job, state.after, state.length), (Some(JobId([1; 16])), 3, 77));
        assert_eq!(state.written.rows().collect::<Vec<_>>(), [(0, 1), (4, 6)]);
        assert_eq!((state.prefix.tasks, state.prefix.all, state.done_before.count()), (9, true, 0));
    }

    #[test]
    fn a_journal_that_is_cut_anywhere_opens_and_knows_a_beginning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path);
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let state = RunJournal::open(&path, &run()).unwrap().state();
            assert_eq!(state.written.count(), 0, "{length}");
            let again = std::fs::read(&path).unwrap();
            assert!(again.ends_with(b"\n") && (whole.starts_with(&again)), "{length}");
        }
    }

    #[test]
    fn a_journal_of_another_run_is_refused_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path);
        let other = RunHeader { module: "xyz".to_owned(), ..run() };
        let fault = RunJournal::open(&path, &other).err().unwrap();
        assert!(fault.what.contains("another module, abc"), "{fault:?}");
        let other = RunHeader { options: json!({ "timeout": 2.0 }), ..run() };
        let fault = RunJournal::open(&path, &other).err().unwrap();
        assert!(fault.what.contains("another --timeout"), "{fault:?}");
    }

    #[test]
    fn a_new_job_is_for_what_was_not_written_out_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        written(&path);
        let journal = RunJournal::open(&path, &run()).unwrap();
        journal.job(JobId([2; 16])).unwrap();
        let state = journal.state();
        assert_eq!((state.done_before.count(), state.after), (3, 0));
        assert!(journal.has(4) && !journal.has(3));
    }
}
