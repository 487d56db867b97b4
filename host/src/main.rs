//! The program `grid-host`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    grid_host::command::main()
}
