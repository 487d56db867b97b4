//! Components: each core module in a component is counted on its own, and all of them together.

use wasmparser::component_types::{
    ComponentDefinedType, ComponentEntityType, ComponentFuncType, ComponentFuncTypeId, ComponentValType,
};
use wasmparser::types::Types;
use wasmparser::{ComponentTypeRef, Encoding, Parser, Payload, PrimitiveValType, TypeBounds};

use crate::bodies::validate;
use crate::entry_point::{self, ComponentEntry, EntryPoint};
use crate::limits::{Count, ScanLimits, ScanRefusal, invalid, within};
use crate::scan::{ModuleReport, Scan, component_features};
use crate::uncalled::ComponentCalls;

/// True if the bytes begin as a component rather than as a core module.
pub fn is_component(wasm: &[u8]) -> bool {
    Parser::is_component(wasm)
}

/// Inspects a component.
pub(crate) fn inspect(wasm: &[u8], limits: &ScanLimits) -> Result<ModuleReport, ScanRefusal> {
    let counted = count(wasm, limits)?;
    let types = validate(wasm, component_features())?;
    for import in &counted.imports {
        if !is_offered(import) {
            return Err(ScanRefusal::UnknownInterface { name: import.clone() });
        }
    }
    Ok(ModuleReport {
        entry_point: find(&counted.exports, &types)?,
        bytes: wasm.len(),
        functions: counted.functions,
        memory_bytes: counted.memory_bytes,
        memory_max_bytes: None,
        exports: counted.exports.iter().map(|name| (name.clone(), describe(name, &types))).collect(),
        imports: counted.imports,
        uncalled: counted.calls.uncalled().into(),
    })
}

/// What a component and everything nested in it contains.
#[derive(Default)]
struct Counted {
    functions: u32,
    modules: u32,
    items: u64,
    memory_bytes: u64,
    imports: Vec<String>,
    exports: Vec<String>,
    calls: ComponentCalls,
}

/// The enclosing element that the parser is in.
enum ParseLevel<'a> {
    Module(Box<Scan<'a>>),
    Component,
}

fn count<'a>(wasm: &'a [u8], limits: &'a ScanLimits) -> Result<Counted, ScanRefusal> {
    let mut parser = Parser::new(0);
    parser.set_features(component_features());
    let mut counted = Counted::default();
    let mut levels: Vec<ParseLevel<'_>> = Vec::new();
    for payload in parser.parse_all(wasm) {
        let payload = payload.map_err(invalid)?;
        match payload {
            Payload::Version { encoding, .. } => {
                within(Count::ComponentDepth, levels.len() as u64, limits.component_depth.into())?;
                levels.push(match encoding {
                    Encoding::Module => {
                        counted.modules += 1;
                        within(Count::Modules, counted.modules.into(), limits.modules.into())?;
                        ParseLevel::Module(Box::new(Scan::with_calls(limits)))
                    }
                    Encoding::Component => ParseLevel::Component,
                });
            }
            Payload::End(_) => {
                if let Some(ParseLevel::Module(mut scan)) = levels.pop() {
                    scan.count_bodies()?;
                    counted.functions = counted.functions.saturating_add(scan.functions());
                    within(Count::Functions, counted.functions.into(), limits.functions.into())?;
                    counted.memory_bytes = counted.memory_bytes.saturating_add(scan.memory_bytes());
                    within(Count::MemoryBytes, counted.memory_bytes, limits.memory_bytes)?;
                    counted.calls.add(scan.into_calls(), levels.len() == 1);
                }
            }
            payload => match levels.last_mut() {
                Some(ParseLevel::Module(scan)) => scan.count(payload)?,
                _ => counted.note(&payload, levels.len() == 1, limits)?,
            },
        }
    }
    Ok(counted)
}

/// How the modules of a component are used.
#[cfg(test)]
pub(crate) fn calls(wasm: &[u8]) -> Result<ComponentCalls, ScanRefusal> {
    Ok(count(wasm, &ScanLimits::default())?.calls)
}

impl Counted {
    /// Counts one section of a component. `outermost` is false for a nested component, whose imports and
    /// exports do not matter.
    fn note(
        &mut self,
        payload: &Payload<'_>,
        outermost: bool,
        limits: &ScanLimits,
    ) -> Result<(), ScanRefusal> {
        let items = match payload {
            Payload::InstanceSection(section) => section.count(),
            Payload::CoreTypeSection(section) => section.count(),
            Payload::ComponentInstanceSection(section) => section.count(),
            Payload::ComponentAliasSection(section) => section.count(),
            Payload::ComponentTypeSection(section) => section.count(),
            Payload::ComponentCanonicalSection(section) => section.count(),
            Payload::ComponentImportSection(section) => section.count(),
            Payload::ComponentExportSection(section) => section.count(),
            _ => 0,
        };
        self.items += u64::from(items);
        within(Count::ComponentItems, self.items, limits.component_items.into())?;
        self.calls.note(payload, outermost)?;
        match payload {
            Payload::ComponentImportSection(section) if outermost => {
                for import in section.clone() {
                    let import = import.map_err(invalid)?;
                    // An import that only names a type asks nothing of the grid.
                    if !matches!(import.ty, ComponentTypeRef::Type(TypeBounds::Eq(_))) {
                        self.imports.push(import.name.name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(section) if outermost => {
                for export in section.clone() {
                    self.exports.push(export.map_err(invalid)?.name.name.to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// True if the grid offers this import: its own calls, or WASI 0.2 (linked, but with nothing granted).
fn is_offered(import: &str) -> bool {
    let Some((interface, version)) = import.split_once('@') else {
        return false;
    };
    match interface {
        grid_abi::component::CALLS => version.starts_with("1."),
        interface => version.starts_with("0.2.") && WASI.contains(&interface),
    }
}

/// Every interface of WASI 0.2 that the sandbox links.
const WASI: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// Finds the entry point among the exports.
fn find(exports: &[String], types: &Types) -> Result<EntryPoint, ScanRefusal> {
    use grid_abi::component as abi;
    let has = |name: &str| exports.iter().any(|export| export == name);
    if !has(abi::HANDLE_MSG) {
        return Err(ScanRefusal::NoComponentEntry {
            found: exports.iter().take(ScanRefusal::NAMES_SHOWN).cloned().collect(),
            did_you_mean: entry_point::near_miss(exports.iter().map(String::as_str)),
        });
    }
    let expect = |name: &'static str, expected: &str| {
        let found = describe(name, types);
        if !has(name) {
            return Ok(false);
        }
        if found == expected {
            return Ok(true);
        }
        Err(ScanRefusal::WrongSignature { export: name, found, expected: expected.to_owned() })
    };
    expect(abi::HANDLE_MSG, BYTES)?;
    Ok(EntryPoint::Component(ComponentEntry {
        start: expect(abi::START, BYTES)?,
        turns: expect(abi::LOOP, TURN)?,
        stop: expect(abi::STOP, "func()")?,
    }))
}

const BYTES: &str = "func(list<u8>)";
const TURN: &str = "func() -> enum { idle, again, later }";

/// The type of an export in WIT's notation, with as much detail as a person needs.
fn describe(name: &str, types: &Types) -> String {
    match types.as_ref().component_item_for_export(name).map(|item| item.ty) {
        Some(ComponentEntityType::Func(id)) => write(id, types),
        Some(ComponentEntityType::Instance(_)) => "interface".to_owned(),
        Some(ComponentEntityType::Type { .. }) => "type".to_owned(),
        Some(_) => "something else".to_owned(),
        None => "nothing".to_owned(),
    }
}

fn write(id: ComponentFuncTypeId, types: &Types) -> String {
    let Some(ComponentFuncType { params, result, async_, .. }) = types.as_ref().get(id) else {
        return "a function".to_owned();
    };
    let params: Vec<_> = params.iter().map(|(_, ty)| write_value(*ty, types)).collect();
    let result = result.map_or(String::new(), |ty| format!(" -> {}", write_value(ty, types)));
    format!("{}func({}){result}", if *async_ { "async " } else { "" }, params.join(", "))
}

/// A value type, one level deep; the functions that the grid calls need no more.
fn write_value(ty: ComponentValType, types: &Types) -> String {
    let id = match ty {
        ComponentValType::Primitive(primitive) => return primitive.to_string(),
        ComponentValType::Type(id) => id,
    };
    match types.as_ref().get(id) {
        Some(ComponentDefinedType::Primitive(primitive)) => primitive.to_string(),
        Some(ComponentDefinedType::List {
            element: ComponentValType::Primitive(PrimitiveValType::U8),
            ..
        }) => "list<u8>".to_owned(),
        Some(ComponentDefinedType::List { .. }) => "list<…>".to_owned(),
        Some(ComponentDefinedType::Enum(names)) => {
            let names: Vec<_> =
                names.iter().take(ScanRefusal::NAMES_SHOWN).map(ToString::to_string).collect();
            format!("enum {{ {} }}", names.join(", "))
        }
        Some(ComponentDefinedType::Option { .. }) => "option<…>".to_owned(),
        Some(ComponentDefinedType::Result { .. }) => "result<…>".to_owned(),
        Some(ComponentDefinedType::Record(_)) => "record".to_owned(),
        _ => "another type".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect;

    fn check(wat: &str) -> Result<ModuleReport, ScanRefusal> {
        inspect(&wat::parse_str(wat).unwrap(), &ScanLimits::default())
    }

    /// A component whose `handle-msg` has this type and does nothing; `more` stands beside it.
    fn component(ty: &str, params: &str, more: &str) -> String {
        format!(
            r#"(component
                (core module $m
                    (memory (export "memory") 2)
                    (func (export "realloc") (param i32 i32 i32 i32) (result i32) i32.const 0)
                    (func (export "handle") {params}))
                (core instance $i (instantiate $m))
                (func $f {ty} (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
                (export "handle-msg" (func $f))
                {more})"#
        )
    }

    #[test]
    fn the_entry_point_of_a_component_is_found_and_its_memory_is_counted() {
        let report = check(&component(r#"(param "message" (list u8))"#, "(param i32 i32)", "")).unwrap();
        assert_eq!(report.entry_point, EntryPoint::Component(ComponentEntry::default()));
        assert_eq!((report.memory_bytes, report.functions), (2 << 16, 2));
        assert_eq!(report.exports, [("handle-msg".to_owned(), "func(list<u8>)".to_owned())]);
    }

    #[test]
    fn a_component_with_the_wrong_type_is_told_the_right_one() {
        let said = check(&component(r#"(param "message" u32)"#, "(param i32)", "")).unwrap_err().to_string();
        assert_eq!(said, "the export `handle-msg` has the type func(u32), and the grid calls func(list<u8>)");
    }

    #[test]
    fn a_component_without_the_export_is_told_what_it_misses() {
        let said = check("(component)").unwrap_err().to_string();
        assert!(said.starts_with("the component does not export `handle-msg`"), "{said}");
    }

    #[test]
    fn an_interface_that_the_grid_does_not_offer_is_named() {
        let import = r#"(import "wasi:http/types@0.2.6" (instance))"#;
        let said = check(&component(r#"(param "message" (list u8))"#, "(param i32 i32)", import));
        let said = said.unwrap_err().to_string();
        assert!(said.contains("wasi:http/types@0.2.6"), "{said}");
    }

    #[test]
    fn what_is_forbidden_in_a_module_is_forbidden_in_a_component() {
        for module in [
            "(memory 1 1 shared)",
            "(memory i64 1)",
            "(memory 1) (memory 1)",
            "(tag)",
            "(func $f (return_call $f))",
        ] {
            let wat = format!("(component (core module {module}))");
            assert!(matches!(check(&wat), Err(ScanRefusal::Invalid { .. })), "{module}");
        }
        let locals = format!("(component (core module (func (local {}))))", "i32 ".repeat(5001));
        let said = check(&locals).unwrap_err().to_string();
        assert_eq!(said, "the module has 5001 locals in one function, and the limit is 5000");
        let many = format!("(component {})", "(core module)".repeat(257));
        assert!(check(&many).unwrap_err().to_string().contains("core modules"));
        let deep = format!("{}{}", "(component ".repeat(10), ")".repeat(10));
        assert!(check(&deep).unwrap_err().to_string().contains("components within components"));
        let split = "(component (core module (memory 9000)) (core module (memory 9000)))";
        assert!(check(split).unwrap_err().to_string().contains("bytes of memory"));
    }

    #[test]
    fn every_truncation_and_flip_of_a_component_is_survived() {
        let text = component(r#"(param "message" (list u8))"#, "(param i32 i32)", "");
        let wasm = wat::parse_str(text).unwrap();
        for end in 0..wasm.len() {
            // A truncation may be valid: only names may be missing.
            let _ = inspect(&wasm[..end], &ScanLimits::default());
        }
        for bit in 0..wasm.len() * 8 {
            let mut flipped = wasm.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let _ = inspect(&flipped, &ScanLimits::default());
        }
    }
}
