//! Who may depend on whom.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use crate::{manifest, root, sources};

/// Each crate's folder and name, and the crates of ours that it may depend on. A dependency that is not here is a
/// violation.
pub(crate) const MAY_DEPEND_ON: &[(&str, &str, &[&str])] = &[
    ("guest-sdk/abi", "grid-abi", &[]),
    ("guest-sdk/rust", "grid-guest", &["grid-abi"]),
    ("protocol", "grid-protocol", &[]),
    ("scheduler", "grid-scheduler", &["grid-protocol"]),
    ("inspect", "grid-inspect", &["grid-abi"]),
    ("toolchains", "grid-toolchains", &[]),
    ("disk", "grid-disk", &["grid-protocol"]),
    ("net", "grid-net", &["grid-protocol", "grid-disk"]),
    (
        "manager",
        "grid-manager",
        &["grid-protocol", "grid-scheduler", "grid-net", "grid-inspect", "grid-disk"],
    ),
    ("client", "grid-client", &["grid-protocol", "grid-net", "grid-inspect", "grid-disk"]),
    ("http", "grid-http", &["grid-protocol", "grid-disk"]),
    ("otlp", "grid-otlp", &["grid-protocol", "grid-http", "grid-manager"]),
    ("web", "grid-web", &["grid-client", "grid-protocol", "grid-http", "grid-manager", "grid-disk"]),
    (
        "host",
        "grid-host",
        &["grid-protocol", "grid-net", "grid-abi", "grid-http", "grid-inspect", "grid-disk"],
    ),
    (
        "grid",
        "wasm-grid",
        &["grid-client", "grid-protocol", "grid-net", "grid-manager", "grid-host", "grid-disk"],
    ),
    (
        "cli",
        "grid-cli",
        &[
            "wasm-grid",
            "grid-protocol",
            "grid-host",
            "grid-http",
            "grid-inspect",
            "grid-otlp",
            "grid-disk",
            "grid-toolchains",
            "grid-web",
        ],
    ),
    ("python", "wasm-grid-python", &["wasm-grid", "grid-disk"]),
    (
        "tests",
        "grid-tests",
        &["wasm-grid", "grid-protocol", "grid-net", "grid-host", "grid-manager", "grid-inspect", "grid-disk"],
    ),
    ("xtask", "xtask", &["grid-toolchains"]),
];

/// Heavy dependencies, and the one crate that may name each.
const SOLE_OWNERS: &[(&str, &str)] = &[
    ("bincode", "grid-protocol"),
    ("ed25519-dalek", "grid-protocol"),
    ("quinn", "grid-net"),
    ("quinn-proto", "grid-net"),
    ("rustls", "grid-net"),
    ("ring", "grid-net"),
    ("redb", "grid-manager"),
    ("wasmtime", "grid-host"),
    ("wasmtime-wasi", "grid-host"),
    ("landlock", "grid-host"),
    ("rayon", "grid-host"),
    ("seccompiler", "grid-host"),
    ("wasmparser", "grid-inspect"),
    ("comfy-table", "grid-cli"),
    ("ratatui", "grid-cli"),
    ("crossterm", "grid-cli"),
    ("hyper", "grid-http"),
    ("tokio-rustls", "grid-http"),
    ("rcgen", "grid-http"),
    ("opentelemetry-proto", "grid-otlp"),
    ("prost", "grid-otlp"),
    ("pyo3", "wasm-grid-python"),
    ("utoipa", "grid-web"),
];

/// Who else may name one. The benchmark's reference is wasmtime and nothing else; the collector of the tests reads the
/// protocol's own messages; a view has its schema where it is declared, behind a feature that grid-web alone turns on.
const ALSO_NAMED_BY: &[(&str, &str)] = &[
    ("grid-tests", "wasmtime"),
    ("grid-tests", "opentelemetry-proto"),
    ("grid-tests", "prost"),
    ("grid-client", "utoipa"),
];

/// Dependencies that are built twice, in two versions or with two sets of features, because others want them so. None of
/// them takes long: what does is worth a look at ADR 0011.
const BUILT_TWICE: &[&str] = &[
    "anyhow",
    "block-buffer",
    "cpufeatures",
    "crypto-common",
    "digest",
    "getrandom",
    "gimli",
    "hashbrown",
    "io-lifetimes",
    "object",
    "postcard",
    "pulley-interpreter",
    "rand",
    "rand_core",
    "rust-embed-utils",
    "serde_core",
    "sha2",
    "smallvec",
    "syn",
    "thiserror",
    "thiserror-impl",
    "wasm-encoder",
    "wasmtime-environ",
    "wasmtime-internal-core",
    "wast",
];

/// The names of everything that a manifest depends on, in whatever section.
fn dependencies(manifest: &toml::Table) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (section, value) in manifest {
        let Some(table) = value.as_table() else { continue };
        if section.ends_with("dependencies") {
            names.extend(table.keys().cloned());
        } else if section == "target" {
            for target in table.values().filter_map(toml::Value::as_table) {
                names.extend(dependencies(target));
            }
        }
    }
    names
}

/// What is wrong with a crate that depends on `names`.
fn violations(crate_name: &str, allowed: &[&str], names: &BTreeSet<String>) -> Vec<String> {
    let ours: BTreeSet<_> = MAY_DEPEND_ON.iter().map(|(_, name, _)| *name).collect();
    let mut violations = Vec::new();
    for name in names {
        if ours.contains(name.as_str()) && !allowed.contains(&name.as_str()) {
            violations.push(format!("{crate_name} may not depend on {name}"));
        }
        let owner = SOLE_OWNERS.iter().find(|(heavy, _)| heavy == name).map(|(_, owner)| *owner);
        if let Some(owner) = owner.filter(|owner| *owner != crate_name)
            && !ALSO_NAMED_BY.contains(&(crate_name, name))
        {
            violations.push(format!("{name} belongs to {owner}, not to {crate_name}"));
        }
    }
    violations
}

#[test]
fn every_crate_depends_only_on_what_the_table_allows() {
    let found: Vec<_> = MAY_DEPEND_ON
        .iter()
        .flat_map(|(folder, name, allowed)| violations(name, allowed, &dependencies(&manifest(folder))))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_violation_of_the_table_is_found() {
    let socket: BTreeSet<_> = ["grid-protocol", "grid-net", "quinn"].map(String::from).into();
    let found = violations("grid-scheduler", &["grid-protocol"], &socket);
    assert_eq!(
        found,
        ["grid-scheduler may not depend on grid-net", "quinn belongs to grid-net, not to grid-scheduler"]
    );
}

#[test]
fn the_table_names_every_member_of_the_workspace() {
    let workspace = manifest(".");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<_> = members.iter().map(|member| member.as_str().unwrap().to_owned()).collect();
    let named: BTreeSet<_> = MAY_DEPEND_ON.iter().map(|(folder, ..)| (*folder).to_owned()).collect();
    assert_eq!(members, named);
}

#[test]
fn no_other_dependency_is_built_twice() {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(root()).args(["tree", "--workspace", "--duplicates", "--depth=0", "--locked"]);
    let said = tree.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let listed = String::from_utf8(said.stdout).unwrap();
    let twice: BTreeSet<_> = listed.lines().filter_map(|line| Some(line.split_once(" v")?.0)).collect();
    let known: BTreeSet<_> = BUILT_TWICE.iter().copied().collect();
    assert_eq!(twice, known, "left: what is built twice; right: what is known to be");
}

#[test]
fn only_one_file_calls_bincode() {
    let naming: Vec<_> = sources(&root().join("protocol/src"))
        .into_iter()
        .filter(|path| fs::read_to_string(path).unwrap().contains("bincode::"))
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(naming, ["codec.rs"]);
}

/// What a program that only talks to a manager must not have to build.
#[test]
fn a_client_needs_no_engine_no_store_and_no_command_line() {
    let mut tree = Command::new(env!("CARGO"));
    tree.current_dir(root()).args([
        "tree",
        "--package=grid-client",
        "--edges=normal,build",
        "--prefix=none",
        "--locked",
    ]);
    let said = tree.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let listed = String::from_utf8(said.stdout).unwrap();
    let names: BTreeSet<_> = listed.lines().filter_map(|line| Some(line.split_once(" v")?.0)).collect();
    assert!(names.contains("quinn"), "{listed}");
    let heavy: Vec<_> = ["wasmtime", "redb", "clap", "utoipa", "grid-manager", "grid-host"]
        .into_iter()
        .filter(|name| names.contains(name))
        .collect();
    assert_eq!(heavy, Vec::<&str>::new());
}

/// The one crate whose dependencies need not be named: they make cargo unite features, as its manifest says.
const UNITES_FEATURES: &str = "xtask";

#[test]
fn every_dependency_is_named_by_the_crate_that_has_it() {
    let mut unused = Vec::new();
    for (folder, crate_name, _) in MAY_DEPEND_ON.iter().filter(|(_, name, _)| *name != UNITES_FEATURES) {
        let texts: String =
            sources(&root().join(folder)).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for name in dependencies(&manifest(folder)) {
            if !texts.contains(&name.replace('-', "_")) {
                unused.push(format!("{crate_name} does not use {name}"));
            }
        }
    }
    assert_eq!(unused, Vec::<String>::new());
}
