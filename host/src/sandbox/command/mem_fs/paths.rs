//! Paths: resolved within the in-memory tree, which they cannot leave.

use super::{Id, MemFs, NodeContent, ROOT};
use crate::sandbox::command::errno::Errno;

/// A path resolved up to its last name.
pub(super) struct ResolvedPath<'a> {
    pub(super) folder: Id,
    /// The last name, which may not exist; `None` if the path names `folder` itself.
    pub(super) name: Option<&'a str>,
    pub(super) must_be_folder: bool,
}

impl MemFs {
    pub(super) fn place<'a>(&self, from: Id, path: &'a [u8]) -> Result<ResolvedPath<'a>, Errno> {
        if path.len() > PATH_BYTES_MAX {
            return Err(Errno::Nametoolong);
        }
        let path = std::str::from_utf8(path).map_err(|_| Errno::Ilseq)?;
        if path.is_empty() {
            return Err(Errno::Noent);
        }
        if path.contains('\0') {
            return Err(Errno::Inval);
        }
        // Paths are relative to an open folder: the program's C library has removed a leading slash.
        if path.starts_with('/') {
            return Err(Errno::Notcapable);
        }
        let must_be_folder = path.ends_with('/') || path.ends_with("/.");
        let mut parts = path.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
        let mut folder = from;
        self.names(folder)?;
        while let Some(part) = parts.next() {
            if part.len() > NAME_BYTES_MAX {
                return Err(Errno::Nametoolong);
            }
            if part == ".." {
                // The root is its own parent, so no path leads out of it.
                folder = self.node(folder)?.parent;
            } else if parts.peek().is_none() {
                return Ok(ResolvedPath { folder, name: Some(part), must_be_folder });
            } else {
                folder = *self.names(folder)?.get(part).ok_or(Errno::Noent)?;
                self.names(folder)?;
            }
        }
        Ok(ResolvedPath { folder, name: None, must_be_folder: true })
    }

    pub(super) fn find(&self, place: &ResolvedPath<'_>) -> Result<Id, Errno> {
        let id = match place.name {
            None => place.folder,
            Some(name) => *self.names(place.folder)?.get(name).ok_or(Errno::Noent)?,
        };
        if place.must_be_folder {
            self.names(id)?;
        }
        Ok(id)
    }

    /// The folders from `folder` up to the root, both included.
    pub(super) fn above(&self, folder: Id) -> Result<Vec<Id>, Errno> {
        let mut above = vec![folder];
        let mut at = folder;
        while at != ROOT {
            at = self.node(at)?.parent;
            above.push(at);
        }
        Ok(above)
    }

    /// Depth of the tree below `id`, itself included; a file counts as one level.
    pub(super) fn height(&self, id: Id) -> Result<usize, Errno> {
        let mut highest = 0;
        let mut left = vec![(id, 1)];
        while let Some((id, height)) = left.pop() {
            highest = highest.max(height);
            if let NodeContent::Folder(names) = &self.node(id)?.content {
                left.extend(names.values().map(|id| (*id, height + 1)));
            }
        }
        Ok(highest)
    }
}

/// Longest name, in bytes, as on most systems. With the number of entries, it bounds the memory of names.
const NAME_BYTES_MAX: usize = 255;

/// Longest path, in bytes. A path costs a look-up for each of its names.
const PATH_BYTES_MAX: usize = 4096;
