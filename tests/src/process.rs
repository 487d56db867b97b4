//! Processes of a test: started, listened to, ended by their own id and never left behind.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// A process whose every line is kept.
pub struct ChildProcess {
    name: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

/// Nothing that a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(40);

impl ChildProcess {
    /// Starts a program.
    ///
    /// # Panics
    ///
    /// If there is none: `cargo build --workspace --bins` builds them.
    pub fn start(name: &str, command: &mut Command) -> Self {
        Self::start_with_stderr(name, command, Stdio::piped())
    }

    /// As [`Self::start`], with a standard error of the test's own, which is not listened to.
    ///
    /// # Panics
    ///
    /// If there is no such program.
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

    /// Waits for a line with `part` in it, from the beginning or since then.
    ///
    /// # Panics
    ///
    /// If it does not come.
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

    /// As [`Self::wait_for`], while other things go on.
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

    /// Whether it has said a line with `part` in it by now.
    pub fn has_said(&mut self, part: &str) -> bool {
        self.said.extend(self.lines.try_iter());
        self.said.iter().any(|line| line.contains(part))
    }

    /// Forgets what was said, so that [`Self::wait_for`] waits for something new.
    pub fn forget(&mut self) {
        self.said.extend(self.lines.try_iter());
        self.said.clear();
    }

    /// Waits for the end of the process; its exit code.
    ///
    /// # Panics
    ///
    /// If it does not end, or was killed.
    pub fn exit_code(&mut self) -> i32 {
        self.wait().code().unwrap_or_else(|| panic!("{} was killed", self.name))
    }

    /// Waits for its end, however it comes.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub fn ended(&mut self) {
        self.wait();
    }

    /// Everything that it said, once it has ended.
    ///
    /// # Panics
    ///
    /// If it does not end.
    pub fn everything(&mut self) -> String {
        self.wait();
        // Both ends of the channel are closed when the readers have read to the end.
        self.said.extend(self.lines.iter());
        self.said.join("\n")
    }

    /// Kills the process, as a machine that loses power does.
    ///
    /// # Panics
    ///
    /// If the system does not.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.wait();
    }

    /// The most memory that it has held, in KiB.
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Its number in the system.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`, `STOP` or `CONT`.
    ///
    /// # Panics
    ///
    /// If there is no such process any more.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Stops threads whose names begin so, and no others, until the value is dropped.
    ///
    /// # Panics
    ///
    /// If there are none.
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
            // The system has no wait with a limit; 5 ms is the grain of this one.
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{} does not end; it said: {:#?}", self.name, self.said);
    }
}

/// Threads that stand still, in a process that goes on.
pub struct Frozen {
    thaw: Option<Sender<()>>,
    keeper: Option<std::thread::JoinHandle<()>>,
}

impl Frozen {
    fn new(threads: Vec<i32>) -> Self {
        assert!(!threads.is_empty(), "there is no such thread");
        let (thaw, thawed) = channel::<()>();
        let (frozen, is_frozen) = channel();
        // Whoever holds a thread must be the one that lets it go.
        let keeper = std::thread::spawn(move || {
            for thread in &threads {
                trace(libc::PTRACE_SEIZE, *thread);
                trace(libc::PTRACE_INTERRUPT, *thread);
                // SAFETY: no memory is passed.
                let stopped = unsafe { libc::waitpid(*thread, std::ptr::null_mut(), libc::__WALL) };
                assert_eq!(stopped, *thread, "{}", std::io::Error::last_os_error());
            }
            frozen.send(()).unwrap();
            // Ends with an error when the other end is dropped.
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
            // It has panicked in front of everybody already.
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
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
