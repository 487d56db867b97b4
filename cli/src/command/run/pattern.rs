//! The files that match `--files`.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use glob::Pattern;

use crate::command::cli_error::CliError;

/// Limit of the files of one run, whose names are kept in memory until its end.
const FILES_MAX: usize = 1_000_000;

/// The component of a pattern that matches any number of nested folders, zero included.
const ANY_FOLDERS: &str = "**";

/// The files that match, each once, in the order of the patterns and of their names.
pub(crate) fn matching(patterns: &[OsString]) -> Result<Vec<PathBuf>, CliError> {
    let (mut files, mut seen) = (Vec::new(), HashSet::new());
    for pattern in patterns {
        let found = matching_one(Path::new(pattern))?;
        if found.is_empty() {
            let pattern = pattern.to_string_lossy();
            return Err(CliError::not_found(format!("no file matches --files {pattern}"))
                .help("quote the pattern, so that the shell leaves it alone; `**` goes through folders"));
        }
        // `./a` is the same file as `a`.
        let is_new = |path: &PathBuf| {
            seen.insert(path.components().filter(|part| *part != Component::CurDir).collect::<PathBuf>())
        };
        files.extend(found.into_iter().filter(is_new));
        if files.len() > FILES_MAX {
            return Err(CliError::usage(format!("more than {FILES_MAX} files match --files")));
        }
    }
    Ok(files)
}

/// The file with exactly this name, as a shell passes it on, or else the files that match.
fn matching_one(pattern: &Path) -> Result<Vec<PathBuf>, CliError> {
    if pattern.is_file() {
        return Ok(vec![pattern.to_path_buf()]);
    }
    let mut places = vec![PathBuf::new()];
    for part in pattern.components() {
        places = match part {
            Component::Normal(name) if name == ANY_FOLDERS => every(&places, folders)?,
            Component::Normal(name) => match wild(pattern, name)? {
                Some(wild) => every(&places, |place| {
                    let mut names = names(place)?;
                    // A name that is not UTF-8 is matched with replacement characters.
                    names.retain(|name| wild.matches(&name.to_string_lossy()));
                    Ok(names.into_iter().map(|name| place.join(name)).collect())
                })?,
                None => places.iter().map(|place| place.join(name)).collect(),
            },
            other => places.iter().map(|place| place.join(other)).collect(),
        };
    }
    if pattern.file_name().is_some_and(|name| name == ANY_FOLDERS) {
        places =
            every(&places, |place| Ok(names(place)?.into_iter().map(|name| place.join(name)).collect()))?;
    }
    places.retain(|place| place.is_file());
    Ok(places)
}

/// Parses one component of a pattern; `None` if it has no wildcard.
fn wild(pattern: &Path, name: &OsStr) -> Result<Option<Pattern>, CliError> {
    let Some(text) = name.to_str().filter(|text| text.contains(['*', '?', '['])) else {
        return Ok(None);
    };
    let wrong = |error| CliError::usage(format!("--files {} is no pattern: {error}", pattern.display()));
    Pattern::new(text).map(Some).map_err(wrong)
}

/// The results of `find` in each place, one after another.
fn every(
    places: &[PathBuf],
    find: impl Fn(&Path) -> Result<Vec<PathBuf>, CliError>,
) -> Result<Vec<PathBuf>, CliError> {
    let mut found = Vec::new();
    for place in places {
        found.extend(find(place)?);
    }
    Ok(found)
}

/// A folder and all folders below it. Links are not followed, because one could lead back.
fn folders(place: &Path) -> Result<Vec<PathBuf>, CliError> {
    let (mut found, mut left) = (Vec::new(), vec![place.to_path_buf()]);
    while let Some(folder) = left.pop() {
        let below = names(&folder)?.into_iter().map(|name| folder.join(name));
        let below = below.filter(|path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()));
        // A stack: the last is taken first.
        left.extend(below.rev());
        found.push(folder);
    }
    Ok(found)
}

/// The names in a folder, sorted; none if it is not a folder.
fn names(folder: &Path) -> Result<Vec<OsString>, CliError> {
    let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let unread = |error| CliError::failed(format!("the folder {} cannot be read", here.display()), error);
    let entries = match here.read_dir() {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(error) => return Err(unread(error)),
    };
    let names: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.file_name())).collect();
    let mut names = names.map_err(unread)?;
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &Path, patterns: &[&str]) -> Vec<String> {
        let patterns: Vec<_> = patterns.iter().map(|pattern| folder.join(pattern).into()).collect();
        let name = |path: PathBuf| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        matching(&patterns).unwrap().into_iter().map(name).collect()
    }

    #[test]
    fn files_match_in_the_order_of_their_names_and_each_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("b/deep")).unwrap();
        for name in ["c.txt", "a.txt", "a.dat", "b/x.txt", "b/deep/y.txt", "br[1].txt", "br1.txt"] {
            std::fs::write(path(name), "").unwrap();
        }
        assert_eq!(found(folder.path(), &["a.*", "[ac].txt"]), ["a.dat", "a.txt", "c.txt"]);
        assert_eq!(found(folder.path(), &["b/**/*.txt"]), ["b/x.txt", "b/deep/y.txt"]);
        assert_eq!(found(folder.path(), &["b/**"]), ["b/x.txt", "b/deep/y.txt"]);
        assert_eq!(found(folder.path(), &["*/x.txt", "./b/x.txt"]), ["b/x.txt"]);
        assert_eq!(found(folder.path(), &["br[1].txt"]), ["br[1].txt"]);
        assert!(matching(&[path("none*").into()]).is_err() && matching(&[path("a**").into()]).is_err());
    }
}
