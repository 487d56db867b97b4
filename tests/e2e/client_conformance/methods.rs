//! Every public method has a case: the sources say which there are.

use std::fs;
use std::path::{Path, PathBuf};

/// Types whose methods have cases here.
const COVERED: &[&str] = &["Client", "SpawnBuilder", "Job", "JobBuilder", "Map", "TaskOutcome"];

/// Methods that no case calls, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("Client", "new", "makes the client of either side, before a case begins"),
    ("Client", "connect", "is `builder` with the key in the user's own folder, which a test leaves alone"),
    ("Client", "builder", "makes the client over the network, before a case begins"),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    entries.flat_map(of).collect()
}

fn text(folder: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    sources(&root.join(folder)).iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

/// The identifier that a text begins with.
fn identifier(text: &str) -> &str {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next().unwrap_or_default()
}

/// The type that a line begins the `impl` block of, if it is not a trait's.
fn implemented(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    // What stands in angle brackets is about the type's parameters.
    let name = rest.strip_prefix('<').and_then(|rest| rest.split_once("> ")).map_or(rest, |(_, name)| name);
    (!line.contains(" for ")).then(|| identifier(name.trim_start()))
}

/// The public methods in `impl` blocks, each with its type.
fn methods(sources: &str) -> Vec<(&str, &str)> {
    let mut block = None;
    let mut found = Vec::new();
    for line in sources.lines() {
        block = if line == "}" { None } else { implemented(line).or(block) };
        let method = ["    pub fn ", "    pub async fn "].iter().find_map(|start| line.strip_prefix(start));
        found.extend(block.zip(method.map(identifier)));
    }
    found
}

#[test]
fn every_public_method_of_clients_workers_and_jobs_is_called_in_a_case() {
    let (client, cases) = (text("../client/src"), text("e2e/client_conformance"));
    let methods: Vec<_> = methods(&client).into_iter().filter(|(of, _)| COVERED.contains(of)).collect();
    for (of, name, _) in EXCEPTIONS {
        assert!(methods.contains(&(*of, *name)), "there is no {of}::{name} to except");
    }
    let excepted = |of: &str, name: &str| EXCEPTIONS.iter().any(|(its, one, _)| (*its, *one) == (of, name));
    let called = |name: &str| ["(", "::<"].iter().any(|end| cases.contains(&format!(".{name}{end}")));
    let missing: Vec<_> = methods.iter().filter(|(of, name)| !called(name) && !excepted(of, name)).collect();
    assert!(missing.is_empty(), "no case calls {missing:?}");
}

#[test]
fn methods_are_found_in_blocks_with_and_without_parameters_and_those_of_traits_are_not() {
    let source = "impl Job {\n    pub fn id(&self) {\n    }\n    fn own(&self) {}\n}\nimpl<I: Inputs> Map<I> {\n    \
                  pub async fn next<T>(&mut self) {}\n}\nimpl Drop for Job {\n    pub fn drop(&self) {}\n}\n";
    assert_eq!(methods(source), [("Job", "id"), ("Map", "next")]);
}
