//! Which module may name which: the manager's layers, and no circle anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::dependencies::MAY_DEPEND_ON;
use crate::{root, sources};

/// The path of a module in its crate: `["cluster", "router"]`.
type ModulePath = Vec<String>;

/// The modules of a crate, each with its text but for comments and tests.
struct Crate(BTreeMap<ModulePath, String>);

/// The manager's layers, and which others each may name. What is not here may be named by nobody but the top: `server`.
const LAYERS: &[(&str, &[&str])] = &[
    ("store", &[]),
    ("activity", &[]),
    ("asker", &[]),
    ("audit", &["store"]),
    ("page_links", &["asker"]),
    ("fault_injection", &[]),
    ("config", &["store", "fault_injection"]),
    ("catalog", &["store"]),
    ("blobs", &["store", "catalog"]),
    ("cluster", &["activity", "catalog", "jobs", "fault_injection"]),
    ("jobs", &["activity", "catalog", "cluster", "config", "context", "fault_injection", "store"]),
    (
        "context",
        &["activity", "audit", "blobs", "catalog", "cluster", "config", "jobs", "page_links", "store"],
    ),
    ("api", &["activity", "asker", "audit", "blobs", "catalog", "cluster", "context", "jobs", "store"]),
    ("session", &["activity", "api", "asker", "audit", "blobs", "catalog", "cluster", "context", "jobs"]),
];

/// Modules that decide and do not act, and what they may not name.
const PURE: &[(&str, &[&str])] = &[
    (
        "cluster",
        &["grid_net", "grid_disk", "crate::store", "crate::blobs", "crate::context", "std::fs", "tokio::fs"],
    ),
    (
        "jobs/coordinator",
        &["grid_net", "grid_disk", "dyn Store", "FileStore", "crate::context", "std::fs", "tokio::fs"],
    ),
];

impl Crate {
    fn read(folder: &Path) -> Self {
        let source = folder.join("src");
        let read = |path: std::path::PathBuf| {
            let module = path.strip_prefix(&source).unwrap().with_extension("");
            let module: ModulePath = module.iter().map(|part| part.to_string_lossy().into_owned()).collect();
            (module, code(&fs::read_to_string(&path).unwrap()))
        };
        let mut modules: BTreeMap<_, _> = sources(&source).into_iter().map(read).collect();
        modules.retain(|module, _| !matches!(&**module, [only] if only == "lib" || only == "main"));
        Self(modules)
    }

    /// The modules that a module names.
    fn named_by(&self, module: &[String]) -> BTreeSet<ModulePath> {
        let mut named = BTreeSet::new();
        let text = self.0.get(module).map(String::as_str).unwrap_or_default();
        for (at, _) in text.match_indices("crate::") {
            if !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                self.resolve(&[], &text[at + "crate::".len()..], &mut named);
            }
        }
        for (at, _) in text.match_indices("super::") {
            let before = text[..at].ends_with("super::");
            let after = text[at..].trim_start_matches("super::");
            let up = (text[at..].len() - after.len()) / "super::".len();
            if !before && let Some(base) = module.len().checked_sub(up) {
                self.resolve(&module[..base], after, &mut named);
            }
        }
        named
    }

    /// Follows what stands after `prefix::`: a name, or names in braces. The longest path that is a module counts.
    fn resolve(&self, prefix: &[String], text: &str, named: &mut BTreeSet<ModulePath>) {
        let text = text.trim_start();
        if let Some(list) = text.strip_prefix('{') {
            parts(list).into_iter().for_each(|part| self.resolve(prefix, part, named));
            return;
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        let module = [prefix, &[text[..end].to_owned()]].concat();
        match text[end..].strip_prefix("::") {
            Some(rest) if self.0.contains_key(&module) => self.resolve(&module, rest, named),
            _ if self.0.contains_key(&module) => drop(named.insert(module)),
            _ if self.0.contains_key(prefix) => drop(named.insert(prefix.to_vec())),
            _ => {}
        }
    }

    /// Modules that name each other in a circle. A module and the one that it is in are one thing to a reader.
    fn circles(&self) -> Vec<String> {
        let kin = |a: &[String], b: &[String]| a.starts_with(b) || b.starts_with(a);
        let edges: BTreeMap<_, BTreeSet<_>> = self
            .0
            .keys()
            .map(|module| {
                let named = self.named_by(module).into_iter().filter(|other| !kin(module, other)).collect();
                (module.clone(), named)
            })
            .collect();
        let mut circles = Vec::new();
        for start in edges.keys() {
            // The shortest way back, found once: from its least module.
            let mut from: BTreeMap<&ModulePath, &ModulePath> = BTreeMap::new();
            let mut queue = std::collections::VecDeque::from([start]);
            while let Some(module) = queue.pop_front() {
                for next in edges.get(module).into_iter().flatten() {
                    if next == start {
                        let mut way = vec![start, module];
                        while let Some(before) = from.get(way[way.len() - 1]) {
                            way.push(before);
                        }
                        way.reverse();
                        if way.iter().min() == Some(&start) {
                            circles.push(
                                way.into_iter()
                                    .map(|module| module.join("::"))
                                    .collect::<Vec<_>>()
                                    .join(" → "),
                            );
                        }
                        queue.clear();
                        break;
                    }
                    if next != start && !from.contains_key(next) {
                        from.insert(next, module);
                        queue.push_back(next);
                    }
                }
            }
        }
        circles
    }
}

/// The text without comments and without the tests at its end.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

/// The parts of a list in braces, which ends where its own brace does.
fn parts(list: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                parts.push(list[from..at].trim());
                from = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// What a module of a layer names that its layer may not.
fn breaches(manager: &Crate) -> Vec<String> {
    let mut found = Vec::new();
    for module in manager.0.keys() {
        let Some((layer, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == module[0]) else { continue };
        for named in manager.named_by(module) {
            if named[0] != *layer && !allowed.contains(&named[0].as_str()) {
                found.push(format!(
                    "{} names {}, which {layer}/ may not",
                    module.join("::"),
                    named.join("::")
                ));
            }
        }
    }
    for (module, text) in &manager.0 {
        let path = module.join("/");
        let pure = PURE.iter().filter(|(pure, _)| path == *pure || path.starts_with(&format!("{pure}/")));
        for word in pure.flat_map(|(_, words)| *words).filter(|word| text.contains(**word)) {
            found.push(format!("{} names {word}: it decides, and others act", module.join("::")));
        }
    }
    found
}

#[test]
fn no_two_modules_of_a_crate_name_each_other_in_a_circle() {
    let circles: Vec<_> = MAY_DEPEND_ON
        .iter()
        .filter(|(folder, ..)| root().join(folder).join("src").is_dir())
        .flat_map(|(folder, name, _)| {
            let circles = Crate::read(&root().join(folder)).circles();
            circles.into_iter().map(move |circle| format!("{name}: {circle}"))
        })
        .collect();
    assert_eq!(circles, Vec::<String>::new());
}

#[test]
fn the_managers_layers_name_only_what_they_may() {
    assert_eq!(breaches(&Crate::read(&root().join("manager"))), Vec::<String>::new());
}

#[test]
fn every_module_of_the_manager_is_in_a_layer_or_at_the_top() {
    let manager = Crate::read(&root().join("manager"));
    let top = ["server", "invariants", "crash_tests"];
    let known = |name: &str| top.contains(&name) || LAYERS.iter().any(|(layer, _)| *layer == name);
    let lost: Vec<_> = manager.0.keys().filter(|module| !known(&module[0])).collect();
    assert_eq!(lost, Vec::<&ModulePath>::new());
}

fn made_of(files: &[(&str, &str)]) -> Crate {
    let module = |path: &str| path.split('/').map(str::to_owned).collect();
    Crate(files.iter().map(|(path, text)| (module(path), code(text))).collect())
}

#[test]
fn a_circle_of_three_modules_is_found_and_a_child_that_names_its_parent_is_none() {
    let circle = made_of(&[
        ("a", "use crate::{b::Thing, std};"),
        ("b", "use crate::c::inner::{Other};"),
        ("c", "mod inner;"),
        ("c/inner", "use super::super::a; // use crate::d;"),
        ("d", "use crate::a;"),
    ]);
    assert_eq!(circle.circles(), ["a → b → c::inner → a"]);
    let family = made_of(&[("a", "use crate::a::b::Thing;"), ("a/b", "use super::Other;")]);
    assert_eq!(family.circles(), Vec::<String>::new());
}

#[test]
fn a_breach_of_the_layers_is_found() {
    let manager = made_of(&[
        ("cluster", "use crate::session::host;"),
        ("cluster/router", "use grid_net::Conn;"),
        ("session", ""),
        ("session/host", "use crate::cluster::router;"),
    ]);
    assert_eq!(
        breaches(&manager),
        [
            "cluster names session::host, which cluster/ may not",
            "cluster::router names grid_net: it decides, and others act",
        ]
    );
}
