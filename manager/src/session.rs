//! Sessions: one connection each, from the handshake to its end.

pub(crate) mod client;
pub(crate) mod handshake;
pub(crate) mod host;
pub(crate) mod local;
pub(crate) mod newcomers;
mod requests;
pub(crate) mod resume;
mod transfers;
