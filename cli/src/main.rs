//! The program `grid`. Run under the name `grid-host` it is that program, so that a package needs to carry the code
//! once.

#![forbid(unsafe_code)]

mod command;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let name = std::env::args_os().next();
    if name.as_ref().and_then(|name| Path::new(name).file_stem()).is_some_and(|name| name == "grid-host") {
        return grid_host::command::main();
    }
    command::run()
}
