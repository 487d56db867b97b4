//! A bounded HTTP server: what a peer may take of our memory, our connections and our time is limited before anything of
//! it is looked at.
//!
//! Routes are the caller's: an axum router. This crate accepts connections, with TLS if the address is not loopback,
//! checks for which host name a request was meant, and ends what is slow, idle or too much. HTTP/1.1 alone: it is enough
//! for a page and an API, and the smaller half to defend.

#![forbid(unsafe_code)]

mod certificate;
mod client;
mod guard;
mod host_names;
mod listener;
mod metrics;
mod stall;

pub use certificate::{Certificate, CertificateError};
pub use client::{UnansweredError, send};
pub use guard::{HttpProblem, PeerAddress, guarded};
pub use host_names::HostNames;
pub use listener::{HttpBindError, HttpListener};
pub use metrics::metrics_response;
