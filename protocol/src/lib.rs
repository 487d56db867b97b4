//! The words and rules of the grid's wire.
//!
//! Nothing here reads a clock, throws dice or opens a socket: the crate is `no_std`, and time and
//! randomness are arguments. From the outside in: [`frame`] cuts a stream of bytes into bounded frames,
//! [`wire`] and [`mail`] make messages of them, [`link`](mod@link) and [`control`] number what must not be lost and
//! [`send_queue`] collects what goes out. [`host`] and [`client`] are what is said; [`key`], [`ticket`] and
//! [`manifest`] are who may say it.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod client;
mod codec;
pub mod control;
pub mod digest;
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
pub mod record;
pub mod role;
pub mod send_queue;
mod text;
pub mod ticket;
pub mod time;
pub mod wire;
pub mod worker;

pub use codec::DecodeError;
pub use text::TextError;
