//! The grid end to end: real processes, real QUIC, real modules.

mod ancestor;
mod joining;
mod local;
mod resilience;
mod trust;
mod workers;
