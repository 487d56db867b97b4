//! Rules that a compiler does not hold: who may depend on whom, which layer may name which, that a name means one thing,
//! and that everything has a test.

mod dependencies;
mod layers;
mod names;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

fn manifest(folder: &str) -> toml::Table {
    fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap().parse().unwrap()
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn the_top_level_has_no_file_that_a_program_left_there() {
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "clippy.toml",
        "rustfmt.toml",
    ];
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let is_expected = entry.path().is_dir() || name.starts_with('.') || known.contains(&&*name);
        assert!(is_expected, "{name} is neither a folder nor one of {known:?}");
    }
}

#[test]
fn every_example_worker_is_named_in_an_end_to_end_test() {
    let tests = ["tests/e2e", "tests/conformance"].map(|folder| sources(&root().join(folder))).concat();
    let tests: String = tests.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let members = manifest("modules");
    for module in members["workspace"]["members"].as_array().unwrap() {
        // A worker that there is in several languages has a folder for each.
        let kind = module.as_str().unwrap().split('/').next().unwrap();
        let named = ["\"", "-"].iter().any(|end| tests.contains(&format!("\"{kind}{end}")));
        assert!(named, "no end-to-end test names the worker {kind}");
    }
}

/// The host's test that a module is inspected once counts what goes through this file.
#[test]
fn a_host_inspects_modules_in_one_place() {
    let source = root().join("host/src");
    let calls = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        ["inspect_known(", "inspect::inspect("].map(|call| text.matches(call).count()).iter().sum::<usize>()
    };
    let found: Vec<_> = sources(&source).into_iter().map(|path| (calls(&path), path)).collect();
    let found: Vec<_> = found.iter().filter(|(calls, _)| *calls > 0).collect();
    assert_eq!(found, [&(1, source.join("module_loader/inspector.rs"))]);
}

/// A request of the HTTP API that is served without its description would be one that nobody finds.
#[test]
fn what_the_api_serves_goes_through_the_table_that_describes_it() {
    let source = root().join("web/src");
    let serves = |path: &PathBuf| {
        let text = fs::read_to_string(path).unwrap();
        [".route(", ".nest(", "route_service(", "nest_service(", "fallback("]
            .iter()
            .any(|call| text.contains(call))
    };
    let found: Vec<_> = sources(&source).into_iter().filter(serves).collect();
    // What is not below `/api/v1`: the page's files, and what machines look at. `lib.rs` puts the API in its place.
    let expected = ["assets.rs", "lib.rs", "openapi/routes.rs", "watched.rs"].map(|path| source.join(path));
    assert_eq!(found, expected);
}
