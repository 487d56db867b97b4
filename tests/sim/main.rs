//! The simulation: manager, hosts, clients and QUIC in one process, on a simulated clock and network.
//!
//! All code is the real one except the guests, and everything follows from one number, the seed: the same seed gives
//! the same datagrams at the same instants. `sim A B` runs the seeds from A up to, but not including, B and ends with
//! an error at the first broken promise; `sim A B --sabotage never-fence` breaks one on purpose.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

mod check;
mod client;
mod faults;
mod guests;
mod machine;
mod mail;
mod network;
mod run;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use grid_manager::FaultInjection;
use run::{RunReport, Scenario};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (seeds, promise) = match words[..] {
        [from, to] => (seeds(from, to), None),
        [from, to, "--sabotage", what] => (seeds(from, to), Some(what)),
        _ => (None, None),
    };
    let sabotage = match promise {
        None => Ok(None),
        Some("never-fence") => Ok(Some(FaultInjection::NeverFence)),
        Some("acknowledge-early") => Ok(Some(FaultInjection::AcknowledgeEarly)),
        Some("double-message") => Ok(Some(FaultInjection::DoubleMessage)),
        Some("lose-tail") => Ok(Some(FaultInjection::LoseTail)),
        Some("resume-anything") => Ok(Some(FaultInjection::ResumeAnything)),
        Some(_) => Err(()),
    };
    let (Some(seeds), Ok(sabotage)) = (seeds, sabotage) else {
        eprintln!(
            "usage: sim FROM TO [--sabotage never-fence|acknowledge-early|double-message|lose-tail|resume-anything]"
        );
        return ExitCode::from(2);
    };
    if let Ok(filter) = std::env::var("GRID_LOG") {
        let filter: Targets = filter.parse().unwrap();
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time();
        tracing_subscriber::registry().with(filter).with(lines).init();
    }
    let began = Instant::now();
    let all = Mutex::new(All { next: seeds.start, sum: RunReport::default(), broken: None });
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| run_seeds(&all, seeds.end, sabotage));
        }
    });
    let All { sum, broken, .. } = all.into_inner().unwrap();
    if seeds.end - seeds.start == 1 {
        println!("seed {}: {} datagrams, trace {:016x}", seeds.start, sum.datagrams, sum.trace);
    }
    if let Some((seed, violation)) = &broken {
        println!("seed {seed}: {violation}");
        let broken = promise.map(|promise| format!(" --sabotage {promise}")).unwrap_or_default();
        println!("replay it with: cargo xtask sim --seed {seed}{broken}");
    }
    println!(
        "{} seeds, {:.0} simulated seconds in {:.1} s: {} tasks, {} outcomes, {} dead, {} messages answered, {} datagrams, {} crashes of hosts, {} of the manager, {} losses of power, {} partitions: {}",
        sum.seeds,
        sum.simulated.as_secs_f64(),
        began.elapsed().as_secs_f64(),
        sum.tasks,
        sum.outcomes,
        sum.dead,
        sum.answers,
        sum.datagrams,
        sum.host_crashes,
        sum.manager_crashes,
        sum.power_losses,
        sum.partitions,
        if broken.is_some() { "a violation" } else { "no violation" },
    );
    if broken.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// State shared by all threads.
struct All {
    next: u64,
    sum: RunReport,
    broken: Option<(u64, String)>,
}

/// Runs one seed after the other, until there are no more or a promise is broken.
fn run_seeds(all: &Mutex<All>, end: u64, sabotage: Option<FaultInjection>) {
    loop {
        let seed = {
            let mut all = all.lock().unwrap();
            if all.next == end || all.broken.is_some() {
                return;
            }
            all.next += 1;
            all.next - 1
        };
        let report = run::run(&Scenario { seed, sabotage });
        let mut all = all.lock().unwrap();
        all.sum.add(&report);
        if let Some(violation) = report.violation {
            // The lowest seed is reported.
            if all.broken.as_ref().is_none_or(|(lowest, _)| seed < *lowest) {
                all.broken = Some((seed, violation));
            }
        }
    }
}

fn seeds(from: &str, to: &str) -> Option<std::ops::Range<u64>> {
    Some(from.parse().ok()?..to.parse().ok()?)
}
