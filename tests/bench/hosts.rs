//! Many hosts on one manager: each a host of the library, with a QUIC connection of its own, all in one process. The client is
//! in another, as it is wherever there are many hosts: what it allocates would lie between what they have.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grid_host::{Host, HostConfig, HostProgress};
use grid_tests::{ChildProcess, Grid, program, run_noops};
use tokio::sync::watch;

/// Prints the KiB of the manager's memory for each of `count` hosts, the seconds from the start of all of them together until
/// the last has joined, and the no-op tasks per second that they then do. The hosts have no walls.
pub(crate) async fn many(count: usize, tasks: u64) {
    let grid = Grid::start(&[]);
    let client = grid.client();
    let module = client.upload("echo", grid_tests::echo()).await.unwrap().digest;
    let before = resident_kib(grid.manager.id());
    let mut hosts = Command::new(program("bench"));
    hosts.args(["hosts-of", grid.bare_address(), &count.to_string()]).arg(grid.folder("hosts"));
    let mut hosts = ChildProcess::start_with_stderr("hosts", &mut hosts, Stdio::inherit());
    let joined = hosts.wait_for(JOINED);
    // Renewals and measurements of the connections have taken place.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let kib = (resident_kib(grid.manager.id()) - before) / count as f64;
    let mut rate = 0.0;
    if tasks > 0 {
        let run = async {
            // First some for every host, so that each has the module.
            run_noops(&client, module, 50 * count as u64).await;
            run_noops(&client, module, tasks).await.as_secs_f64()
        };
        // Without hosts it would have no end.
        rate = tasks as f64 / tokio::time::timeout(TASKS_TIME_MAX, run).await.expect("the hosts are there");
    }
    println!("{kib} {} {rate}", joined.trim_start_matches(JOINED).trim());
}

/// How long the tasks of a measurement may take.
const TASKS_TIME_MAX: Duration = Duration::from_secs(120);

/// What is printed when all hosts have joined, followed by the seconds that it took.
const JOINED: &str = "joined after";

/// Starts `count` hosts of the manager at `address`, with their state in `folder`; serves until the process is killed.
pub(crate) async fn serve(address: &str, count: usize, folder: &Path) {
    let hosts: Vec<_> = (0..count).map(|number| host(folder, number)).collect();
    let (joined, began) = (watch::Sender::new(0), Instant::now());
    let local = tokio::task::LocalSet::new();
    for host in hosts {
        let (joined, manager) = (joined.clone(), address.parse().unwrap());
        local.spawn_local(async move {
            let count_joined = |progress| {
                if matches!(progress, HostProgress::Joined { resumed: false, .. }) {
                    joined.send_modify(|joined| *joined += 1);
                }
            };
            // What is measured has all hosts, or does not end well.
            match Arc::new(host).serve(manager, count_joined).await {
                Ok(ended) => eprintln!("a host ended: {ended:?}"),
                Err(error) => eprintln!("a host ended: {error}"),
            }
            std::process::exit(1);
        });
    }
    local
        .run_until(async {
            let mut joining = joined.subscribe();
            let all = tokio::time::timeout(JOIN_TIME_MAX, joining.wait_for(|joined| *joined >= count)).await;
            drop(
                all.unwrap_or_else(|_| panic!("{} of {count} hosts have joined", *joined.borrow())).unwrap(),
            );
            println!("{JOINED} {}", began.elapsed().as_secs_f64());
            std::future::pending().await
        })
        .await
}

/// How long the hosts may take until all have joined.
const JOIN_TIME_MAX: Duration = Duration::from_secs(30);

fn host(folder: &Path, number: usize) -> Host {
    let mut config = HostConfig::new(folder.join(number.to_string()));
    config.name = format!("host-{number}");
    config.shared_compiled = Some(folder.join("compiled"));
    config.memory_bytes = 64 << 20;
    config.policy.limits.memory_bytes = 64 << 20;
    (config.policy.workers_max, config.policy.compute_threads) = (4, 1);
    Host::new(config).unwrap()
}

/// Memory of a process in KiB, page tables included; what it shares with others counts in parts.
fn resident_kib(id: u32) -> f64 {
    let field = |file: &str, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    field("smaps_rollup", "Pss:") + field("status", "VmPTE:")
}
