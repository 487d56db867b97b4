//! One noun, one meaning: no type name is declared twice, and the glossary knows the words that the code uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::dependencies::MAY_DEPEND_ON;
use crate::{root, sources};

/// Type names that may be declared in two places, because both are the same thing: a guest's side of what a host has is
/// in another program.
const MAY_BE_DOUBLED: &[&str] = &[];

/// Folders with programs of their own, which no reader meets beside the workspace's code.
const APART: &[&str] = &["guest-sdk/rust", "guest-sdk/abi"];

/// Words of which the glossary says what stands in their place.
const PRIVATE_WORDS: &[&str] = &[
    "Foreman",
    "Mailroom",
    "Workbench",
    "Postbox",
    "DeskHere",
    "Acquaintances",
    "MailKeeper",
    "Knock",
    "Pulse",
    "Letter",
    "Leash",
    "Courtesy",
];

#[test]
fn no_file_is_called_by_a_name_that_says_nothing() {
    let nothing = ["utils.rs", "util.rs", "common.rs", "helpers.rs", "imp.rs", "misc.rs"];
    let found: Vec<_> = MAY_DEPEND_ON
        .iter()
        .flat_map(|(folder, ..)| sources(&root().join(folder)))
        .filter(|path| nothing.iter().any(|name| path.ends_with(name)))
        .collect();
    assert_eq!(found, Vec::<PathBuf>::new());
}

/// Type names and where each is declared, in the lines of a file.
fn declared(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let kind = words.next()?;
        let name = words.next()?;
        // An associated type belongs to its trait.
        let types = matches!(kind, "struct" | "enum" | "trait") || kind == "type" && !line.starts_with(' ');
        types.then(|| name.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default())
    })
}

/// Each type name that files declare more than once, with the files.
fn doubled(files: &[(PathBuf, String)]) -> Vec<String> {
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (path, text) in files {
        for name in declared(text) {
            places.entry(name).or_default().push(path.display().to_string());
        }
    }
    let twice = places.into_iter().filter(|(name, files)| files.len() > 1 && !MAY_BE_DOUBLED.contains(name));
    twice.map(|(name, files)| format!("{name} is declared in {}", files.join(" and "))).collect()
}

/// The sources of the workspace, by their paths from its root.
fn workspace() -> Vec<(PathBuf, String)> {
    let folders = MAY_DEPEND_ON.iter().map(|(folder, ..)| *folder).filter(|folder| !APART.contains(folder));
    let paths = folders.flat_map(|folder| sources(&root().join(folder)));
    paths
        .map(|path| (path.strip_prefix(root()).unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn no_type_name_is_declared_twice_in_the_workspace() {
    assert_eq!(doubled(&workspace()), Vec::<String>::new());
}

#[test]
fn a_type_name_that_is_declared_twice_is_found() {
    let files = [
        (PathBuf::from("a.rs"), "pub struct Route {\n".to_owned()),
        (PathBuf::from("b.rs"), "    type Item = u8;\nenum Route {\ntype Item = u8;\n".to_owned()),
    ];
    assert_eq!(doubled(&files), ["Route is declared in a.rs and b.rs"]);
}

#[test]
fn no_type_has_a_name_that_the_glossary_replaces() {
    let found: Vec<_> = workspace()
        .iter()
        .flat_map(|(path, text)| {
            let private = declared(text).filter(|name| PRIVATE_WORDS.contains(name));
            private.map(|name| format!("{}: {name}", path.display())).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn the_glossary_names_only_types_that_there_are() {
    let files = workspace();
    let known: Vec<_> = files.iter().flat_map(|(_, text)| declared(text)).collect();
    let glossary = fs::read_to_string(root().join("docs/glossary.md")).unwrap();
    // Types stand in code, and begin with a capital.
    let named = glossary.split('`').skip(1).step_by(2).filter(|word| {
        word.starts_with(|c: char| c.is_ascii_uppercase()) && word.chars().all(char::is_alphanumeric)
    });
    let gone: Vec<_> = named.filter(|word| !known.contains(word)).collect();
    assert_eq!(gone, Vec::<&str>::new());
}
