//! Facts about a folder that a program keeps its state in, or would. Looks, and changes nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What can be said about a folder without using it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderFacts {
    /// The folder.
    pub path: PathBuf,
    /// True if it is there.
    pub exists: bool,
    /// Why this program cannot write in it, or cannot make it; `None` if it can.
    pub trouble: Option<String>,
    /// True if the folder, or the one in which it would be made, belongs to whoever runs this program, or to root.
    pub is_own: bool,
    /// Its permission bits; `None` if it is not there.
    pub mode: Option<u32>,
    /// Bytes that are free for this program.
    pub free_bytes: Option<u64>,
    /// Files that can still be made; `None` if the file system has no limit to them, or does not say.
    pub free_files: Option<u64>,
    /// True if its files are in memory, and gone when the machine is switched off.
    pub is_in_memory: bool,
}

/// Looks at a folder, or at the nearest folder above it that is there.
pub fn folder_facts(path: &Path) -> FolderFacts {
    let (nearest, about) = nearest(path);
    let exists = nearest == path;
    let mut facts = FolderFacts {
        path: path.to_path_buf(),
        exists,
        trouble: None,
        is_own: true,
        mode: None,
        free_bytes: None,
        free_files: None,
        is_in_memory: false,
    };
    match about {
        Err(error) => facts.trouble = Some(format!("{} cannot be looked at: {error}", nearest.display())),
        Ok(about) if !about.is_dir() => {
            facts.trouble = Some(format!("{} is a file, not a folder", nearest.display()));
        }
        Ok(about) => system::look(&nearest, &about, &mut facts),
    }
    facts
}

/// The nearest of a path and what is above it that is there, and what the system says about it.
fn nearest(path: &Path) -> (PathBuf, io::Result<fs::Metadata>) {
    let is_missing =
        |error: &io::Error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    for above in path.ancestors() {
        // Above a relative path is the folder that the program runs in.
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match fs::metadata(above) {
            Err(error) if is_missing(&error) => {}
            about => return (above.to_path_buf(), about),
        }
    }
    (path.to_path_buf(), fs::metadata(path))
}

#[cfg(unix)]
mod system {
    use std::fs::Metadata;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    use rustix::fs::{Access, access, statvfs};

    use super::FolderFacts;

    pub(super) fn look(nearest: &Path, about: &Metadata, facts: &mut FolderFacts) {
        let user = rustix::process::geteuid().as_raw();
        facts.is_own = about.uid() == user || about.uid() == 0;
        facts.mode = facts.exists.then(|| about.mode() & 0o777);
        if let Err(error) = access(nearest, Access::WRITE_OK | Access::EXEC_OK) {
            let error = std::io::Error::from(error);
            facts.trouble = Some(format!("{} cannot be written: {error}", nearest.display()));
        }
        if let Ok(space) = statvfs(nearest) {
            facts.free_bytes = Some(space.f_bavail.saturating_mul(space.f_frsize));
            facts.free_files = (space.f_files > 0).then_some(space.f_favail);
        }
        facts.is_in_memory = is_in_memory(nearest);
    }

    /// The kinds of file systems that Linux keeps in memory (statfs(2)): tmpfs and ramfs.
    #[cfg(target_os = "linux")]
    fn is_in_memory(path: &Path) -> bool {
        const TMPFS: u32 = 0x0102_1994;
        const RAMFS: u32 = 0x8584_58f6;
        // The type of the number is another one with another C library.
        rustix::fs::statfs(path)
            .is_ok_and(|about| [TMPFS, RAMFS].iter().any(|kind| u32::try_from(about.f_type) == Ok(*kind)))
    }

    #[cfg(not(target_os = "linux"))]
    fn is_in_memory(_: &Path) -> bool {
        false
    }
}

#[cfg(not(unix))]
mod system {
    pub(super) fn look(_: &std::path::Path, about: &std::fs::Metadata, facts: &mut super::FolderFacts) {
        if about.permissions().readonly() {
            facts.trouble = Some("it is read-only".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_missing_is_judged_by_the_one_above_and_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let facts = folder_facts(&path);
        assert!(!facts.exists && facts.trouble.is_none() && facts.free_bytes > Some(0), "{facts:?}");
        assert!(!folder.path().join("a").exists());
        assert!(folder_facts(folder.path()).exists);
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_or_above_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below")] {
            let trouble = folder_facts(&path).trouble.unwrap();
            assert!(
                trouble.contains(&file.display().to_string()) && trouble.contains("is a file"),
                "{trouble}"
            );
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_folder_of_the_kernel_cannot_be_written_and_one_in_memory_is_called_so() {
        assert!(folder_facts(Path::new("/proc/sys/grid")).trouble.is_some());
        let shared_memory = Path::new("/dev/shm");
        if shared_memory.is_dir() {
            assert!(folder_facts(shared_memory).is_in_memory);
        }
    }

    #[test]
    fn a_relative_path_is_below_the_present_folder() {
        assert!(folder_facts(Path::new("no-such-folder")).trouble.is_none());
    }
}
