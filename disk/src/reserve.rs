//! A reserve of disk space, to be freed when the disk is full.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file of zeros that occupies disk space. When the disk is full, the caller removes it, so that what frees
/// more space can still be written.
///
/// It does not stop other programs from filling the disk, nor from taking the space that it frees.
#[derive(Debug)]
pub struct Reserve {
    path: PathBuf,
    bytes: u64,
}

impl Reserve {
    /// A reserve of `bytes` bytes in the file `path`. Creates nothing; [`Self::shortage`] does.
    pub fn new(path: PathBuf, bytes: u64) -> Self {
        Self { path, bytes }
    }

    /// Why writes that can wait should wait; `None` while the reserve exists and as much space again is free.
    /// Creates the reserve if there is room for both.
    ///
    /// Costs two system calls when the reserve exists and space is not short.
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

    /// Removes the reserve; false if it did not exist or could not be removed.
    pub fn give_up(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    fn is_held(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|about| about.len() == self.bytes)
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Bytes that are free for this user on the reserve's disk; `u64::MAX` if the system does not say.
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

/// Makes a file occupy `bytes` bytes of the disk.
fn allocate(file: &mut File, bytes: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        match rustix::fs::fallocate(&*file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            // Not every file system supports it.
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
        // No disk is that large.
        let reserve = Reserve::new(path.clone(), 1 << 62);
        let said = reserve.shortage().unwrap();
        assert!(said.contains("MiB left") && said.contains(&folder.path().display().to_string()), "{said}");
        assert!(!path.exists());
    }
}
