//! The measured programs of `cargo xtask bench`: the grid, and references on bare streams. Each prints its figures on one line.

mod hosts;
mod jobs;
mod messages;
mod nats;
mod raw;

use std::path::Path;
use std::time::Duration;

const MESSAGE: [u8; 64] = [7; 64];

/// Round trips of which the median is taken.
const ROUNDS: usize = 20_000;

const USAGE: &str = "raw-serve | raw-sink | raw-rounds ADDR | raw-mux IN_FLIGHT ADDR | raw-bulk BYTES ADDR | \
    grid rounds|spawn|executor|idle N|mux N MESSAGES|pipelined MESSAGES|bulk BYTES TOTAL | \
    compute MODULE KERNEL NATIVE TASKS | two-hosts MODULE KERNEL STEP TASKS | first-use MODULE | hosts COUNT TASKS | hosts-of ADDR COUNT FOLDER | \
    nats-echo ADDR | nats-rounds ADDR";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["raw-serve"] => raw::serve().await,
        ["raw-sink"] => raw::sink().await,
        ["raw-rounds", address] => raw::rounds(address).await,
        ["raw-mux", in_flight, address] => raw::mux(in_flight.parse().unwrap(), address).await,
        ["raw-bulk", bytes, address] => raw::bulk(bytes.parse().unwrap(), address).await,
        ["grid", ref what @ ..] => messages::grid(what).await,
        ["compute", module, kernel, native, tasks] => {
            jobs::compute(module, kernel, native, tasks.parse().unwrap()).await;
        }
        ["two-hosts", module, kernel, step, tasks] => {
            jobs::two_hosts(module, kernel, step.parse().unwrap(), tasks.parse().unwrap()).await;
        }
        ["first-use", module] => jobs::first_use(module).await,
        ["hosts", count, tasks] => hosts::many(count.parse().unwrap(), tasks.parse().unwrap()).await,
        ["hosts-of", address, count, folder] => {
            hosts::serve(address, count.parse().unwrap(), Path::new(folder)).await;
        }
        ["nats-echo", address] => nats::echo(address),
        ["nats-rounds", address] => nats::rounds(address),
        _ => panic!("{USAGE}"),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
