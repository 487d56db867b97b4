//! The grid end to end: real processes, real QUIC, real modules.

mod local;
