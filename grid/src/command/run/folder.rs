//! The folder that the files of a run's tasks go to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use wasm_grid::Bytes;

use crate::command::fault::Fault;

/// The folder of `--out-dir`.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Makes the folder, if there is none.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        fs::create_dir_all(path).map_err(|error| unwritten(path, error))?;
        Ok(Self(path.to_path_buf()))
    }

    /// Writes a task's files into a folder of its own; where each of them is.
    ///
    /// The paths are a guest's words, passed on by a host: one that would lead elsewhere is refused before anything is
    /// written.
    pub(crate) fn write<'a>(
        &self,
        task: u64,
        files: &'a BTreeMap<String, Bytes>,
    ) -> Result<BTreeMap<&'a str, PathBuf>, Fault> {
        let own = self.0.join(task.to_string());
        let places: BTreeMap<_, _> = files
            .keys()
            .map(|path| Ok((path.as_str(), own.join(inside(path).ok_or_else(|| elsewhere(task, path))?))))
            .collect::<Result<_, Fault>>()?;
        for (path, content) in files {
            if let Some(place) = places.get(path.as_str()) {
                let folder = place.parent().unwrap_or(&own);
                fs::create_dir_all(folder).map_err(|error| unwritten(folder, error))?;
                fs::write(place, content).map_err(|error| unwritten(place, error))?;
            }
        }
        Ok(places)
    }
}

/// A path that stays in the folder that it is joined to.
fn inside(path: &str) -> Option<&Path> {
    let parsed = Path::new(path);
    let is_name = |component: Component<'_>| matches!(component, Component::Normal(_));
    let stays = !path.is_empty() && !path.contains('\0') && parsed.components().all(is_name);
    stays.then_some(parsed)
}

fn elsewhere(task: u64, path: &str) -> Fault {
    Fault::failed(format!("task {task} names a file {path:?}"), "that is no path inside of --out-dir")
}

fn unwritten(path: &Path, error: std::io::Error) -> Fault {
    Fault::failed(format!("{} cannot be written", path.display()), error)
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
        let places = folder.write(7, &good).unwrap();
        assert_eq!(places["a/b.txt"], home.path().join("deep/out/7/a/b.txt"));
        assert_eq!(fs::read(&places["a/b.txt"]).unwrap(), b"x");
        for wrong in ["", "..", "../a", "a/../../b", "/etc/passwd", "./a", "a\0b"] {
            assert!(folder.write(8, &files(wrong)).is_err(), "{wrong}");
        }
        assert!(!home.path().join("deep/out/8").exists());
    }
}
