//! Hands traces on to a collector, by OTLP over HTTP.
//!
//! [`spans`] says what a trace of the grid is in OpenTelemetry's words; [`Collector`] is where it goes; [`Exporter`]
//! brings it there, in batches, and never holds anybody up.

#![forbid(unsafe_code)]

mod collector;
mod exporter;
pub mod spans;

pub use collector::{Collector, CollectorError};
pub use exporter::Exporter;
