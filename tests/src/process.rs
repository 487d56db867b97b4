//! Processes of a test: their output is read, and they are ended by their own id when dropped.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A process whose output lines are all kept.
pub struct ChildProcess {
    name: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// How long a test waits for a line or for the end of a process.
const PATIENCE: Duration = Duration::from_secs(40);

impl ChildProcess {
    /// Starts a program.
    ///
    /// # Panics
    ///
    /// If it cannot be run: `cargo build --workspace --bins` builds the programs.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_with_stderr(name, command, Stdio::piped())
    }

    /// As [`Self::start`], with standard error sent to `stderr` and not read.
    ///
    /// # Panics
    ///
    /// If the program cannot be run.
    pub fn start_with_stderr(name: &str, command: &mut Command, stderr: Stdio) -> Self {
        let started = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn();
        let mut child = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|out| Box::new(out) as _),
            child.stderr.take().map(|err| Box::new(err) as _),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Self { name: name.to_owned(), child, lines, said: Vec::new() }
    }

    /// Waits for a line that contains `part`; one that was printed before counts, too.
    ///
    /// # Panics
    ///
    /// If it does not come within 40 s.
    pub fn wait_for(&mut self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        if let Some(line) = self.said.iter().find(|line| line.contains(part)) {
            return line.clone();
        }
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if line.contains(part) {
                        return line;
                    }
                }
                Err(_) => panic!("{} never said `{part}`; it said: {:#?}", self.name, self.said),
            }
        }
    }

    /// As [`Self::wait_for`], without blocking the runtime.
    ///
    /// # Panics
    ///
    /// If it does not come.
    pub async fn hear(mut self, part: &'static str) -> Self {
        let heard = tokio::task::spawn_blocking(move || {
            self.wait_for(part);
            self
        });
        heard.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// True if it has printed a line that contains `part`.
    pub fn has_said(&mut self, part: &str) -> bool {
        self.said.extend(self.lines.try_iter());
        self.said.iter().any(|line| line.contains(part))
    }

    /// Forgets the lines printed so far, so that [`Self::wait_for`] waits for a new one.
    pub fn forget(&mut self) {
        self.said.extend(self.lines.try_iter());
        self.said.clear();
    }

    /// Waits for the end of the process; returns its exit code.
    ///
    /// # Panics
    ///
    /// If it does not end, or was killed.
    pub fn exit_code(&mut self) -> i32 {
        self.wait().code().unwrap_or_else(|| panic!("{} was killed", self.name))
    }

    /// Waits for the end of the process, by itself or by a signal.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn ended(&mut self) {
        self.wait();
    }

    /// Waits for the end of the process; returns everything that it printed.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn everything(&mut self) -> String {
        self.wait();
        // The channel closes when both readers have read to the end.
        self.said.extend(self.lines.iter());
        self.said.join("\n")
    }

    /// Kills the process with SIGKILL, as if its machine lost power.
    ///
    /// # Panics
    ///
    /// If the system cannot.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// Its peak resident memory, in KiB.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`, `STOP` or `CONT`.
    ///
    /// # Panics
    ///
    /// If the process has ended.
    pub fn signal(&self, name: &str) {
        assert!(signal(self.child.id(), name));
    }

    /// Sends a signal by name to each of its [executors](Self::executors); returns how many there were.
    pub fn signal_executors(&self, name: &str) -> usize {
        self.executors().into_iter().filter(|id| signal(*id, name)).count()
    }

    /// The ids of the executor processes that this host has started, those that wait for guests included.
    pub fn executors(&self) -> Vec<u32> {
        let parent = self.id().to_string();
        let is_executor = |id: &u32| {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
            // The fields behind the program's name: its state, and its parent.
            let is_child = read("stat").rsplit_once(')').is_some_and(|(_, fields)| {
                fields.split_whitespace().nth(1).is_some_and(|field| field == parent)
            });
            is_child && read("cmdline").split('\0').any(|word| word == "--executor")
        };
        let processes = std::fs::read_dir("/proc").unwrap();
        let ids = processes.filter_map(|process| process.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(is_executor).collect()
    }

    /// Stops the threads whose names begin with `name`, and no others, until the returned value is dropped.
    ///
    /// # Panics
    ///
    /// If there are no such threads.
    pub fn freeze(&self, name: &str) -> Frozen {
        let tasks = format!("/proc/{}/task", self.child.id());
        let named = std::fs::read_dir(tasks).unwrap().filter_map(|task| {
            let path = task.ok()?.path();
            let comm = std::fs::read_to_string(path.join("comm")).ok()?;
            comm.starts_with(name).then(|| path.file_name()?.to_str()?.parse().ok()).flatten()
        });
        Frozen::new(named.collect())
    }

    fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            // The system has no wait with a time limit, so this one polls every 5 ms.
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} does not end; it said: {:#?}", self.name, self.said);
    }
}

/// Sends a signal by name; false if there is no such process.
fn signal(id: u32, name: &str) -> bool {
    Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status().unwrap().success()
}

/// Threads that are stopped in a process whose other threads run.
pub struct Frozen {
    thaw: Option<Sender<()>>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

impl Frozen {
    fn new(threads: Vec<i32>) -> Self {
        assert!(!threads.is_empty(), "there is no such thread");
        let (thaw, thawed) = channel::<()>();
        let (frozen, is_frozen) = channel();
        // The thread that attaches with ptrace must be the one that detaches.
        let keeper = std::thread::spawn(move || {
            for thread in &threads {
                trace(libc::PTRACE_SEIZE, *thread);
                trace(libc::PTRACE_INTERRUPT, *thread);
                // SAFETY: no memory is passed.
                let stopped = unsafe { libc::waitpid(*thread, std::ptr::null_mut(), libc::__WALL) };
                assert_eq!(stopped, *thread, "{}", std::io::Error::last_os_error());
            }
            frozen.send(()).unwrap();
            // Returns an error when the sender is dropped.
            let _ = thawed.recv();
            for thread in &threads {
                trace(libc::PTRACE_DETACH, *thread);
            }
        });
        is_frozen.recv().expect("the threads are frozen");
        Self { thaw: Some(thaw), keeper: Some(keeper) }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        drop(self.thaw.take());
        if let Some(keeper) = self.keeper.take() {
            // A panic of the thread was printed already.
            let _ = keeper.join();
        }
    }
}

fn trace(request: libc::c_uint, thread: i32) {
    // SAFETY: the request passes no memory.
    let done =
        unsafe { libc::ptrace(request, thread, std::ptr::null_mut::<()>(), std::ptr::null_mut::<()>()) };
    assert_eq!(done, 0, "ptrace: {}", std::io::Error::last_os_error());
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
