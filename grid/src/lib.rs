//! A compute grid of WebAssembly workers.
//!
//! A [`Manager`] runs in your program, or as `grid up`; `grid-host` runs on every other machine. You upload a
//! signed module, spawn workers of it on the hosts, and exchange plain messages with them. A [`Client`] does the
//! same from another process or machine.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use wasm_grid::{Event, Manager};
//!
//! let grid = Manager::builder().local_slots(2).start()?;
//! let module = grid.upload("echo", std::fs::read("echo.wasm")?).await?;
//! let workers = grid.spawn(module.digest).anywhere(2).await?;
//! for worker in &workers {
//!     grid.send(*worker, "hello").await?;
//! }
//! let mut answers = 0;
//! while answers < workers.len() {
//!     if let Event::Message { worker, payload } = grid.next_event().await {
//!         println!("{worker}: {payload:?}");
//!         answers += 1;
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! For a list of tasks there is [`Client::map`]: it gives each task's outcome once, even if hosts or the manager fail
//! meanwhile. [`Client::job`] does the same with retries, timeouts and other settings; [`Client::submit`] runs one
//! task.
//!
//! ```no_run
//! # async fn example(grid: wasm_grid::Manager, module: wasm_grid::Digest) -> Result<(), Box<dyn std::error::Error>> {
//! let ranges = (0..150).map(|thousand| (thousand * 1000, (thousand + 1) * 1000));
//! let mut outcomes = grid.job("primes", module).retries(5).map_typed(ranges).await?.in_order();
//! while let Some(outcome) = outcomes.next().await? {
//!     println!("task {} ran on {} for {:?}", outcome.task, outcome.host, outcome.ran);
//! }
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod embedded;
mod local;

pub use embedded::{COMPILED_FOLDER, Manager, ManagerBuilder, ManagerError, TICKET_TTL_S};
pub use grid_client::*;
pub use grid_host::sandbox::{Limits, Policy};
pub use grid_manager::{CatalogError, StartError, TraceRecord};
