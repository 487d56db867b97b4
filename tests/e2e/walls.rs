//! Walls: what runs in an executor can compute, and nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use grid_tests::{Captive, ChildProcess, Grid, busy, echo, has_in_memory, program, within};
use libc::{
    AF_INET, AF_UNIX, CLONE_VM, O_RDONLY, PROT_EXEC, PROT_READ, PROT_WRITE, SIGKILL, SOCK_DGRAM, SOCK_STREAM,
};

use crate::jobs::task;

/// System calls by which a process could reach beyond itself: their names, their numbers and arguments that would do if they
/// were allowed. `parent` is the host's process.
fn calls(parent: u32) -> Vec<(&'static str, libc::c_long, [u64; 6])> {
    let number = |value: i32| u64::try_from(value).unwrap();
    let stream = [number(AF_INET), number(SOCK_STREAM), 0, 0, 0, 0];
    let abstract_socket = [number(AF_UNIX), number(SOCK_DGRAM), 0, 0, 0, 0];
    let code = number(PROT_READ | PROT_WRITE | PROT_EXEC);
    let anonymous = number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    let parent = u64::from(parent);
    vec![
        ("open", libc::SYS_open, [0, number(O_RDONLY), 0, 0, 0, 0]),
        ("openat", libc::SYS_openat, [0, 0, number(O_RDONLY), 0, 0, 0]),
        ("openat2", libc::SYS_openat2, [0; 6]),
        ("stat", libc::SYS_stat, [0; 6]),
        ("unlink", libc::SYS_unlink, [0; 6]),
        ("rename", libc::SYS_rename, [0; 6]),
        ("socket for TCP", libc::SYS_socket, stream),
        ("socket for abstract names", libc::SYS_socket, abstract_socket),
        ("socketpair", libc::SYS_socketpair, abstract_socket),
        ("connect", libc::SYS_connect, [0, 0, 16, 0, 0, 0]),
        ("bind", libc::SYS_bind, [0, 0, 16, 0, 0, 0]),
        ("sendmsg", libc::SYS_sendmsg, [0; 6]),
        ("recvmsg", libc::SYS_recvmsg, [0; 6]),
        ("execve", libc::SYS_execve, [0; 6]),
        ("execveat", libc::SYS_execveat, [0; 6]),
        ("fork", libc::SYS_fork, [0; 6]),
        ("vfork", libc::SYS_vfork, [0; 6]),
        (
            "clone of a thread",
            libc::SYS_clone,
            [number(CLONE_VM | libc::CLONE_THREAD | libc::CLONE_SIGHAND), 0, 0, 0, 0, 0],
        ),
        ("clone3", libc::SYS_clone3, [0; 6]),
        ("ptrace of the parent", libc::SYS_ptrace, [u64::from(libc::PTRACE_SEIZE), parent, 0, 0, 0, 0]),
        ("kill of the parent", libc::SYS_kill, [parent, 0, 0, 0, 0, 0]),
        ("tgkill of the parent", libc::SYS_tgkill, [parent, parent, number(SIGKILL), 0, 0, 0]),
        ("tkill of the parent", libc::SYS_tkill, [parent, 0, 0, 0, 0, 0]),
        ("pidfd_open of the parent", libc::SYS_pidfd_open, [parent, 0, 0, 0, 0, 0]),
        ("process_vm_readv", libc::SYS_process_vm_readv, [parent, 0, 0, 0, 0, 0]),
        ("process_vm_writev", libc::SYS_process_vm_writev, [parent, 0, 0, 0, 0, 0]),
        ("memfd_create", libc::SYS_memfd_create, [0; 6]),
        ("mmap of code", libc::SYS_mmap, [0, 4096, code, anonymous, u64::MAX, 0]),
        ("mprotect to code", libc::SYS_mprotect, [0, 4096, code, 0, 0, 0]),
        ("pkey_mprotect", libc::SYS_pkey_mprotect, [0, 0, code, u64::MAX, 0, 0]),
        ("io_uring_setup", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
        ("userfaultfd", libc::SYS_userfaultfd, [0; 6]),
        ("keyctl", libc::SYS_keyctl, [0; 6]),
        ("bpf", libc::SYS_bpf, [0; 6]),
        ("perf_event_open", libc::SYS_perf_event_open, [0; 6]),
        ("unshare", libc::SYS_unshare, [0; 6]),
        ("setns", libc::SYS_setns, [0; 6]),
        ("mount", libc::SYS_mount, [0; 6]),
        ("prctl", libc::SYS_prctl, [number(libc::PR_SET_DUMPABLE), 1, 0, 0, 0, 0]),
        ("seccomp", libc::SYS_seccomp, [0; 6]),
        ("ioctl", libc::SYS_ioctl, [0; 6]),
        ("fcntl", libc::SYS_fcntl, [0; 6]),
        ("dup", libc::SYS_dup, [0; 6]),
        ("shmget", libc::SYS_shmget, [0; 6]),
        ("prlimit64 of the parent", libc::SYS_prlimit64, [parent, 0, 0, 0, 0, 0]),
        ("sched_setaffinity of the parent", libc::SYS_sched_setaffinity, [parent, 0, 0, 0, 0, 0]),
    ]
}

/// A grid with a host whose executors have guests: one that works on a task for long, and a worker.
async fn with_guests() -> (Grid, ChildProcess) {
    let grid = Grid::start(&[]);
    let host = grid.host("walled", &["--slots", "2"]);
    let client = grid.client();
    let busy = client.upload("busy", busy()).await.unwrap().digest;
    let job = client.job("long", busy).start().await.unwrap();
    job.submit(0, vec![task(1, Duration::from_secs(3600)).into()]).await.unwrap();
    grid.wait_until(&["explain", &format!("{}/0", job.id())], |said| said.to_string().contains("running on"));
    let echo = client.upload("echo", echo()).await.unwrap().digest;
    answering(&client, echo).await;
    (grid, host)
}

/// Executors that have given up the last system calls.
fn locked_down(host: &ChildProcess) -> Vec<u32> {
    let is_filtered = |id: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        status.lines().any(|line| line == "Seccomp:\t2")
    };
    host.executors().into_iter().filter(is_filtered).collect()
}

/// A thread of the process that sleeps in a system call.
fn sleeper(process: u32) -> u32 {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let mut threads: Vec<u32> =
        threads.map(|thread| thread.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
    threads.sort_unstable();
    let sleeps = |thread: &u32| {
        // "running", or the number of the call and its arguments.
        let call = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/syscall")).unwrap();
        call.split_whitespace().next().is_some_and(|number| number == libc::SYS_futex.to_string())
    };
    threads.into_iter().find(sleeps).expect("a thread waits for something")
}

#[tokio::test]
async fn an_executor_is_denied_every_call_that_reaches_beyond_it() {
    within(async {
        let (_grid, host) = with_guests().await;
        let executors = locked_down(&host);
        assert_eq!(executors.len(), 2, "one has the task, one the worker");
        for executor in executors {
            let captive = Captive::take(sleeper(executor));
            assert_eq!(captive.call(libc::SYS_getpid, [0; 6]), i64::from(executor), "calls can be tried");
            let calls = calls(host.id());
            assert!(calls.len() >= 25);
            for (name, number, arguments) in calls {
                assert_eq!(captive.call(number, arguments), -i64::from(libc::EPERM), "{name}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn workers_of_one_owner_and_module_share_an_executor_and_those_of_another_owner_do_not() {
    within(async {
        let grid = Grid::start(&[]);
        let host = grid.host("shared", &["--slots", "4"]);
        let (one, other) = (grid.client(), grid.another_client("other"));
        let module = one.upload("echo", echo()).await.unwrap().digest;
        answering(&one, module).await;
        answering(&one, module).await;
        assert_eq!(locked_down(&host).len(), 1);
        answering(&other, module).await;
        assert_eq!(locked_down(&host).len(), 2);
    })
    .await;
}

/// Spawns a worker that answers, and waits for its answer.
async fn answering(client: &wasm_grid::Client, module: wasm_grid::Digest) {
    let worker = client.spawn(module).anywhere(1).await.unwrap()[0];
    client.send(worker, "there?").await.unwrap();
    while !matches!(client.next_event().await, wasm_grid::Event::Message { .. }) {}
}

#[tokio::test]
async fn a_host_tells_its_walls_and_work_that_asks_for_them_goes_where_they_stand() {
    within(async {
        let grid = Grid::start(&[]);
        let _bare = grid.host("bare", &["--slots", "2", "--walls", "none"]);
        let file = grid.folder("echo.wasm");
        std::fs::write(&file, echo()).unwrap();
        let file = file.to_str().unwrap();
        grid.must(&["module", "upload", file]);
        let spawn = ["worker", "spawn", "echo", "--require-walls"];
        let refused = grid.grid(&spawn);
        assert!(
            refused.code == 7 && refused.stderr.contains("lacks the label `wall.process`"),
            "{refused:?}"
        );
        let _walled = grid.host("walled", &["--slots", "2"]);
        let hosts = grid.must(&["host", "ls", "--json"]).json();
        let walls = |name: &str| {
            let host = hosts["hosts"].as_array().unwrap().iter().find(|host| host["name"] == name).unwrap();
            assert_eq!(host["labels"], serde_json::json!([]), "walls are no labels of the operator");
            host["walls"].clone()
        };
        assert_eq!(walls("bare"), serde_json::json!([]));
        assert_eq!(walls("walled"), serde_json::json!(["process", "landlock", "system calls", "namespaces"]));
        assert!(grid.must(&["host", "ls"]).stdout.contains("process,landlock,system calls,namespaces"));
        grid.must(&spawn);
        let spawned = grid.must(&["worker", "ls", "--json"]).json();
        let walled = hosts["hosts"].as_array().unwrap().iter().find(|host| host["name"] == "walled").unwrap();
        assert_eq!(spawned["workers"][0]["host"], walled["key"]);
        let said = grid.grid_given(&["run", file, "--require-walls", "--json"], "1\n2\n3\n");
        assert_eq!(said.code, 0, "{said:?}");
        let forged = grid.folder("forged");
        let mut forged = Command::new(program("grid-host"))
            .args(["--manager", &grid.ticket("host"), "--label", "wall.process=yes", "--state"])
            .arg(forged)
            .output()
            .unwrap();
        assert_eq!(forged.status.code(), Some(2));
        let said = String::from_utf8(std::mem::take(&mut forged.stderr)).unwrap();
        assert!(said.contains("labels that begin with `wall.` are the host's own"), "{said}");
    })
    .await;
}

/// A command that runs `program` in a user namespace of its own, after `first`.
fn in_a_user_namespace(first: &str, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c", &format!("{first} exec \"$0\" \"$@\"")])
        .arg(program);
    command.env_remove("GRID_MANAGER");
    command
}

/// Shell that forbids all namespaces that are made from now on in this user namespace.
const NO_MORE_NAMESPACES: &str =
    "echo 0 > /proc/sys/user/max_user_namespaces && echo 0 > /proc/sys/user/max_net_namespaces &&";

/// A command that runs `program` where namespaces are not permitted.
pub(crate) fn without_namespaces(program: &Path) -> Command {
    in_a_user_namespace(NO_MORE_NAMESPACES, program)
}

fn host_by(grid: &Grid, command: &mut Command, name: &str) -> ChildProcess {
    let command =
        command.args(["--manager", &grid.ticket("host"), "--name", name, "--slots", "2", "--state"]);
    let mut host = ChildProcess::start(name, command.arg(grid.folder(name)));
    host.wait_for("joined");
    host
}

/// The namespaces of a process, by their kind.
fn namespaces(process: u32) -> Vec<PathBuf> {
    let kinds = ["user", "net", "mnt", "ipc", "uts", "cgroup"];
    kinds.map(|kind| std::fs::read_link(format!("/proc/{process}/ns/{kind}")).unwrap()).into()
}

#[tokio::test]
async fn an_executor_has_namespaces_of_its_own_without_files_and_without_a_network() {
    within(async {
        let (_grid, host) = with_guests().await;
        let executors = locked_down(&host);
        for executor in &executors {
            for (own, of_host) in namespaces(*executor).iter().zip(namespaces(host.id())) {
                assert_ne!(*own, of_host);
            }
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{executor}/{file}")).unwrap();
            let mounts = read("mountinfo");
            assert!(mounts.lines().count() == 1 && mounts.contains(" / / ro,"), "{mounts}");
            assert_eq!(std::fs::read_dir(format!("/proc/{executor}/root")).unwrap().count(), 0);
            let devices = read("net/dev");
            assert!(devices.lines().count() == 3 && devices.contains("lo:"), "{devices}");
        }
        assert_ne!(namespaces(executors[0]), namespaces(executors[1]));
    })
    .await;
}

#[tokio::test]
async fn a_host_that_is_permitted_no_namespaces_works_without_them_and_is_known_to() {
    within(async {
        let grid = Grid::start(&[]);
        let host = host_by(&grid, &mut without_namespaces(&program("grid-host")), "few");
        let hosts = grid.must(&["host", "ls", "--json"]).json();
        let usual = serde_json::json!(["process", "landlock", "system calls"]);
        assert_eq!(hosts["hosts"][0]["walls"], usual);
        let file = grid.folder("echo.wasm");
        std::fs::write(&file, echo()).unwrap();
        grid.must(&["module", "upload", file.to_str().unwrap()]);
        let spawn = |walls: &str| grid.grid(&["worker", "spawn", "echo", walls]);
        let refused = spawn("--require-walls=landlock,namespaces");
        assert!(
            refused.code == 7 && refused.stderr.contains("lacks the label `wall.namespaces`"),
            "{refused:?}"
        );
        assert_eq!(spawn("--require-walls=moat").code, 2);
        assert_eq!(spawn("--require-walls=landlock,system-calls").code, 0);
        let run = ["run", "--require-walls", file.to_str().unwrap()];
        assert_eq!(grid.grid_given(&run, "1\n").stdout, "{\"result\":1,\"task\":0}\n");
        for executor in locked_down(&host) {
            assert_eq!(namespaces(executor), namespaces(host.id()));
        }
    })
    .await;
}

#[tokio::test]
async fn an_executor_without_the_namespaces_that_its_host_tells_runs_no_guest() {
    within(async {
        let grid = Grid::start(&[]);
        let mut host = host_by(&grid, &mut in_a_user_namespace("", &program("grid-host")), "few");
        let walls = grid.must(&["host", "ls", "--json"]).json()["hosts"][0]["walls"].clone();
        assert!(walls.as_array().unwrap().contains(&"namespaces".into()), "{walls}");
        let mut forbid = Command::new("nsenter");
        forbid.args(["--user", "--target", &host.id().to_string(), "sh", "-c"]);
        assert!(forbid.arg(format!("{NO_MORE_NAMESPACES} true")).status().unwrap().success());
        // Those that wait for guests have theirs.
        host.signal_executors("KILL");
        let file = grid.folder("echo.wasm");
        std::fs::write(&file, echo()).unwrap();
        grid.must(&["module", "upload", file.to_str().unwrap()]);
        grid.grid(&["worker", "spawn", "echo"]);
        host.wait_for("the system gives it no namespaces any more");
        assert!(locked_down(&host).is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_executor_that_grows_past_its_memory_is_ended_and_its_task_says_so() {
    within(async {
        let grid = Grid::start(&[]);
        let host = grid.host("watched", &["--slots", "1", "--worker-memory", "64MiB"]);
        let client = grid.client();
        let module = client.upload("busy", busy()).await.unwrap().digest;
        let job = client.job("grows", module).start().await.unwrap();
        job.submit(0, vec![task(1, Duration::from_secs(3600)).into()]).await.unwrap();
        let id = format!("{}/0", job.id());
        let mut grown = BTreeSet::new();
        // A task begins anew ten times on the same host, because a process that ends is not its fault.
        while grown.len() < 11 || !grid.must(&["explain", &id]).stdout.contains("MiB of memory") {
            let Some(executor) = locked_down(&host).into_iter().find(|id| grown.insert(*id)) else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let number = |value: i32| u64::try_from(value).unwrap();
            let flags = number(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE);
            let memory = [0, 512 << 20, number(PROT_READ | PROT_WRITE), flags, u64::MAX, 0];
            Captive::take(sleeper(executor)).let_go_with(libc::SYS_mmap, memory);
            while host.executors().contains(&executor) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn the_keys_of_a_host_are_in_its_memory_and_in_that_of_no_executor() {
    within(async {
        let (grid, host) = with_guests().await;
        let state = grid.folder("walled");
        let [key, mac] =
            ["host.key", "modules/cache.key"].map(|file| std::fs::read(state.join(file)).unwrap());
        assert!(has_in_memory(host.id(), &mac), "the search finds what is there");
        let executors = host.executors();
        assert!(executors.len() >= 2);
        for executor in executors {
            for secret in [&key, &mac] {
                assert!(!has_in_memory(executor, secret), "an executor has a key");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_executor_has_no_open_files_but_its_own_and_no_environment() {
    within(async {
        let (_grid, host) = with_guests().await;
        for executor in locked_down(&host) {
            let environment = std::fs::read(format!("/proc/{executor}/environ")).unwrap();
            assert!(environment.is_empty(), "{}", String::from_utf8_lossy(&environment));
            for file in std::fs::read_dir(format!("/proc/{executor}/fd")).unwrap() {
                // One that it closes meanwhile, as the last of its set-up, is gone.
                let Ok(target) = std::fs::read_link(file.unwrap().path()) else { continue };
                let target = target.to_str().unwrap();
                let own = [
                    "socket:",
                    "/dev/null",
                    "pipe:",
                    "anon_inode:[eventfd]",
                    "/memfd:grid-",
                    "anon_inode:[eventpoll]",
                ];
                assert!(own.iter().any(|own| target.starts_with(own)), "{target}");
            }
        }
    })
    .await;
}

/// Also where an executor has no folder left in which it could open the file: a copy of 20 MB for each guest of Python.
#[tokio::test]
async fn the_code_of_a_module_and_of_a_component_is_mapped_and_not_copied() {
    within(async {
        let grid = Grid::start(&[]);
        let host = grid.host("walled", &["--slots", "2"]);
        let client = grid.client();
        answering(&client, client.upload("echo", echo()).await.unwrap().digest).await;
        let component = wat::parse_str(include_str!("../../modules/hostile/component-reach.wat")).unwrap();
        let component = client.upload("component", component).await.unwrap().digest;
        let of_component = client.spawn(component).anywhere(1).await.unwrap()[0];
        let is_it =
            |event| matches!(event, wasm_grid::Event::Joined { worker, .. } if worker == of_component);
        while !is_it(client.next_event().await) {}
        let executors = locked_down(&host);
        assert_eq!(executors.len(), 2);
        for executor in executors {
            let maps = std::fs::read_to_string(format!("/proc/{executor}/maps")).unwrap();
            let mut code =
                maps.lines().filter(|map| map.contains(" r-xp ") && map.contains("/memfd:grid-code"));
            assert!(code.next().is_some(), "{maps}");
        }
    })
    .await;
}

#[tokio::test]
async fn executors_end_with_their_host_however_it_ends() {
    within(async {
        let (_grid, host) = with_guests().await;
        let executors = host.executors();
        assert!(executors.len() >= 2);
        host.signal("KILL");
        let is_there = |id: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // One that nobody has waited for yet is a zombie.
            stat.rsplit_once(')').is_some_and(|(_, fields)| !fields.trim_start().starts_with('Z'))
        };
        while executors.iter().any(is_there) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
