//! Limits of a module, and the reasons to refuse one.

use std::fmt;

/// Limits of a module. The defaults leave room for the largest modules that toolchains make (a Go program:
/// 4.4 MB, 7,000 functions), and each limit stops one kind of compile bomb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Length of the file, in bytes: several copies of it are held in memory.
    pub module_bytes: usize,
    /// Functions, imported ones excluded; in a component, of all its modules together. Each costs the
    /// compiler some 10 µs and 10 KiB, even when it is empty.
    pub functions: u32,
    /// Length of one function's body, in bytes: compile time grows faster than the length. A body of 273 KiB
    /// took 27 s and 556 MiB in a test; the compiler's own limits stop that. The largest that Go makes has
    /// some 100 KiB, and the interpreter of Python 417 KiB.
    pub body_bytes: usize,
    /// Locals of one function: at worst, register allocation takes time quadratic in their number.
    pub locals: u32,
    /// Depth of nested blocks: the compiler keeps a frame for each.
    pub nesting: u32,
    /// Targets of one `br_table`.
    pub branch_targets: u32,
    /// Types.
    pub types: u32,
    /// Parameters and results of one type.
    pub arity: usize,
    /// Imports.
    pub imports: u32,
    /// Exports.
    pub exports: u32,
    /// Globals.
    pub globals: u32,
    /// Element segments, and separately data segments: a Python interpreter has 43,000, one of PHP 64,000.
    /// Each costs at most a copy when an instance is made.
    pub segments: u32,
    /// Initial elements of one table.
    pub table_elements: u64,
    /// Initial memory, in bytes; in a component, of all its modules together.
    pub memory_bytes: u64,
    /// Core modules in a component: each is compiled, and most are instantiated. A component of Python has
    /// some thirty.
    pub modules: u32,
    /// Depth of nested components and modules in a component.
    pub component_depth: u32,
    /// Types, imports, exports, aliases and instances of a component and of those nested in it, together: the
    /// linker walks over them.
    pub component_items: u32,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            module_bytes: 64 << 20,
            functions: 60_000,
            body_bytes: 512 << 10,
            locals: 5_000,
            nesting: 1_000,
            branch_targets: 10_000,
            types: 10_000,
            arity: 256,
            imports: 1_000,
            exports: 10_000,
            globals: 10_000,
            segments: 100_000,
            table_elements: 100_000,
            memory_bytes: 1 << 30,
            modules: 256,
            component_depth: 8,
            component_items: 20_000,
        }
    }
}

/// What a [`ScanRefusal::TooMuch`] has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Count {
    /// Bytes of the file.
    ModuleBytes,
    /// Functions.
    Functions,
    /// Bytes of one function's body.
    BodyBytes,
    /// Locals of one function.
    Locals,
    /// Nested blocks.
    Nesting,
    /// Targets of one branch table.
    BranchTargets,
    /// Types.
    Types,
    /// Parameters or results of one type.
    Arity,
    /// Imports.
    Imports,
    /// Exports.
    Exports,
    /// Globals.
    Globals,
    /// Segments.
    Segments,
    /// Initial elements of one table.
    TableElements,
    /// Bytes of initial memory.
    MemoryBytes,
    /// Core modules of a component.
    Modules,
    /// Nested components.
    ComponentDepth,
    /// Types, imports, exports, aliases and instances of components.
    ComponentItems,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ModuleBytes => "bytes",
            Self::Functions => "functions",
            Self::BodyBytes => "bytes in one function",
            Self::Locals => "locals in one function",
            Self::Nesting => "blocks within blocks",
            Self::BranchTargets => "targets in one branch table",
            Self::Types => "types",
            Self::Arity => "parameters or results in one type",
            Self::Imports => "imports",
            Self::Exports => "exports",
            Self::Globals => "globals",
            Self::Segments => "segments",
            Self::TableElements => "elements in a table",
            Self::MemoryBytes => "bytes of memory at the start",
            Self::Modules => "core modules",
            Self::ComponentDepth => "components within components",
            Self::ComponentItems => "types, imports, exports, aliases and instances",
        })
    }
}

/// Why the grid does not run a module; the module's author must act.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScanRefusal {
    /// It is not WebAssembly, is not valid, or uses a feature that the grid does not run.
    #[error("not a module that the grid runs: {reason} (at byte {offset})")]
    Invalid {
        /// The validator's reason.
        reason: String,
        /// Position in the file, in bytes.
        offset: usize,
    },
    /// It is over a limit.
    #[error("the module has {found} {what}, and the limit is {max}")]
    TooMuch {
        /// What it has too much of.
        what: Count,
        /// How many it has.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// It exports neither `handle_msg` nor `_start`.
    #[error("the module exports neither `handle_msg` nor `_start`{}{}", list(.found), hint(.did_you_mean))]
    NoEntryPoint {
        /// The first functions that it exports, by name.
        found: Vec<String>,
        /// An export that was probably meant to be `handle_msg`.
        did_you_mean: Option<String>,
    },
    /// An export has the wrong type.
    #[error("the export `{export}` has the type {found}, and the grid calls {expected}")]
    WrongSignature {
        /// The export.
        export: &'static str,
        /// Its type.
        found: String,
        /// The types that the grid calls.
        expected: String,
    },
    /// It imports something that the grid does not offer.
    #[error("the module imports `{module}.{name}`{}, which the grid does not offer", kind_of(.signature))]
    UnknownImport {
        /// The module name of the import.
        module: String,
        /// The name of the import.
        name: String,
        /// Its type, if it is a function.
        signature: Option<String>,
    },
    /// It is a component and does not export `handle-msg`.
    #[error("the component does not export `handle-msg`{}{}", list(.found), hint_component(.did_you_mean))]
    NoComponentEntry {
        /// The first exports that it has.
        found: Vec<String>,
        /// An export that was probably meant to be `handle-msg`.
        did_you_mean: Option<String>,
    },
    /// It is a component and imports an interface that the grid does not offer.
    #[error(
        "the component imports `{name}`, which the grid does not offer; it offers grid:worker/calls@1.0.0 and WASI 0.2 without HTTP"
    )]
    UnknownInterface {
        /// The interface.
        name: String,
    },
    /// It does not export its memory.
    #[error("the module does not export its memory as `memory`")]
    NoMemory,
}

impl ScanRefusal {
    pub(crate) const NAMES_SHOWN: usize = 8;
}

fn list(found: &[String]) -> String {
    if found.is_empty() {
        "; it exports nothing".to_owned()
    } else {
        format!("; it exports {}", found.join(", "))
    }
}

/// Refuses a count above its limit.
pub(crate) fn within(what: Count, found: u64, max: u64) -> Result<(), ScanRefusal> {
    if found <= max { Ok(()) } else { Err(ScanRefusal::TooMuch { what, found, max }) }
}

fn hint_component(near: &Option<String>) -> String {
    near.as_ref().map_or(String::new(), |near| format!("; did you mean `handle-msg` by `{near}`?"))
}

fn hint(near: &Option<String>) -> String {
    near.as_ref().map_or(String::new(), |near| format!("; did you mean `handle_msg` by `{near}`?"))
}

fn kind_of(signature: &Option<String>) -> String {
    signature.as_ref().map_or(String::new(), |signature| format!(" as {signature}"))
}

/// What the parser or the validator refuses.
pub(crate) fn invalid(error: wasmparser::BinaryReaderError) -> ScanRefusal {
    ScanRefusal::Invalid { reason: error.message().to_owned(), offset: error.offset() }
}
