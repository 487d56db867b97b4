//! Reads a module without running it: its door, its exports and imports, its size.
//!
//! What a file says of itself is hostile until it is counted: [`inspect`] first counts, in one pass that
//! allocates nothing of the file's choosing, and only then validates, so that no compiler ever sees a module
//! that is over a limit or uses a feature that the grid does not run.

#![forbid(unsafe_code)]

mod component;
mod door;
mod limits;
mod recent;
mod scan;

pub use component::is_component;
pub use door::{ComponentDoor, CoreDoor, Door, LoopKind};
pub use limits::{Count, Refusal, ScanLimits};
pub use scan::{Report, component_features, features, inspect, inspect_known};
