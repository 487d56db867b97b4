//! The SDKs, embedded in this program.

use rust_embed::RustEmbed;

use crate::language::Language;

#[derive(RustEmbed)]
#[folder = "../guest-sdk"]
struct Sdk;

/// Folders that tools create beside the sources, and that are not part of an SDK.
const LEFT_BEHIND: [&str; 3] = ["node_modules", "__pycache__", "target"];

/// The files of a new worker, without `grid.toml`; paths are relative to its folder.
pub(crate) fn template(language: Language) -> Vec<(String, Vec<u8>)> {
    below(&format!("{}/{}/", language.sdk_folder(), language.template_folder()))
}

/// The files of a language's SDK; paths are relative to the folder of the copy.
pub(crate) fn files(language: Language) -> Vec<(String, Vec<u8>)> {
    let mut files = match language {
        // Two crates, beside each other.
        Language::Rust => [("rust", "rust/"), ("abi", "abi/")]
            .into_iter()
            .flat_map(|(folder, prefix)| {
                below(prefix).into_iter().map(move |(path, contents)| (format!("{folder}/{path}"), contents))
            })
            .collect(),
        _ => below(&format!("{}/", language.sdk_folder())),
    };
    if matches!(language, Language::Python | Language::Js) {
        files.extend(below("wit/").into_iter().map(|(path, contents)| (format!("wit/{path}"), contents)));
    }
    files.retain(|(path, _)| !path.split('/').any(|part| part.starts_with("template")));
    files
}

fn below(prefix: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for path in Sdk::iter() {
        if let Some(rest) = path.strip_prefix(prefix)
            && !rest.split('/').any(|part| LEFT_BEHIND.contains(&part))
            && let Some(file) = Sdk::get(&path)
        {
            files.push((rest.to_owned(), file.data.into_owned()));
        }
    }
    files.sort();
    files
}
