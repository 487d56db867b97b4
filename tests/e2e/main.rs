//! The grid end to end: real processes, real QUIC, real modules.

mod ancestor;
mod api_description;
mod authoring;
mod client_conformance;
mod commands;
mod compiled;
mod deploy;
mod direct_calls;
mod doctor;
mod hostile;
mod jobs;
mod joining;
mod local;
mod mail;
mod modules;
mod monitor;
mod namespaces;
mod network_conditions;
mod page;
mod page_attacks;
mod random;
mod resilience;
mod rights;
mod run;
mod third_party;
mod top;
mod traces;
mod trust;
mod verbs;
mod walls;
mod workers;

#[path = "../mishaps/mod.rs"]
mod mishaps;

#[path = "../hostile_peer/mod.rs"]
mod hostile_peer;
