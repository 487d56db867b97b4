//! The messages and rules of the grid's wire protocol.
//!
//! The crate is `no_std` and reads no clock, draws no random numbers and opens no socket; time and randomness
//! are arguments. From the outside in: [`frame`] cuts a stream of bytes into bounded frames; [`wire`] and
//! [`mail`] decode them into messages; [`link`](mod@link) and [`control`] number what must not be lost;
//! [`send_queue`] collects what is to be sent; [`session`] continues it all on the next connection. [`host`] and [`client`] define the messages; [`key`],
//! [`ticket`] and [`manifest`] decide whom to trust.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod activity;
pub mod block;
pub mod client;
mod codec;
pub mod control;
pub mod digest;
pub mod event;
pub mod executor;
pub mod extensions;
pub mod frame;
pub mod host;
pub mod id;
pub mod job;
pub mod join;
pub mod key;
pub mod label;
pub mod limits;
pub mod link;
pub mod mail;
pub mod manifest;
pub mod name;
pub mod outcomes;
pub mod pages;
pub mod payload;
pub mod record;
pub mod role;
pub mod send_queue;
pub mod session;
pub mod submission;
mod text;
pub mod ticket;
pub mod time;
pub mod token;
pub mod trace;
pub mod uncollected;
pub mod wall;
pub mod wire;
pub mod worker;

pub use codec::DecodeError;
pub use text::TextError;
