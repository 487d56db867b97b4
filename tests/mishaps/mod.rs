//! Mishaps: what goes wrong on people's machines. The real programs, a sentence for each, and never a panic.
//!
//! A case is a row: its name, what is done, the exit code, and the words that must be there.
//!
//! ```text
//! mishaps! {
//!     a_port_in_use_is_said_plainly: |workspace| workspace.grid(&["up", "--listen", "127.0.0.1:1"]) => 1, ["in use", "help:"];
//! }
//! ```

mod disk;
mod files;
mod host;
mod idle;
mod names;
mod shown;
mod start;
mod streams;
mod terminal;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use grid_tests::{Said, program};
use tempfile::TempDir;

/// Exit codes that `grid --help` lists.
const CODES: &[i32] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 124, 130];

/// A machine on which something goes wrong: a home folder, and nothing else yet.
pub(crate) struct Workspace {
    folder: TempDir,
}

impl Workspace {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    /// A file or a folder of the case's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `grid`, to be run in the case's folder, which is its home, too.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.program(&program("grid"), arguments)
    }

    /// Any program, likewise.
    pub(crate) fn program(&self, program: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path()).env("GRID_HOME", self.folder.path());
        command.env_remove("GRID_MANAGER");
        command
    }

    /// Runs `grid` to its end.
    pub(crate) fn grid(&self, arguments: &[&str]) -> Said {
        Said::of(&mut self.command(arguments), b"")
    }
}

/// A worker, in text form, whose tasks take so long and answer 1.
pub(crate) fn sleeper(sleeps: Duration) -> String {
    let nanoseconds = sleeps.as_nanos();
    format!(
        r#"(module
    (import "grid" "send" (func $send (param i32 i32)))
    (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\01")
    (data (i32.const 80) "\01")
    (func (export "handle_msg") (param $len i32)
        (i64.store (i32.const 88) (i64.const {nanoseconds}))
        (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 192)))
        (call $send (i32.const 0) (i32.const 1))))"#
    )
}

/// Does what a row says, and checks what must hold of each.
pub(crate) fn check(case: impl FnOnce(&Workspace) -> Said, code: i32, words: &[&str]) {
    let said = case(&Workspace::new());
    assert!(!said.stderr.contains("panicked") && !said.stderr.contains("RUST_BACKTRACE"), "{said:?}");
    assert!(CODES.contains(&said.code), "the exit code is in no table: {said:?}");
    assert_eq!(said.code, code, "{said:?}");
    for word in words {
        assert!(said.stderr.contains(word) || said.stdout.contains(word), "`{word}` is not said: {said:?}");
    }
}

/// Rows of mishaps, each a test.
macro_rules! mishaps {
    ($($name:ident: $case:expr => $code:expr, [$($word:expr),* $(,)?];)*) => {
        $(#[test]
        fn $name() {
            crate::mishaps::check($case, $code, &[$($word),*]);
        })*
    };
}
pub(crate) use mishaps;
