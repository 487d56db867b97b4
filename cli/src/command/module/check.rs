//! `grid module check`: how the grid would run a file, or why it would refuse it.

use std::path::Path;

use grid_inspect::{EntryPoint, LoopKind, ScanLimits, ScanRefusal};
use serde::Serialize;

use crate::command::cli_error::CliError;
use crate::command::module::{author, read};
use crate::command::output::{Output, bytes};

/// A host's default memory limit for a worker.
const USUAL_MEMORY_BYTES: u64 = 256 << 20;

/// What the inspection finds in a file.
#[derive(Serialize)]
struct CheckedModule<'a> {
    /// Its length.
    bytes: usize,
    digest: String,
    entry_point: &'static str,
    exports: &'a [(String, String)],
    functions: u32,
    imports: &'a [String],
    memory_bytes: u64,
    memory_max_bytes: Option<u64>,
    notes: &'a [String],
}

/// Prints what the inspection finds in a file.
///
/// # Errors
///
/// Exit code 6, with the reason, if the grid would refuse it.
pub(crate) fn check(output: &Output, file: &Path) -> Result<(), CliError> {
    let file = author::module_file(file)?;
    let wasm = read(&file)?;
    let report = match grid_inspect::inspect(&wasm, &ScanLimits::default()) {
        Ok(report) => report,
        Err(refusal) => return Err(refused(&file, &refusal)),
    };
    let digest = wasm_grid::Digest::of(&wasm);
    let memory = match report.memory_max_bytes {
        Some(max) => format!("{} to {}", bytes(report.memory_bytes), bytes(max)),
        None => format!("{} and more", bytes(report.memory_bytes)),
    };
    let exports: Vec<_> = report.exports.iter().map(|(name, ty)| format!("{name}{}", typed(ty))).collect();
    let mut lines = vec![
        format!("digest  {digest}"),
        format!("entry   {}: {}", report.entry_point.label(), entry_point(report.entry_point)),
        format!("length  {}", bytes(wasm.len() as u64)),
        format!("memory  {memory}"),
        format!("imports {}", list(&report.imports)),
        format!("exports {}", list(&exports)),
    ];
    let notes = notes(&report);
    lines.extend(notes.iter().map(|note| format!("note    {note}")));
    let digest = digest.to_string();
    let checked = CheckedModule {
        bytes: wasm.len(),
        digest: digest.clone(),
        entry_point: report.entry_point.label(),
        exports: &report.exports,
        functions: report.functions,
        imports: &report.imports,
        memory_bytes: report.memory_bytes,
        memory_max_bytes: report.memory_max_bytes,
        notes: &notes,
    };
    output.one(&lines[..], &digest, checked)
}

/// What the grid does with a module of this entry point.
fn entry_point(entry_point: EntryPoint) -> &'static str {
    match entry_point {
        EntryPoint::Core(entry_point) => match entry_point.turn {
            LoopKind::Absent => "it lives on between messages; a message is done when `handle_msg` returns",
            LoopKind::Answering => {
                "it lives on between messages; a message is done when `loop` returns 0 after it"
            }
            LoopKind::Polled => {
                "it lives on between messages; `loop` runs every 100 ms, and a message is done at the first send after it"
            }
        },
        EntryPoint::Component(entry_point) if entry_point.turns => {
            "it lives on between messages; a message is done when `loop` answers idle after it"
        }
        EntryPoint::Component(_) => {
            "it lives on between messages; a message is done when `handle-msg` returns"
        }
        EntryPoint::Command => {
            "it is run afresh for each message: the message is its standard input, its standard output the answer"
        }
        _ => "one that this version does not know",
    }
}

/// Notes on what the author might not expect.
fn notes(report: &grid_inspect::ModuleReport) -> Vec<String> {
    let mut notes = Vec::new();
    if report.memory_bytes > USUAL_MEMORY_BYTES {
        notes.push(format!(
            "it starts with {}, and a host gives {} unless `grid-host --worker-memory` says more",
            bytes(report.memory_bytes),
            bytes(USUAL_MEMORY_BYTES)
        ));
    }
    let takes_arguments = match report.entry_point {
        EntryPoint::Core(entry_point) => entry_point.init,
        EntryPoint::Component(entry_point) => entry_point.start,
        _ => true,
    };
    if !takes_arguments {
        notes.push("it takes no spawn arguments: it exports no `init`, or `start` in a component".to_owned());
    }
    if matches!(report.entry_point, EntryPoint::Core(entry_point) if !entry_point.initialize)
        && report.imports.iter().any(|import| import.starts_with("wasi_snapshot_preview1."))
    {
        notes.push(
            "it imports WASI and exports no `_initialize`: if its language has constructors, link it as a reactor"
                .to_owned(),
        );
    }
    notes
}

fn refused(file: &Path, refusal: &ScanRefusal) -> CliError {
    let fault = CliError::rejected(format!("the grid does not run {}", file.display()), refusal);
    fault.help(match refusal {
        ScanRefusal::NoEntryPoint { .. } | ScanRefusal::NoComponentEntry { .. } | ScanRefusal::WrongSignature { .. } => {
            "docs/guest-abi.md has the three shapes that a worker may have; `grid module new` writes one of them"
        }
        ScanRefusal::NoMemory => "linkers export it as `memory` by default; in text form: (memory (export \"memory\") 1)",
        ScanRefusal::UnknownImport { .. } | ScanRefusal::UnknownInterface { .. } => {
            "a worker reaches the grid's own calls and WASI, and nothing else; docs/guest-abi.md lists them"
        }
        ScanRefusal::Invalid { .. } => {
            "the grid runs WebAssembly 1.0 with SIMD, bulk memory, reference types and multi-value; tell your compiler to use no more"
        }
        _ => "",
    })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// A type as it follows a name: directly if it begins with a bracket (a core function), else after a colon.
fn typed(ty: &str) -> String {
    if ty.starts_with('(') { ty.to_owned() } else { format!(": {ty}") }
}
