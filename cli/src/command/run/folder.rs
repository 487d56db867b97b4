//! The folder into which a run writes the files of its tasks.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Error, ErrorKind};
use std::path::{Component, Path, PathBuf};

use wasm_grid::Bytes;

use crate::command::cli_error::CliError;

/// Why the files of a task were not written.
pub(crate) enum Unkept {
    /// Their names, which the guest chose, cannot be used: the task has failed.
    Task(String),
    /// The folder cannot be written: no task's files can be.
    Run(CliError),
}

/// The folder of `--out-dir`.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates the folder if it does not exist.
    pub(crate) fn open(path: &Path) -> Result<Self, CliError> {
        fs::create_dir_all(path).map_err(|error| unwritten(path, error))?;
        Ok(Self(path.to_path_buf()))
    }

    /// Writes a task's files into a folder of its own; returns where each of them is.
    ///
    /// The guest chose the paths, and a host passed them on: one that leads out of the folder is refused before
    /// anything is written, and links are not followed.
    pub(crate) fn write<'a>(
        &self,
        task: u64,
        files: &'a BTreeMap<String, Bytes>,
    ) -> Result<BTreeMap<&'a str, PathBuf>, Unkept> {
        let own = self.0.join(task.to_string());
        let elsewhere =
            |path: &str| Unkept::Task(format!("its file {path:?} is no path inside of --out-dir"));
        let places: BTreeMap<_, _> = files
            .keys()
            .map(|path| Ok((path.as_str(), own.join(inside(path).ok_or_else(|| elsewhere(path))?))))
            .collect::<Result<_, Unkept>>()?;
        for (path, content) in files {
            if let Some(place) = places.get(path.as_str()) {
                self.write_one(place, content)?;
            }
        }
        Ok(places)
    }

    fn write_one(&self, place: &Path, content: &[u8]) -> Result<(), Unkept> {
        let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
        let mut below = place.ancestors().take_while(|path| *path != self.0);
        if let Some(link) = below.find(|path| is_link(path)) {
            return Err(Unkept::Task(format!("{} is a link, which is not followed", link.display())));
        }
        let folder = place.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(place, content))
            .map_err(|error| unkept(place, error))
    }
}

/// Tells from an error whether the names are at fault or the folder.
fn unkept(place: &Path, error: Error) -> Unkept {
    match error.kind() {
        ErrorKind::InvalidFilename
        | ErrorKind::InvalidInput
        | ErrorKind::IsADirectory
        | ErrorKind::NotADirectory
        | ErrorKind::AlreadyExists => {
            Unkept::Task(format!("its file {} cannot be written: {error}", place.display()))
        }
        _ => Unkept::Run(unwritten(place, error)),
    }
}

/// The path, if it stays inside the folder that it is joined to.
fn inside(path: &str) -> Option<&Path> {
    let parsed = Path::new(path);
    let is_name = |component: Component<'_>| matches!(component, Component::Normal(_));
    let stays = !path.is_empty() && !path.contains('\0') && parsed.components().all(is_name);
    stays.then_some(parsed)
}

fn unwritten(path: &Path, error: Error) -> CliError {
    CliError::failed(format!("{} cannot be written", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_in_the_folder_of_their_task_and_nowhere_else() {
        let home = tempfile::tempdir().unwrap();
        let folder = Folder::open(&home.path().join("deep/out")).unwrap();
        let files = |path: &str| BTreeMap::from([(path.to_owned(), Bytes::from_static(b"x"))]);
        let good = files("a/b.txt");
        let places = folder.write(7, &good).unwrap_or_default();
        assert_eq!(places["a/b.txt"], home.path().join("deep/out/7/a/b.txt"));
        assert_eq!(fs::read(&places["a/b.txt"]).unwrap(), b"x");
        for wrong in ["", "..", "../a", "a/../../b", "/etc/passwd", "./a", "a\0b"] {
            assert!(folder.write(8, &files(wrong)).is_err(), "{wrong}");
        }
        assert!(!home.path().join("deep/out/8").exists());
    }
}
