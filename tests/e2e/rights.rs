//! Rights: one that was given holds until it is taken back, and one that is taken back is gone, everywhere.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use grid_manager::{Change, FileStore, Store, Table};
use grid_protocol::client::KeyInfo;
use grid_protocol::key::SecretKey;
use grid_protocol::role::Roles;
use grid_protocol::wire::Wire;
use grid_tests::{ChildProcess, Grid, Said, echo, sleeper, within};
use wasm_grid::{Client, JobState, Reply, Request};

const CLOSED: &[&str] = &["--open-join", "false"];

/// A user who was let in by a ticket, with a folder and a key of its own.
struct User<'a> {
    grid: &'a Grid,
    name: &'a str,
    ticket: String,
}

impl<'a> User<'a> {
    fn new(grid: &'a Grid, name: &'a str, role: &str) -> Self {
        Self { grid, name, ticket: grid.ticket(role) }
    }

    fn grid(&self, arguments: &[&str]) -> Said {
        self.grid.grid_as(self.name, &[&["--manager", self.ticket.as_str()], arguments].concat())
    }

    fn must(&self, arguments: &[&str]) -> Said {
        let said = self.grid(arguments);
        assert_eq!(said.code, 0, "grid {arguments:?}: {said:?}");
        said
    }

    fn key(&self) -> String {
        self.must(&["key", "new", "--quiet"]).stdout.trim().to_owned()
    }

    fn client(&self) -> Client {
        let key = std::fs::read(self.grid.folder(self.name).join("user.key")).unwrap();
        let key = SecretKey::from_seed(&key.try_into().unwrap());
        let home = self.grid.folder(&format!("{}-client", self.name));
        Client::builder().home(home).key(key).connect(&self.ticket).unwrap()
    }
}

fn echo_file(grid: &Grid) -> PathBuf {
    let path = grid.folder("echo.wasm");
    std::fs::write(&path, echo()).unwrap();
    path
}

/// A ticket of seconds, and when it is past.
fn short_ticket(grid: &Grid, role: &str) -> (String, SystemTime) {
    let said = grid.must(&["ticket", "new", "--quiet", "--role", role, "--hours", "0.0028"]);
    (said.stdout.trim().to_owned(), SystemTime::now() + Duration::from_secs(11))
}

fn wait_past(time: SystemTime) {
    while SystemTime::now() <= time {
        // Nothing announces that a ticket has run out; the clock is asked, for eleven seconds at most.
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn who_joined_by_a_ticket_is_let_in_after_the_ticket_is_past_and_forgotten() {
    let mut grid = Grid::closed();
    let (for_host, _) = short_ticket(&grid, "host");
    let mut host = grid.host_at(&for_host, "host", &[]);
    host.wait_for("joined");
    let (for_client, past) = short_ticket(&grid, "client");
    let status = ["--manager", for_client.as_str(), "status"];
    assert_eq!(grid.grid_as("client", &status).code, 0);
    wait_past(past);
    grid.manager.kill();
    host.forget();
    grid.restart_manager(CLOSED);
    host.wait_for("joined");
    host.kill();
    let mut host = grid.host_at(&for_host, "host", &[]);
    host.wait_for("joined");
    let said = grid.grid_as("client", &status);
    assert_eq!(said.code, 0, "{said:?}");
    let refused = grid.grid_as("stranger", &status);
    assert_eq!(refused.code, 4, "a ticket that is past lets nobody in who was not in: {refused:?}");
}

#[test]
fn a_publisher_who_came_by_a_ticket_is_known_to_hosts_that_were_there_before() {
    let grid = Grid::closed();
    let _host = grid.host("host", &[]);
    let author = User::new(&grid, "author", "publisher");
    let echo = echo_file(&grid);
    author.must(&["module", "upload", echo.to_str().unwrap()]);
    author.must(&["worker", "spawn", "echo"]);
}

/// A publisher with workers, a deployment and a job that runs.
fn busy_publisher<'a>(grid: &'a Grid, name: &'a str) -> (User<'a>, String) {
    let user = User::new(grid, name, "publisher");
    let key = user.key();
    // What is told here is of revocation alone.
    grid.must(&["key", "trust", &key]);
    let echo = echo_file(grid);
    user.must(&["module", "upload", echo.to_str().unwrap(), "--name", name]);
    (user, key)
}

#[tokio::test]
async fn what_a_revoked_publisher_had_running_ends_and_comes_to_no_new_host() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &["--slots", "4"]);
        let (user, key) = busy_publisher(&grid, "leaving");
        let client = user.client();
        let module = client.upload("sleeper", sleeper()).await.unwrap().digest;
        let job = client.job("long", module).start().await.unwrap();
        let task = [1u64.to_le_bytes(), 600_000_000_000u64.to_le_bytes()].concat();
        job.submit(0, vec![task.into()]).await.unwrap();
        let id = job.id();
        grid.wait_until(&["job", "show", &id.to_string()], |job| job["leased"] == 1);
        user.must(&["worker", "spawn", "leaving", "-n", "1"]);
        // Another's worker of that publisher's module goes as well.
        grid.must(&["worker", "spawn", "leaving"]);
        user.must(&["worker", "spawn", "leaving", "--every-slot"]);
        grid.must(&["key", "revoke", &key]);
        grid.wait_until(&["worker", "ls", "--everyone"], |said| {
            said["workers"].as_array().unwrap().is_empty()
        });
        assert_eq!(grid.must(&["status", "--json"]).json()["deployments"], 0);
        let Ok(Reply::Jobs(jobs)) = grid.client().request(Request::JobList { everyones: true }).await else {
            panic!("no jobs");
        };
        let job = jobs.into_iter().find(|job| job.id == id).expect("the job is kept");
        let JobState::GivenUp { why } = &job.state else { panic!("{job:?}") };
        assert!(why.contains("revoked"), "{why}");
        let _new = grid.host("new", &["--slots", "2"]);
        let status = grid.must(&["status", "--json"]).json();
        assert_eq!((&status["hosts"], &status["workers"]), (&2.into(), &0.into()));
        let refused = grid.grid(&["worker", "spawn", "leaving"]);
        assert!(refused.code != 0 && refused.stderr.contains("was revoked"), "{refused:?}");
    })
    .await;
}

#[test]
fn a_publisher_who_is_trusted_again_is_believed_by_hosts_that_never_restarted_and_by_those_that_did() {
    let grid = Grid::closed();
    let _patient = grid.host("patient", &[]);
    let mut restarted = grid.host("restarted", &[]);
    let (user, key) = busy_publisher(&grid, "forgiven");
    for host in ["patient", "restarted"] {
        user.must(&["worker", "spawn", "forgiven", "--on", host]);
    }
    grid.must(&["key", "revoke", &key]);
    restarted.kill();
    let mut restarted = grid.host_at(grid.address(), "restarted", &[]);
    restarted.wait_for("joined");
    grid.must(&["key", "trust", &key]);
    for host in ["patient", "restarted"] {
        user.must(&["worker", "spawn", "forgiven", "--on", host]);
    }
}

/// The deployments that a client is shown.
async fn orders(client: &Client) -> Vec<wasm_grid::DeploymentInfo> {
    match client.request(Request::DeploymentList).await.unwrap() {
        Reply::Deployments(orders) => orders,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_arguments_of_a_deployment_are_shown_to_its_owner_and_to_admins_alone() {
    within(async {
        let grid = Grid::closed();
        let (owner, _) = busy_publisher(&grid, "owner");
        owner.must(&["worker", "spawn", "owner", "--every-slot", "--arg", "hunter2"]);
        let other = grid.another_client("other");
        assert_eq!(orders(&other).await, [], "another client is shown none of it");
        for client in [owner.client(), grid.client()] {
            assert_eq!(orders(&client).await[0].request.arguments, b"hunter2");
        }
    })
    .await;
}

#[tokio::test]
async fn stopping_a_module_ends_the_orders_of_who_asks_and_leaves_those_of_others() {
    within(async {
        let grid = Grid::closed();
        let _host: ChildProcess = grid.host("host", &["--slots", "2"]);
        let (owner, _) = busy_publisher(&grid, "owner");
        owner.must(&["worker", "spawn", "owner", "--every-slot"]);
        let user = User::new(&grid, "user", "client");
        user.must(&["worker", "spawn", "owner", "--every-slot"]);
        let said = user.must(&["worker", "stop", "--module", "owner"]);
        assert!(said.stderr.contains("1 deployment ended"), "{said:?}");
        let said = grid.must(&["worker", "stop", "--module", "owner"]);
        assert!(said.stderr.contains("nothing of yours"), "{said:?}");
        let left = orders(&grid.client()).await;
        assert_eq!(left.len(), 1, "the owner's order stands: {left:?}");
        let said = grid.must(&["worker", "stop", "--module", "owner", "--everyone"]);
        assert!(said.stderr.contains("1 deployment ended"), "{said:?}");
        assert_eq!(orders(&grid.client()).await, []);
    })
    .await;
}

#[test]
fn the_id_of_a_deployment_is_never_used_again() {
    let mut grid = Grid::closed();
    let echo = echo_file(&grid);
    grid.must(&["module", "upload", echo.to_str().unwrap()]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        for _ in 0..2 {
            let id = grid.must(&["worker", "spawn", "echo", "--every-slot", "--quiet"]).stdout;
            assert!(!seen.contains(&id), "{id} again");
            seen.push(id);
            grid.must(&["worker", "stop", "--module", "echo"]);
        }
        grid.manager.kill();
        grid.restart_manager(CLOSED);
    }
}

#[test]
fn a_publisher_can_neither_replace_nor_remove_what_another_published() {
    let grid = Grid::closed();
    let (owner, key) = busy_publisher(&grid, "owner");
    let other = User::new(&grid, "other", "publisher");
    let file = echo_file(&grid);
    // The same bytes under another name would take the first manifest's place.
    let said = other.grid(&["module", "upload", file.to_str().unwrap(), "--name", "stolen"]);
    assert_eq!(said.code, 0, "whoever has the same bytes may use what is there: {said:?}");
    assert!(said.stderr.contains("was there already") && said.stderr.contains("owner"), "{said:?}");
    let refused = other.grid(&["module", "rm", "owner"]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains(&key) && refused.stderr.contains("help:"), "{refused:?}");
    let modules = grid.must(&["module", "ls", "--json"]).json();
    assert_eq!(modules["modules"][0]["name"], "owner");
    assert_eq!(modules["modules"][0]["publisher"], key.as_str());
    owner.must(&["module", "rm", "owner"]);
}

#[tokio::test]
async fn a_name_that_was_published_by_a_clock_ten_years_ahead_can_be_published_again() {
    within(async {
        let grid = Grid::closed();
        let _host = grid.host("host", &[]);
        let file = echo_file(&grid);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let ahead = (now + 10 * 365 * 24 * 3600).to_string();
        grid.must(&["module", "upload", file.to_str().unwrap(), "--name", "tool", "--serial", &ahead]);
        // What is removed leaves no trace in the list, and its serial stands.
        grid.must(&["module", "rm", "tool"]);
        let client = grid.client();
        client.upload("tool", sleeper()).await.unwrap();
        grid.must(&["worker", "spawn", "tool"]);
        grid.must(&["worker", "stop", "--module", "tool", "--grace", "0"]);
        grid.must(&["module", "upload", file.to_str().unwrap(), "--name", "tool"]);
    })
    .await;
}

#[test]
fn more_keys_than_fit_a_frame_are_all_listed() {
    let mut grid = Grid::closed();
    grid.manager.signal("TERM");
    assert_eq!(grid.manager.exit_code(), 0);
    let store = FileStore::open(&grid.folder("manager").join("manager.redb")).unwrap();
    let key = |number: u32| {
        let mut seed = [7; 32];
        seed[..4].copy_from_slice(&number.to_be_bytes());
        SecretKey::from_seed(&seed).public()
    };
    // 34 bytes each: a frame of 1 MiB has room for 30 840.
    let put = |number| {
        let info = KeyInfo { key: key(number), roles: Roles::NONE, revoked: true };
        Change::put(Table::Key, *info.key.as_bytes(), info.to_body())
    };
    store.commit(&(0..31_000).map(put).collect::<Vec<_>>()).unwrap();
    drop(store);
    grid.restart_manager(&[]);
    let listed = grid.must(&["key", "ls", "--quiet"]).stdout;
    assert!(listed.lines().count() > 31_000, "{}", listed.lines().count());
}
