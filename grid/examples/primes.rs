//! Counts primes, as in the ancestor's README: hands out chunks, collects results, and copes with workers that join and
//! leave.
//!
//! `primes MODULE` uses this machine alone; `primes MODULE MANAGER` uses every host of that manager.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use std::{error::Error, time::Instant};

use wasm_grid::{Bytes, Client, Event, Manager, from_cbor, to_cbor};

const LIMIT: u32 = 150_000;
const CHUNK: u32 = 1000;

#[derive(serde::Deserialize)]
struct Found {
    count: u32,
    largest: Option<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let module = std::fs::read(arguments.next().ok_or("usage: primes MODULE [MANAGER]")?)?;
    match arguments.next() {
        Some(manager) => count(&Client::connect(&manager)?, module).await,
        None => count(&*Manager::builder().local_slots(2).start()?, module).await,
    }
}

async fn count(grid: &Client, module: Vec<u8>) -> Result<(), Box<dyn Error>> {
    let module = grid.upload("primes", module).await?;
    let order = grid.spawn(module.digest).every_slot().await?;
    let chunks = (0..LIMIT).step_by(CHUNK as usize).map(|from| to_cbor(&(from, LIMIT.min(from + CHUNK))));
    let mut pending = chunks.collect::<Result<Vec<Bytes>, _>>()?;
    let (mut idle, mut unfinished) = (Vec::new(), pending.len());
    let (mut primes, mut largest, started) = (0, None, Instant::now());
    while unfinished > 0 {
        match grid.next_event().await {
            Event::Joined { worker, .. } => idle.push(worker),
            Event::Message { worker, payload } => {
                let found: Found = from_cbor(&payload)?;
                (primes, largest) = (primes + found.count, largest.max(found.largest));
                unfinished -= 1;
                idle.push(worker);
            }
            Event::Left { worker, unanswered, .. } => {
                eprintln!("{worker} left {} chunks unanswered", unanswered.len());
                idle.retain(|other| *other != worker);
                pending.extend(unanswered);
            }
            other => return Err(format!("{other:?}").into()),
        }
        for _ in 0..idle.len().min(pending.len()) {
            if let (Some(worker), Some(chunk)) = (idle.pop(), pending.pop()) {
                grid.send(worker, chunk).await?;
            }
        }
    }
    println!("{primes} primes below {LIMIT}; the largest is {}", largest.unwrap_or_default());
    println!("counted in {:.2} s", started.elapsed().as_secs_f64());
    Ok(grid.remove_deployment(order).await?)
}
