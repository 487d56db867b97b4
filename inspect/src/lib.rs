//! Reads a module without running it: its entry point, exports, imports and size.
//!
//! A file is hostile until it is counted. [`inspect`] first counts it, in memory that the limits bound: its sections, then its
//! function bodies, of which several threads read parts. Only then is it validated, so that no compiler ever sees a module that is
//! over a limit or uses a feature that the grid does not run.

#![forbid(unsafe_code)]

mod bodies;
mod component;
mod entry_point;
mod inspection;
mod limits;
mod recent;
mod scan;
mod uncalled;

pub use component::is_component;
pub use entry_point::{ComponentEntry, CoreEntry, EntryPoint, LoopKind};
pub use inspection::{inspect, inspect_known};
pub use limits::{Count, ScanLimits, ScanRefusal};
pub use scan::{ModuleReport, component_features, features};
