//! The harness: a manager and hosts, each a process.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use wasm_grid::{Client, SecretKey};

use crate::process::ChildProcess;

/// A grid of real processes.
pub struct Grid {
    /// The manager.
    pub manager: ChildProcess,
    folder: TempDir,
    address: String,
    join: String,
}

/// What a command printed, and its exit code.
#[derive(Debug)]
pub struct Said {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Said {
    /// Runs a command to its end, with `input` as its standard input.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    pub fn of(command: &mut Command, input: &[u8]) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        // The command may end without reading all of it.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let _ = writer.join();
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The JSON documents that it printed, one per line.
    ///
    /// # Panics
    ///
    /// If a line is not JSON.
    pub fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The JSON document that it printed.
    ///
    /// # Panics
    ///
    /// If it did not print one.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Grid {
    /// Starts a manager on loopback that lets hosts in only by ticket or approval.
    pub fn closed() -> Self {
        Self::start(&["--open-join", "false"])
    }

    /// Starts a manager on loopback with these arguments.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (manager, join, address) = up(&mut grid(), folder.path(), "127.0.0.1:0", arguments);
        Self { manager, folder, address, join }
    }

    /// As [`Self::closed`], with the manager's state on a disk of `mebibytes` MiB in memory, which only the manager
    /// sees.
    ///
    /// # Panics
    ///
    /// If it does not start.
    pub fn on_disk_of(mebibytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let disk = folder.path().join("manager");
        std::fs::create_dir(&disk).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_SMALL_DISK, "sh"]);
        command.arg(mebibytes.to_string()).arg(disk).arg(program("grid"));
        let arguments = ["--open-join", "false"];
        let (manager, join, address) = up(&mut command, folder.path(), "127.0.0.1:0", &arguments);
        Self { manager, folder, address, join }
    }

    /// A file in the state folder of a manager started with [`Self::on_disk_of`].
    pub fn on_disk(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.manager.id()));
        let folder = self.folder.path().canonicalize().unwrap_or_default();
        root.join(folder.strip_prefix("/").unwrap_or(&folder)).join("manager").join(name)
    }

    /// Starts the manager again after it was killed, with the same state and port.
    pub fn restart_manager(&mut self, arguments: &[&str]) {
        self.restart_manager_with(arguments, &[]);
    }

    /// As [`Self::restart_manager`], with variables in the manager's environment.
    pub fn restart_manager_with(&mut self, arguments: &[&str], variables: &[(&str, &str)]) {
        let port = self.address.rsplit(':').next().unwrap_or_default();
        let mut command = grid();
        command.envs(variables.iter().copied());
        let (manager, join, address) =
            up(&mut command, self.folder.path(), &format!("127.0.0.1:{port}"), arguments);
        (self.manager, self.join, self.address) = (manager, join, address);
    }

    /// The line that `grid up` printed, which joins a host.
    pub fn join_line(&self) -> &str {
        &self.join
    }

    /// The manager's key and address, as `KEY@HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The manager's address without its key, as `HOST:PORT`.
    pub fn bare_address(&self) -> &str {
        self.address.split_once('@').map_or(&self.address, |(_, address)| address)
    }

    /// The address of the manager's page, `http://HOST:PORT`.
    pub fn page(&self) -> String {
        let link = self.must(&["ui", "--print", "--quiet"]).stdout;
        link.split_once("/#").map_or(link.clone(), |(address, _)| address.to_owned())
    }

    /// A path within the test's own folder.
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a ticket for a role.
    pub fn ticket(&self, role: &str) -> String {
        self.must(&["ticket", "new", "--quiet", "--role", role]).stdout.trim().to_owned()
    }

    /// Starts a host with a ticket of its own, and waits until it has joined.
    pub fn host(&self, name: &str, arguments: &[&str]) -> ChildProcess {
        let mut host = self.host_at(&self.ticket("host"), name, arguments);
        host.wait_for("joined");
        host
    }

    /// Starts a host whose `--manager` is `manager`.
    pub fn host_at(&self, manager: &str, name: &str, arguments: &[&str]) -> ChildProcess {
        self.host_with(manager, name, arguments, &[])
    }

    /// As [`Self::host_at`], with variables in the host's environment.
    pub fn host_with(
        &self,
        manager: &str,
        name: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> ChildProcess {
        let mut command = Command::new(program("grid-host"));
        command.args(["--manager", manager, "--name", name, "--state"]).arg(self.folder(name));
        command.envs(variables.iter().copied());
        ChildProcess::start(name, command.args(arguments).env_remove("GRID_MANAGER"))
    }

    /// Runs `grid` as the manager's own user.
    pub fn grid(&self, arguments: &[&str]) -> Said {
        self.grid_as("", arguments)
    }

    /// Runs `grid` as another user, whose home is a folder of this name.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    pub fn grid_as(&self, user: &str, arguments: &[&str]) -> Said {
        Said::of(&mut self.command_as(user, arguments), b"")
    }

    /// Runs `grid` as the manager's own user, with `input` as its standard input.
    pub fn grid_given(&self, arguments: &[&str], input: &str) -> Said {
        Said::of(&mut self.command(arguments), input.as_bytes())
    }

    /// The command that runs `grid` as the manager's own user.
    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_as("", arguments)
    }

    fn command_as(&self, user: &str, arguments: &[&str]) -> Command {
        let home = if user.is_empty() { self.folder.path().to_path_buf() } else { self.folder(user) };
        let mut command = Command::new(program("grid"));
        command.args(arguments).env("GRID_HOME", home).env_remove("GRID_MANAGER");
        command
    }

    /// Runs `grid`, which must succeed.
    ///
    /// # Panics
    ///
    /// If it fails.
    pub fn must(&self, arguments: &[&str]) -> Said {
        let said = self.grid(arguments);
        assert_eq!(said.code, 0, "grid {arguments:?}: {said:?}");
        said
    }

    /// A client with the key of the manager's own user.
    ///
    /// # Panics
    ///
    /// If it is not let in.
    pub fn client(&self) -> Client {
        let key = std::fs::read(self.folder("user.key")).unwrap();
        let key = SecretKey::from_seed(&key.try_into().unwrap());
        Client::builder().home(self.folder("client")).key(key).connect(&self.address).unwrap()
    }

    /// A client of another user, with a client's ticket.
    ///
    /// # Panics
    ///
    /// If it is not let in.
    pub fn another_client(&self, name: &str) -> Client {
        Client::builder().home(self.folder(name)).connect(&self.ticket("client")).unwrap()
    }

    /// Runs `grid ARGUMENTS --json` repeatedly until `holds` is true of its output; returns that output.
    ///
    /// # Panics
    ///
    /// If that takes more than 40 s.
    pub fn wait_until(&self, arguments: &[&str], holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        let arguments = [arguments, &["--json"]].concat();
        loop {
            let value = self.must(&arguments).json();
            if holds(&value) {
                return value;
            }
            assert!(started.elapsed() < Duration::from_secs(40), "it never came: {value:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Mounts a disk of `$1` MiB on the folder `$2`, and executes the command line that follows.
const ON_SMALL_DISK: &str = r#"mount -t tmpfs -o "size=$1m" small "$2" && shift 2 && exec "$@""#;

fn grid() -> Command {
    Command::new(program("grid"))
}

/// Starts a manager with a command that runs `grid`; returns it, its join line and its address.
fn up(
    command: &mut Command,
    home: &Path,
    listen: &str,
    arguments: &[&str],
) -> (ChildProcess, String, String) {
    command.args(["up", "--listen", listen]).args(arguments);
    let mut manager =
        ChildProcess::start("manager", command.env("GRID_HOME", home).env_remove("GRID_MANAGER"));
    let join = manager.wait_for("grid-host --manager grid1");
    let address = std::fs::read_to_string(home.join("running-manager")).unwrap();
    (manager, join, address)
}

/// The path of a program of this project, in this program's folder or the one above.
///
/// # Panics
///
/// If it was not built.
pub fn program(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing; `cargo build --workspace --bins` builds it"))
}
