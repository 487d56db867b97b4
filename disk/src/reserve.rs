//! Room on a disk that is kept for the time when there is no other.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file without contents that takes room on a disk. When the disk is full it is removed, so that what makes room can
/// still be written down.
///
/// It does not keep others from filling the disk, and the room that it gives up can be taken by anybody.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// A reserve of so many bytes in the file `path`, which [`Self::shortage`] makes.
    pub fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Why nothing that can wait should be written; `None` while the reserve is there and as much again is free. Takes the
    /// reserve if there is room for it.
    ///
    /// Costs two calls of the system where nothing is short.
    pub fn shortage(&self) -> Option<String> {
        let free = self.free();
        let held = self.is_held();
        let needed = if held { self.bytes } else { self.bytes.saturating_mul(2) };
        if free >= needed && (held || self.take().is_ok()) {
            return None;
        }
        let (free, needed) = (free >> 20, needed >> 20);
        Some(format!(
            "the disk of {} has {free} MiB left; it goes on once {needed} MiB are free",
            self.folder().display()
        ))
    }

    /// Gives the room up; false if that was done before.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    fn is_held(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|about| about.len() == self.bytes)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Bytes that are free for this user, on the disk where the file is; all, where the system does not say.
    fn free(&self) -> u64 {
        #[cfg(unix)]
        if let Ok(about) = rustix::fs::statvfs(self.folder()) {
            return about.f_bavail.saturating_mul(about.f_frsize);
        }
        u64::MAX
    }

    fn take(&self) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(self.folder())?;
        allocate(file.as_file_mut(), self.bytes)?;
        file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}

/// Makes a file take so much of the disk.
fn allocate(file: &mut File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        match rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Not every file system can.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            done => return done.map_err(io::Error::from),
        }
    }
    io::copy(&mut io::repeat(0).take(bytes), file)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_takes_its_room_once_and_takes_it_again_after_it_was_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::new(path.clone(), 1 << 20);
        assert!(!reserve.give_up());
        for _ in 0..2 {
            assert_eq!(reserve.shortage(), None);
            assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 20);
            assert!(reserve.give_up());
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_disk_without_room_for_the_reserve_is_short_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        // No disk has so much.
        let reserve = Reserve::new(path.clone(), 1 << 62);
        let said = reserve.shortage().unwrap();
        assert!(said.contains("MiB left") && said.contains(&folder.path().display().to_string()), "{said}");
        assert!(!path.exists());
    }
}
