//! Reads a module without running it: its entry point, its exports and imports, its size.
//!
//! What a file says of itself is hostile until it is counted: [`inspect`] first counts, in one pass that
//! allocates nothing of the file's choosing, and only then validates, so that no compiler ever sees a module
//! that is over a limit or uses a feature that the grid does not run.

#![forbid(unsafe_code)]

mod component;
mod entry_point;
mod inspection;
mod limits;
mod recent;
mod scan;

pub use component::is_component;
pub use entry_point::{ComponentEntry, CoreEntry, EntryPoint, LoopKind};
pub use inspection::{inspect, inspect_known};
pub use limits::{Count, ScanLimits, ScanRefusal};
pub use scan::{ModuleReport, component_features, features};
