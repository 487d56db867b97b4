//! The scan: counts the contents of a module before anything is built from it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use wasmparser::{
    Chunk, ExternalKind, FuncType, FunctionBody, Operator, Parser, Payload, TypeRef, ValType, WasmFeatures,
};

use crate::bodies::{in_parts, validate};
use crate::entry_point::{self, EntryPoint};
use crate::limits::{Count, ScanLimits, ScanRefusal, invalid, within};
use crate::uncalled::{BodyCalls, CALLS_MAX, ModuleCalls, mentioned, replaced};

/// What an inspection found in a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleReport {
    /// How a host calls the module.
    pub entry_point: EntryPoint,
    /// Length of the file, in bytes.
    pub bytes: usize,
    /// Number of functions, imported ones excluded.
    pub functions: u32,
    /// Initial memory, in bytes; in a component, of all its modules together.
    pub memory_bytes: u64,
    /// Maximum of its memory, in bytes; `None` if it declares none, or is a component.
    pub memory_max_bytes: Option<u64>,
    /// What it imports: `module.name` for a core module, else the names of interfaces.
    pub imports: Vec<String>,
    /// The exported functions and their types; for a component, all exports.
    pub exports: Vec<(String, String)>,
    /// Where the bodies of functions are that nothing can call, in bytes from the beginning of the file; of a core module,
    /// nothing is known of that.
    pub(crate) uncalled: Arc<[Range<usize>]>,
}

impl ModuleReport {
    /// The module without the bodies of functions that nothing can call, and otherwise the same to the last byte: as long, and
    /// each function where it was. `None` if that would save the compiler little. `wasm` must be what was inspected.
    pub fn without_uncalled(&self, wasm: &[u8]) -> Option<Vec<u8>> {
        let bytes: usize = self.uncalled.iter().map(ExactSizeIterator::len).sum();
        (bytes >= UNCALLED_BYTES_MIN).then(|| replaced(wasm, &self.uncalled))
    }
}

/// Bytes of functions that nothing can call for which a module is copied: 64 KiB, which take 30 ms to compile.
const UNCALLED_BYTES_MIN: usize = 64 << 10;

/// The WebAssembly features that the grid runs. The list is explicit, so that a new version of a library
/// never adds one: no threads, no 64-bit memory, no garbage collection, no exceptions, no relaxed SIMD.
pub fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::BULK_MEMORY_OPT
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::CALL_INDIRECT_OVERLONG
}

/// The features that the grid runs in components: the component model's first version, without asynchronous
/// calls.
pub fn component_features() -> WasmFeatures {
    features() | WasmFeatures::COMPONENT_MODEL
}

/// Inspects a core module.
pub(crate) fn inspect_core<'a>(wasm: &'a [u8], limits: &'a ScanLimits) -> Result<ModuleReport, ScanRefusal> {
    let mut scan = Scan { limits, ..Scan::new(limits) };
    scan.read(wasm)?;
    validate(wasm, features())?;
    let exports = scan.exported_functions()?;
    scan.check_imports()?;
    Ok(ModuleReport {
        entry_point: entry_point::find(&exports, scan.memory_exported)?,
        bytes: wasm.len(),
        functions: scan.functions,
        memory_bytes: scan.memory_bytes,
        memory_max_bytes: scan.memory_max_bytes,
        imports: scan.imports.iter().map(|(module, name, _)| format!("{module}.{name}")).collect(),
        exports: exports
            .iter()
            .map(|(name, ty)| (name.clone(), entry_point::write(ty.params(), ty.results())))
            .collect(),
        uncalled: Arc::default(),
    })
}

pub(crate) struct Scan<'a> {
    limits: &'a ScanLimits,
    types: Vec<Option<FuncType>>,
    imports: Vec<(String, String, Option<u32>)>,
    imported_functions: Vec<u32>,
    own_functions: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    functions: u32,
    exports: Vec<(String, u32)>,
    memory_exported: bool,
    memory_bytes: u64,
    memory_max_bytes: Option<u64>,
    /// What may be called; `None` if nobody asks.
    calls: Option<ModuleCalls>,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(limits: &'a ScanLimits) -> Self {
        Self {
            limits,
            types: Vec::new(),
            imports: Vec::new(),
            imported_functions: Vec::new(),
            own_functions: Vec::new(),
            bodies: Vec::new(),
            functions: 0,
            exports: Vec::new(),
            memory_exported: false,
            memory_bytes: 0,
            memory_max_bytes: None,
            calls: None,
        }
    }

    /// As [`Self::new`], for [`Self::into_calls`].
    pub(crate) fn with_calls(limits: &'a ScanLimits) -> Self {
        Self { calls: Some(ModuleCalls::default()), ..Self::new(limits) }
    }

    /// What may be called, if this was made [with calls](Self::with_calls) and the bodies were counted.
    pub(crate) fn into_calls(self) -> ModuleCalls {
        let names = self.imports.into_iter().map(|(module, name, _)| (module, name));
        ModuleCalls {
            imports: names.collect(),
            imported_functions: self.imported_functions.len(),
            exports: self.exports,
            ..self.calls.unwrap_or_default()
        }
    }

    fn read(&mut self, wasm: &'a [u8]) -> Result<(), ScanRefusal> {
        let mut parser = Parser::new(0);
        parser.set_features(features());
        let mut rest = wasm;
        loop {
            let (payload, used) = match parser.parse(rest, true).map_err(invalid)? {
                Chunk::Parsed { payload, consumed } => (payload, consumed),
                // All bytes are passed in one chunk, so the parser never asks for more.
                Chunk::NeedMoreData(_) => {
                    return Err(ScanRefusal::Invalid { reason: "cut short".into(), offset: wasm.len() });
                }
            };
            rest = rest.get(used..).unwrap_or_default();
            if matches!(payload, Payload::End(_)) {
                return self.count_bodies();
            }
            self.count(payload)?;
        }
    }

    /// Number of functions, imported ones excluded.
    pub(crate) fn functions(&self) -> u32 {
        self.functions
    }

    /// Initial memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Counts one section of the module, or notes a function body for [`Self::count_bodies`].
    pub(crate) fn count(&mut self, payload: Payload<'a>) -> Result<(), ScanRefusal> {
        let limits = self.limits;
        if let Some(calls) = &mut self.calls {
            calls.note(&payload)?;
        }
        match payload {
            Payload::TypeSection(section) => {
                within(Count::Types, section.count().into(), limits.types.into())?;
                self.read_types(section)?;
            }
            Payload::ImportSection(section) => {
                within(Count::Imports, section.count().into(), limits.imports.into())?;
                self.read_imports(section)?;
            }
            Payload::FunctionSection(section) => {
                within(Count::Functions, section.count().into(), limits.functions.into())?;
                self.functions = section.count();
                for function in section {
                    self.own_functions.push(function.map_err(invalid)?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let initial = table.map_err(invalid)?.ty.initial;
                    within(Count::TableElements, initial, limits.table_elements)?;
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.note_memory(memory.map_err(invalid)?)?;
                }
            }
            Payload::GlobalSection(section) => {
                within(Count::Globals, section.count().into(), limits.globals.into())?;
            }
            Payload::ExportSection(section) => {
                within(Count::Exports, section.count().into(), limits.exports.into())?;
                for export in section {
                    let export = export.map_err(invalid)?;
                    match export.kind {
                        ExternalKind::Func => self.exports.push((export.name.to_owned(), export.index)),
                        ExternalKind::Memory if export.name == grid_abi::MEMORY => {
                            self.memory_exported = true
                        }
                        _ => {}
                    }
                }
            }
            Payload::ElementSection(section) => {
                within(Count::Segments, section.count().into(), limits.segments.into())?
            }
            Payload::DataSection(section) => {
                within(Count::Segments, section.count().into(), limits.segments.into())?
            }
            Payload::CodeSectionEntry(body) => {
                within(Count::Functions, self.bodies.len() as u64 + 1, limits.functions.into())?;
                self.bodies.push(body);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_types(&mut self, section: wasmparser::TypeSectionReader<'_>) -> Result<(), ScanRefusal> {
        for group in section {
            for ty in group.map_err(invalid)?.into_types() {
                let function = match &ty.composite_type.inner {
                    wasmparser::CompositeInnerType::Func(function) => Some(function.clone()),
                    _ => None,
                };
                if let Some(function) = &function {
                    let arity = function.params().len().max(function.results().len());
                    within(Count::Arity, arity as u64, self.limits.arity as u64)?;
                }
                self.types.push(function);
            }
        }
        Ok(())
    }

    fn read_imports(&mut self, section: wasmparser::ImportSectionReader<'_>) -> Result<(), ScanRefusal> {
        for import in section.into_imports() {
            let import = import.map_err(invalid)?;
            let function = match import.ty {
                TypeRef::Func(function) => {
                    self.imported_functions.push(function);
                    Some(function)
                }
                TypeRef::Memory(memory) => {
                    self.note_memory(memory)?;
                    None
                }
                _ => None,
            };
            self.imports.push((import.module.to_owned(), import.name.to_owned(), function));
        }
        Ok(())
    }

    fn note_memory(&mut self, memory: wasmparser::MemoryType) -> Result<(), ScanRefusal> {
        let bytes = |pages: u64| pages.saturating_mul(64 << 10);
        within(Count::MemoryBytes, bytes(memory.initial), self.limits.memory_bytes)?;
        self.memory_bytes = bytes(memory.initial);
        self.memory_max_bytes = memory.maximum.map(bytes);
        Ok(())
    }

    /// Counts what is in the function bodies.
    pub(crate) fn count_bodies(&mut self) -> Result<(), ScanRefusal> {
        let (limits, bodies) = (self.limits, std::mem::take(&mut self.bodies));
        let (asked, remembered) = (self.calls.is_some(), AtomicUsize::new(0));
        let found = Mutex::new(Vec::new());
        let count = |bodies: Vec<FunctionBody<'_>>| {
            let mut part = Vec::new();
            for body in &bodies {
                let mut calls = Vec::new();
                Self::count_body(body, limits, |function| {
                    if asked {
                        calls.push(function);
                    }
                })?;
                calls.sort_unstable();
                calls.dedup();
                if asked && remembered.fetch_add(calls.len(), Ordering::Relaxed) < CALLS_MAX {
                    part.push(BodyCalls { range: body.range(), calls });
                }
            }
            found.lock().extend(part);
            Ok(())
        };
        in_parts(bodies, |body| body.range().len(), count)?;
        if let Some(calls) = &mut self.calls {
            calls.is_incomplete = remembered.into_inner() >= CALLS_MAX;
            calls.bodies = found.into_inner();
            calls.bodies.sort_unstable_by_key(|body| body.range.start);
        }
        Ok(())
    }

    fn count_body(
        body: &FunctionBody<'_>,
        limits: &ScanLimits,
        mut called: impl FnMut(u32),
    ) -> Result<(), ScanRefusal> {
        let range = body.range();
        within(Count::BodyBytes, (range.end - range.start) as u64, limits.body_bytes as u64)?;
        let mut locals = 0u64;
        for local in body.get_locals_reader().map_err(invalid)? {
            locals = locals.saturating_add(local.map_err(invalid)?.0.into());
            within(Count::Locals, locals, limits.locals.into())?;
        }
        let mut nesting = 0u32;
        for operator in body.get_operators_reader().map_err(invalid)? {
            let operator = operator.map_err(invalid)?;
            if let Some(function) = mentioned(&operator) {
                called(function);
            }
            match operator {
                Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                    nesting += 1;
                    within(Count::Nesting, nesting.into(), limits.nesting.into())?;
                }
                Operator::End => nesting = nesting.saturating_sub(1),
                Operator::BrTable { targets } => {
                    within(Count::BranchTargets, targets.len().into(), limits.branch_targets.into())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn function_type(&self, index: u32) -> Option<&FuncType> {
        self.types.get(index as usize)?.as_ref()
    }

    fn exported_functions(&self) -> Result<BTreeMap<String, FuncType>, ScanRefusal> {
        let imported = self.imported_functions.len();
        let mut exports = BTreeMap::new();
        for (name, index) in &self.exports {
            let index = *index as usize;
            let place = match index.checked_sub(imported) {
                None => self.imported_functions.get(index),
                Some(own) => self.own_functions.get(own),
            };
            // The module is valid, so every index is in range.
            if let Some(ty) = place.and_then(|ty| self.function_type(*ty)) {
                exports.insert(name.clone(), ty.clone());
            }
        }
        Ok(exports)
    }

    fn check_imports(&self) -> Result<(), ScanRefusal> {
        for (module, name, function) in &self.imports {
            let signature = function.and_then(|ty| self.function_type(ty));
            let offered = signature.is_some_and(|ty| is_offered(module, name, ty));
            if !offered {
                return Err(ScanRefusal::UnknownImport {
                    module: module.clone(),
                    name: name.clone(),
                    signature: signature.map(|ty| entry_point::write(ty.params(), ty.results())),
                });
            }
        }
        Ok(())
    }
}

/// True if the grid offers this import: its own calls, AssemblyScript's `abort`, or WASI, whose types the
/// linker checks.
fn is_offered(module: &str, name: &str, ty: &FuncType) -> bool {
    let i32s = |params: usize, results: usize| {
        ty.params().len() == params
            && ty.results().len() == results
            && ty.params().iter().chain(ty.results()).all(|one| *one == ValType::I32)
    };
    match (module, name) {
        (grid_abi::IMPORT_MODULE, grid_abi::RECV) => i32s(2, 1),
        (grid_abi::IMPORT_MODULE, grid_abi::SEND | grid_abi::FAIL) => i32s(2, 0),
        (grid_abi::IMPORT_MODULE, grid_abi::LOG) => i32s(3, 0),
        ("env", "abort") => i32s(4, 0),
        ("wasi_snapshot_preview1", name) => WASI.contains(&name),
        _ => false,
    }
}

/// Every function of WASI preview 1 that the sandbox links, with nothing granted.
const WASI: &[&str] = &[
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

#[cfg(test)]
mod tests;
