//! Write a grid worker in Rust.
//!
//! A worker is a type that implements [`Worker`], and one line that exports it:
//!
//! ```
//! use grid_guest::{Turn, Worker};
//!
//! #[derive(Default)]
//! struct Adder {
//!     sum: u64,
//! }
//!
//! impl Worker for Adder {
//!     fn new(_arguments: &[u8]) -> Result<Self, String> {
//!         Ok(Self::default())
//!     }
//!
//!     fn handle_msg(&mut self, message: &[u8]) {
//!         match grid_guest::from_cbor::<u64>(message) {
//!             Ok(number) => self.sum += number,
//!             Err(error) => return grid_guest::fail(&error.to_string()),
//!         }
//!         grid_guest::send_cbor(&self.sum);
//!     }
//! }
//!
//! grid_guest::worker!(Adder);
//! ```
//!
//! Or it is one function, from a message to its answer: see [`handler!`]. Build it as a `cdylib` for
//! `wasm32-wasip1`. On any other target the same code runs in its own tests: [`testing`] stands in for the host.

mod calls;
mod export;
pub mod testing;
mod worker;

pub use calls::{CborError, fail, from_cbor, log, send, send_cbor, to_cbor};
#[doc(hidden)]
pub use export::{Slot, answer, handle, init, initialize, stop, turn};
pub use grid_abi::level;
pub use worker::{Turn, Worker};
