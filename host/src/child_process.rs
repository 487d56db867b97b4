//! What the program is when a host runs it as its child: the first argument says so.

/// First argument of the compiler's child process, for `grid` and `grid-host`.
pub const COMPILE: &str = "compile-module";

/// First argument of an executor process, for `grid` and `grid-host`.
pub const EXECUTOR: &str = "--executor";
