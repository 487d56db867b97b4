//! Functions of a component that nothing in it can call.
//!
//! The parts of a component are linked whole: of the C library in a Python worker two fifths are called by nobody, and
//! compiling them takes as long as compiling the rest. What may be called is overestimated: each function that is in a table,
//! whose address is taken, or that another module or the component mentions by the name of an export, with all that these
//! call. A component whose modules are used in any other way is taken as it is.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind, ComponentTypeRef,
    ConstExpr, ElementItems, ElementSectionReader, GlobalSectionReader, Instance, Operator, Payload,
};

use crate::limits::{ScanRefusal, invalid};

/// Calls that are remembered of one module, 4 bytes each: four million. One with more is taken as it is.
pub(crate) const CALLS_MAX: usize = 4 << 20;

/// The function that an operator calls or takes the address of.
pub(crate) fn mentioned(operator: &Operator<'_>) -> Option<u32> {
    match operator {
        Operator::Call { function_index }
        | Operator::ReturnCall { function_index }
        | Operator::RefFunc { function_index } => Some(*function_index),
        _ => None,
    }
}

/// A function body: where it is in the file, and which functions it mentions.
#[derive(Debug)]
pub(crate) struct BodyCalls {
    pub(crate) range: Range<usize>,
    pub(crate) calls: Vec<u32>,
}

/// What of a core module says which of its functions may be called.
#[derive(Debug, Default)]
pub(crate) struct ModuleCalls {
    /// The names of its imports, functions or not.
    pub(crate) imports: Vec<(String, String)>,
    /// Number of functions among them, which come before its own.
    pub(crate) imported_functions: usize,
    pub(crate) exports: Vec<(String, u32)>,
    /// Functions that may be called whatever is exported.
    pub(crate) roots: Vec<u32>,
    /// In their order in the file.
    pub(crate) bodies: Vec<BodyCalls>,
    /// It has more calls than are remembered.
    pub(crate) is_incomplete: bool,
}

impl ModuleCalls {
    /// Notes what a section other than those of imports, exports and code mentions.
    ///
    /// # Errors
    ///
    /// If the section is not valid.
    pub(crate) fn note(&mut self, payload: &Payload<'_>) -> Result<(), ScanRefusal> {
        match payload {
            Payload::StartSection { func, .. } => self.roots.push(*func),
            Payload::GlobalSection(section) => self.note_globals(section.clone())?,
            Payload::ElementSection(section) => self.note_elements(section.clone())?,
            Payload::TableSection(section) => {
                for table in section.clone() {
                    if let wasmparser::TableInit::Expr(expression) = table.map_err(invalid)?.init {
                        self.note_expression(&expression)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn note_globals(&mut self, section: GlobalSectionReader<'_>) -> Result<(), ScanRefusal> {
        for global in section {
            self.note_expression(&global.map_err(invalid)?.init_expr)?;
        }
        Ok(())
    }

    fn note_elements(&mut self, section: ElementSectionReader<'_>) -> Result<(), ScanRefusal> {
        for segment in section {
            match segment.map_err(invalid)?.items {
                ElementItems::Functions(functions) => {
                    for function in functions {
                        self.roots.push(function.map_err(invalid)?);
                    }
                }
                ElementItems::Expressions(_, expressions) => {
                    for expression in expressions {
                        self.note_expression(&expression.map_err(invalid)?)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn note_expression(&mut self, expression: &ConstExpr<'_>) -> Result<(), ScanRefusal> {
        for operator in expression.get_operators_reader() {
            self.roots.extend(mentioned(&operator.map_err(invalid)?));
        }
        Ok(())
    }

    /// The bodies of functions that cannot be called if no exports but those with these names are.
    fn uncalled(&self, used: &HashSet<String>) -> Vec<Range<usize>> {
        let exported = self.exports.iter().filter(|(name, _)| used.contains(name));
        let mut reached: Vec<u32> =
            self.roots.iter().copied().chain(exported.map(|(_, function)| *function)).collect();
        let mut called = vec![false; self.bodies.len()];
        while let Some(function) = reached.pop() {
            let Some(own) = (function as usize).checked_sub(self.imported_functions) else {
                continue;
            };
            if let (Some(called @ false), Some(body)) = (called.get_mut(own), self.bodies.get(own)) {
                *called = true;
                reached.extend(&body.calls);
            }
        }
        let uncalled = called.iter().zip(&self.bodies).filter(|(called, _)| !**called);
        uncalled.map(|(_, body)| body.range.clone()).collect()
    }
}

/// How the modules of a component are used.
#[derive(Debug, Default)]
pub(crate) struct ComponentCalls {
    modules: Vec<ModuleCalls>,
    instances: Vec<CoreInstance>,
    /// Exports that the component mentions, of each instance.
    mentioned: HashMap<u32, HashSet<String>>,
    /// Modules are used in other ways than these.
    is_opaque: bool,
}

#[derive(Debug)]
enum CoreInstance {
    /// Of a module, with instances for the names of its imports.
    OfModule(u32, Vec<(String, u32)>),
    /// Put together from things that the component mentions.
    OfItems,
}

impl ComponentCalls {
    /// Adds a core module, which is directly in the component or in one that is nested in it.
    pub(crate) fn add(&mut self, module: ModuleCalls, outermost: bool) {
        self.is_opaque |= !outermost || module.is_incomplete;
        self.modules.push(module);
    }

    /// Notes a section of the component, or of one that is nested in it.
    ///
    /// # Errors
    ///
    /// If the section is not valid.
    pub(crate) fn note(&mut self, payload: &Payload<'_>, outermost: bool) -> Result<(), ScanRefusal> {
        match payload {
            Payload::InstanceSection(section) => {
                // Of modules that it does not have, if it is not the outermost.
                self.is_opaque |= !outermost;
                for instance in section.clone() {
                    self.instances.push(match instance.map_err(invalid)? {
                        Instance::Instantiate { module_index, args } => {
                            let args = args.iter().map(|argument| (argument.name.to_owned(), argument.index));
                            CoreInstance::OfModule(module_index, args.collect())
                        }
                        Instance::FromExports(_) => CoreInstance::OfItems,
                    });
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section.clone() {
                    match alias.map_err(invalid)? {
                        ComponentAlias::CoreInstanceExport { instance_index, name, .. } => {
                            self.mentioned.entry(instance_index).or_default().insert(name.to_owned());
                        }
                        ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. }
                        | ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. } => {
                            self.is_opaque = true;
                        }
                        _ => {}
                    }
                }
            }
            Payload::ComponentInstanceSection(section) => {
                for instance in section.clone() {
                    self.is_opaque |= match instance.map_err(invalid)? {
                        ComponentInstance::Instantiate { args, .. } => {
                            args.iter().any(|argument| argument.kind == ComponentExternalKind::Module)
                        }
                        ComponentInstance::FromExports(exports) => {
                            exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
                        }
                    };
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section.clone() {
                    let ty = import.map_err(invalid)?.ty;
                    self.is_opaque |= matches!(ty, ComponentTypeRef::Module(_));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section.clone() {
                    self.is_opaque |= export.map_err(invalid)?.kind == ComponentExternalKind::Module;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The bodies of functions that nothing can call, in the order of the file. The component must be valid.
    pub(crate) fn uncalled(mut self) -> Vec<Range<usize>> {
        if self.is_opaque {
            return Vec::new();
        }
        for instance in &self.instances {
            let CoreInstance::OfModule(module, arguments) = instance else { continue };
            let Some(module) = self.modules.get(*module as usize) else { return Vec::new() };
            for (of, name) in &module.imports {
                for (_, given) in arguments.iter().filter(|(argument, _)| argument == of) {
                    self.mentioned.entry(*given).or_default().insert(name.clone());
                }
            }
        }
        let mut used = vec![HashSet::new(); self.modules.len()];
        for (number, instance) in self.instances.iter().enumerate() {
            let CoreInstance::OfModule(module, _) = instance else { continue };
            let mentioned = u32::try_from(number).ok().and_then(|number| self.mentioned.remove(&number));
            if let (Some(used), Some(mentioned)) = (used.get_mut(*module as usize), mentioned) {
                used.extend(mentioned);
            }
        }
        let each = self.modules.iter().zip(&used);
        each.flat_map(|(module, used)| module.uncalled(used)).collect()
    }
}

/// The file with these bodies replaced by ones that do nothing and are as long, so that everything else stays in its place.
pub(crate) fn replaced(wasm: &[u8], bodies: &[Range<usize>]) -> Vec<u8> {
    let mut wasm = wasm.to_vec();
    for range in bodies {
        // No locals, `unreachable`, and `nop` up to `end`.
        if let Some([locals, trap, rest @ .., end]) = wasm.get_mut(range.clone()) {
            (*locals, *trap, *end) = (0, 0, 0x0b);
            rest.fill(0x01);
        }
    }
    wasm
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::calls;

    /// The functions that nothing in this component can call, by the number that each has in its body.
    fn uncalled(text: &str) -> Vec<i32> {
        let wasm = wat::parse_str(format!("(component {text})")).unwrap();
        let calls = calls(&wasm).unwrap();
        let mut numbers = Vec::new();
        for range in calls.uncalled() {
            // No locals, `i32.const` and a number of one byte.
            assert_eq!(wasm[range.start..range.start + 2], [0, 0x41]);
            numbers.push(i32::from(wasm[range.start + 2]));
        }
        numbers
    }

    /// A function whose body begins with its number.
    fn function(number: u8, name: &str, rest: &str) -> String {
        format!("(func ${name} (drop (i32.const {number})) {rest})")
    }

    /// A library that exports `a`, which calls `b`, and `c`, which calls `d`; `e` is in a table, and nothing calls `f`.
    fn library() -> String {
        let functions = [
            function(1, "a", "call $b"),
            function(2, "b", ""),
            function(3, "c", "call $d"),
            function(4, "d", "call $c"),
            function(5, "e", ""),
            function(6, "f", "call $f"),
        ];
        format!(
            r#"(core module $library {}
                (table 1 funcref) (elem (i32.const 0) $e)
                (export "a" (func $a)) (export "c" (func $c)))"#,
            functions.concat()
        )
    }

    #[test]
    fn functions_that_nothing_mentions_and_exports_that_nobody_takes_are_not_called() {
        let text = format!("{} (core instance (instantiate $library))", library());
        assert_eq!(uncalled(&text), [1, 2, 3, 4, 6]);
    }

    #[test]
    fn what_another_module_imports_may_be_called_with_all_that_it_calls() {
        let text = format!(
            r#"{} (core module $main (import "library" "c" (func)))
            (core instance $it (instantiate $library))
            (core instance (instantiate $main (with "library" (instance $it))))"#,
            library()
        );
        assert_eq!(uncalled(&text), [1, 2, 6]);
    }

    #[test]
    fn what_the_component_mentions_may_be_called_whatever_becomes_of_it() {
        let text = format!(
            r#"{} (core instance $it (instantiate $library))
            (alias core export $it "a" (core func $a))"#,
            library()
        );
        assert_eq!(uncalled(&text), [3, 4, 6]);
        let text = format!(
            r#"{} (core module $main (import "other" "x" (func)))
            (core instance $it (instantiate $library))
            (core instance (instantiate $main (with "other" (instance (export "x" (func $it "c"))))))"#,
            library()
        );
        assert_eq!(uncalled(&text), [1, 2, 6]);
    }

    #[test]
    fn start_functions_globals_and_all_instances_of_a_module_count() {
        let module = |rest: &str| {
            let functions = [function(1, "a", ""), function(2, "b", "call $a"), function(3, "c", "")];
            format!("(core module $m {} {rest}) (core instance $i (instantiate $m))", functions.concat())
        };
        assert_eq!(uncalled(&module("(start $b)")), [3]);
        assert_eq!(uncalled(&module("(global funcref (ref.func $c))")), [1, 2]);
        assert_eq!(uncalled(&module("(elem declare func $a)")), [2, 3]);
        assert_eq!(uncalled(&module("(elem funcref (ref.func $a) (ref.null func))")), [2, 3]);
        let second = r#"(export "c" (func $c))) (core instance $i (instantiate $m))
            (core instance $j (instantiate $m)) (alias core export $j "c" (core func))"#;
        let functions = [function(1, "a", ""), function(3, "c", "")].concat();
        assert_eq!(uncalled(&format!("(core module $m {functions} {second}")), [1]);
    }

    #[test]
    fn a_component_whose_modules_are_used_in_another_way_is_taken_as_it_is() {
        let library = library();
        for text in [
            format!(
                r#"{library} (core instance (instantiate $library)) (export "m" (core module $library))"#
            ),
            format!(
                "{library} (core instance (instantiate $library))
                (component (alias outer 1 $library (core module $it)) (core instance (instantiate $it)))"
            ),
            format!("{library} (core instance (instantiate $library)) (component {library})"),
            format!(r#"(import "m" (core module)) {library} (core instance (instantiate $library))"#),
        ] {
            assert_eq!(uncalled(&text), [], "{text}");
        }
    }

    #[test]
    fn what_takes_the_place_of_a_body_is_valid_whatever_the_function_returns_and_as_long() {
        let text = r#"(module (func (export "f") (param i64) (result f64 i32)
            (local f32) (f64.const 1) (drop (i32.const 700)) (i32.const 3)))"#;
        let wasm = wat::parse_str(text).unwrap();
        let body = wasmparser::Parser::new(0).parse_all(&wasm).find_map(|payload| match payload.unwrap() {
            Payload::CodeSectionEntry(body) => Some(body.range()),
            _ => None,
        });
        let shortened = replaced(&wasm, &[body.unwrap()]);
        assert!(shortened.len() == wasm.len() && shortened != wasm);
        wasmparser::validate(&shortened).unwrap();
    }
}
