//! A long-lived grid: restarts in random order, wrong clocks, expired tickets, keys that are revoked and trusted again.
//! After each step exactly those members get in that may.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use grid_tests::{ChildProcess, Dice, Grid};

/// How long a host may take to be ready again.
const PATIENCE: Duration = Duration::from_secs(15);

/// Clocks of a manager, as `faketime` writes them; the correct one first.
const CLOCKS: [&str; 6] = ["+0", "+0", "+1d", "-1d", "+3650d", "@1970-01-01 00:01:00"];

/// A host or client that was let in with a ticket that is valid for eleven seconds.
struct Member {
    name: String,
    ticket: String,
    key: String,
    /// The host's process; `None` for a client.
    process: Option<ChildProcess>,
    is_host: bool,
    revoked: bool,
}

impl Member {
    fn new(grid: &Grid, number: usize) -> Self {
        let is_host = number.is_multiple_of(2);
        let (role, name) =
            if is_host { ("host", format!("host-{number}")) } else { ("client", format!("client-{number}")) };
        let ticket = short_ticket(grid, role);
        let mut member = Self { name, ticket, key: String::new(), process: None, is_host, revoked: false };
        if is_host {
            member.start(grid);
            member.process.as_mut().unwrap().wait_for("joined");
            member.key = host_key(grid, &member.name);
        } else {
            let arguments = ["--manager", &member.ticket, "key", "new", "--quiet"];
            member.key = grid.grid_as(&member.name, &arguments).stdout.trim().to_owned();
            assert!(member.comes_in(grid));
        }
        member
    }

    fn start(&mut self, grid: &Grid) {
        self.process = Some(grid.host_at(&self.ticket, &self.name, &[]));
    }

    /// True if the manager lets the client in now.
    fn comes_in(&self, grid: &Grid) -> bool {
        let said = grid.grid_as(&self.name, &["--manager", &self.ticket, "status"]);
        assert!(said.code == 0 || said.code == 4, "{said:?}");
        said.code == 0
    }

    /// Checks that the member gets in, or does not if its key is revoked.
    fn check(&mut self, grid: &Grid) {
        if !self.is_host {
            assert_eq!(self.comes_in(grid), !self.revoked, "{} revoked: {}", self.name, self.revoked);
        } else if self.revoked {
            let mut again = grid.host_at(&self.ticket, &self.name, &[]);
            assert_eq!(again.exit_code(), 4, "{}: {}", self.name, again.everything());
            assert!(!is_ready(grid, &self.name));
        } else {
            let began = Instant::now();
            while !is_ready(grid, &self.name) {
                assert!(began.elapsed() < PATIENCE, "{} does not come back", self.name);
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

/// Makes a ticket that is valid for eleven seconds.
fn short_ticket(grid: &Grid, role: &str) -> String {
    let said = grid.must(&["ticket", "new", "--quiet", "--role", role, "--hours", "0.003"]);
    said.stdout.trim().to_owned()
}

fn hosts(grid: &Grid) -> Vec<serde_json::Value> {
    grid.must(&["host", "ls", "--json"]).json()["hosts"].as_array().unwrap().clone()
}

fn is_ready(grid: &Grid, name: &str) -> bool {
    hosts(grid).iter().any(|host| host["name"] == name && host["state"] == "ready")
}

fn host_key(grid: &Grid, name: &str) -> String {
    let host = hosts(grid).into_iter().find(|host| host["name"] == name).unwrap();
    host["key"].as_str().unwrap().to_owned()
}

fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let found =
        folders.map(|folder| folder.path().join("faketime/libfaketime.so.1")).find(|path| path.exists());
    found.expect("`apt-get install faketime` brings it")
}

/// Runs `steps` random steps, and checks all members after each.
pub(crate) fn lives(steps: u64, seed: u64) {
    let library = library();
    let (mut grid, mut dice) = (Grid::closed(), Dice::new(seed));
    let unused = [short_ticket(&grid, "host"), short_ticket(&grid, "client")];
    let made = Instant::now();
    let mut members: Vec<_> = (0..8).map(|number| Member::new(&grid, number)).collect();
    let (mut restarts, mut clock) = ([0; 2], CLOCKS[0]);
    for step in 0..steps {
        let member = dice.roll(members.len());
        let member = &mut members[member];
        let what = match dice.roll(5) {
            0 | 1 => {
                clock = CLOCKS[dice.roll(CLOCKS.len())];
                restarts[0] += 1;
                grid.manager.signal(["KILL", "TERM"][dice.roll(2)]);
                grid.manager.ended();
                let variables = [
                    ("LD_PRELOAD", library.to_str().unwrap()),
                    ("FAKETIME", clock),
                    ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
                ];
                grid.restart_manager_with(&["--open-join", "false"], &variables);
                format!("the manager, with its clock at {clock}")
            }
            2 if member.is_host && !member.revoked => {
                restarts[1] += 1;
                let process = member.process.as_mut().unwrap();
                process.signal(["KILL", "TERM"][dice.roll(2)]);
                process.ended();
                member.start(&grid);
                format!("{} anew", member.name)
            }
            _ if member.revoked => {
                let role = if member.is_host { "host" } else { "client" };
                grid.must(&["key", "trust", &member.key, "--role", role]);
                member.revoked = false;
                if member.is_host {
                    member.start(&grid);
                }
                format!("{} trusted again", member.name)
            }
            _ => {
                grid.must(&["key", "revoke", &member.key]);
                member.revoked = true;
                if let Some(host) = &mut member.process {
                    assert_eq!(host.exit_code(), 4, "{}: {}", member.name, host.everything());
                }
                format!("{} revoked", member.name)
            }
        };
        members.iter_mut().for_each(|member| member.check(&grid));
        if clock == CLOCKS[0] && made.elapsed() > Duration::from_secs(12) {
            let said = grid.grid_as(&format!("stranger-{step}"), &["--manager", &unused[1], "status"]);
            assert_eq!(said.code, 4, "a ticket that is past lets somebody in: {said:?}");
            let mut late = grid.host_at(&unused[0], &format!("late-{step}"), &[]);
            assert_eq!(late.exit_code(), 4, "{}", late.everything());
        }
        println!("{step:>4} {what}");
    }
    println!(
        "{steps} steps, {} restarts of the manager and {} of hosts: who may come in came in, and nobody else",
        restarts[0], restarts[1]
    );
}
