//! The in-memory file system of a command: the files and folders of one run, bounded in number and bytes.
//!
//! It is the only file system that a guest can reach. It reads no clock: calls that change something take the
//! time as an argument.

mod paths;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::errno::Errno;
use paths::ResolvedPath;

/// Files and folders that may exist at a time. A guest that makes files in a loop takes 3 MiB of the host, names of
/// maximal length included, and then gets `ENOSPC`.
const ENTRIES_MAX: usize = 4096;

/// Nesting depth of folders, so that whatever walks a whole tree recursively does not run out of stack.
const DEPTH_MAX: usize = 32;

/// Most capacity by which a file grows ahead of its contents, which doubles up to this, so that little is unused.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// Name of the file that holds the input.
pub(super) const INPUT: &str = "input";

/// Name of the folder whose files are returned in the answer.
pub(super) const OUTPUT: &str = "out";

/// Name of the folder for temporary files, where most programs look for it.
const SCRATCH: &str = "tmp";

/// The files and folders of one run.
#[derive(Debug)]
pub(super) struct MemFs {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    entries: usize,
    /// Bytes in files, without the input.
    bytes: usize,
    bytes_max: usize,
    made: u64,
}

/// A file or folder. Valid while the file or folder has a name or is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

/// The root folder.
pub(super) const ROOT: Id = Id(0);

#[derive(Debug)]
struct Node {
    number: u64,
    /// The folder that contains it; for the root, the root itself.
    parent: Id,
    content: NodeContent,
    opens: u32,
    named: bool,
    /// True if it can be neither removed nor renamed.
    fixed: bool,
    times: Times,
}

#[derive(Debug)]
enum NodeContent {
    /// The input, which cannot be changed.
    Given(Bytes),
    File(Vec<u8>),
    Folder(BTreeMap<String, Id>),
}

/// Times of the last access, write and change, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) accessed: u64,
    pub(super) modified: u64,
    pub(super) changed: u64,
}

impl Times {
    pub(super) fn all(now: u64) -> Self {
        Self { accessed: now, modified: now, changed: now }
    }
}

/// Attributes of a file or folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) number: u64,
    pub(super) is_folder: bool,
    pub(super) size: u64,
    pub(super) times: Times,
}

/// How a path is opened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct How {
    pub(super) create: bool,
    pub(super) exclusive: bool,
    pub(super) truncate: bool,
    pub(super) folder: bool,
    pub(super) write: bool,
}

impl MemFs {
    /// A file system with the input and the folders for output and temporary files. Files other than the input may take
    /// `bytes_max` together.
    pub(super) fn new(input: Bytes, bytes_max: usize, now: u64) -> Self {
        let mut fs = Self { nodes: Vec::new(), free: Vec::new(), entries: 0, bytes: 0, bytes_max, made: 0 };
        let names = [(INPUT, NodeContent::Given(input)), (OUTPUT, folder()), (SCRATCH, folder())];
        fs.keep(ROOT, folder(), now);
        for (name, content) in names {
            let fixed = name != SCRATCH;
            let id = fs.keep(ROOT, content, now);
            if let Some(node) = fs.nodes.get_mut(id.0).and_then(Option::as_mut) {
                node.fixed = fixed;
            }
            if let Ok(names) = fs.names_mut(ROOT) {
                names.insert(name.to_owned(), id);
            }
        }
        fs
    }

    /// Opens a path; creates a file if `how` says so. The caller must [`Self::close`] the result.
    pub(super) fn open(&mut self, from: Id, path: &[u8], how: How, now: u64) -> Result<Id, Errno> {
        let place = self.place(from, path)?;
        let id = match self.find(&place) {
            Ok(id) => {
                if how.create && how.exclusive {
                    return Err(Errno::Exist);
                }
                let node = self.node(id)?;
                match node.content {
                    NodeContent::Folder(_) if how.truncate || how.create || (how.write && !how.folder) => {
                        return Err(Errno::Isdir);
                    }
                    NodeContent::Given(_) if how.truncate || how.write => return Err(Errno::Rofs),
                    NodeContent::Given(_) | NodeContent::File(_) if how.folder => return Err(Errno::Notdir),
                    _ => {}
                }
                if how.truncate {
                    self.resize(id, 0, now)?;
                }
                id
            }
            Err(Errno::Noent) if how.create && !how.folder => {
                if place.must_be_folder {
                    return Err(Errno::Isdir);
                }
                self.make(&place, NodeContent::File(Vec::new()), now)?
            }
            Err(error) => return Err(error),
        };
        self.opened(id)?;
        Ok(id)
    }

    /// Counts one more opening of a file or folder.
    pub(super) fn opened(&mut self, id: Id) -> Result<(), Errno> {
        self.node_mut(id)?.opens += 1;
        Ok(())
    }

    /// Closes a file or folder once; deletes it if it has no name and is open no more.
    pub(super) fn close(&mut self, id: Id) {
        if let Ok(node) = self.node_mut(id) {
            node.opens = node.opens.saturating_sub(1);
            self.drop_unused(id);
        }
    }

    /// The file or folder that a path names.
    pub(super) fn look_up(&self, from: Id, path: &[u8]) -> Result<Id, Errno> {
        self.find(&self.place(from, path)?)
    }

    pub(super) fn stat(&self, id: Id) -> Result<Stat, Errno> {
        let node = self.node(id)?;
        let size = match &node.content {
            NodeContent::Given(bytes) => bytes.len(),
            NodeContent::File(bytes) => bytes.len(),
            NodeContent::Folder(_) => 0,
        };
        let is_folder = matches!(node.content, NodeContent::Folder(_));
        Ok(Stat { number: node.number, is_folder, size: size as u64, times: node.times })
    }

    /// The bytes of a file from `at` to its end; none if `at` is beyond it.
    pub(super) fn read(&self, id: Id, at: u64) -> Result<&[u8], Errno> {
        let bytes = match &self.node(id)?.content {
            NodeContent::Given(bytes) => &bytes[..],
            NodeContent::File(bytes) => bytes,
            NodeContent::Folder(_) => return Err(Errno::Isdir),
        };
        Ok(usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default())
    }

    /// Writes to a file at `at`, as much as there is room for; returns the number of bytes written.
    ///
    /// A gap between the end of the file and `at` is filled with zeros, which need room, too.
    pub(super) fn write(&mut self, id: Id, at: u64, bytes: &[u8], now: u64) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return self.file(id).map(|_| 0);
        }
        let room = self.bytes_max - self.bytes;
        let file = self.file(id)?;
        let start = usize::try_from(at).map_err(|_| Errno::Fbig)?;
        // New bytes, including a gap before `start`, need room; overwritten ones do not.
        let most = file.len().saturating_add(room);
        let end = start.saturating_add(bytes.len()).min(most);
        let Some(count) = end.checked_sub(start).filter(|count| *count > 0) else {
            return Err(Errno::Nospc);
        };
        self.grow(id, start)?;
        let file = self.file(id)?;
        let bytes = bytes.get(..count).unwrap_or_default();
        let (over, new) = bytes.split_at(count.min(file.len().saturating_sub(start)));
        if let Some(place) = file.get_mut(start..start + over.len()) {
            place.copy_from_slice(over);
        }
        lengthen(file, new.len());
        file.extend_from_slice(new);
        self.bytes += new.len();
        self.touch(id, now)?;
        Ok(count)
    }

    /// The length of a file: the position at which to append.
    pub(super) fn end(&self, id: Id) -> Result<u64, Errno> {
        self.stat(id).map(|stat| stat.size)
    }

    /// Sets the length of a file: truncates it, or fills it with zeros.
    pub(super) fn resize(&mut self, id: Id, size: u64, now: u64) -> Result<(), Errno> {
        let size = usize::try_from(size).map_err(|_| Errno::Fbig)?;
        let file = self.file(id)?;
        if let Some(less) = file.len().checked_sub(size) {
            file.truncate(size);
            file.shrink_to_fit();
            self.bytes -= less;
        } else {
            self.grow(id, size)?;
        }
        self.touch(id, now)
    }

    /// Makes a file at least `size` bytes long.
    pub(super) fn allocate(&mut self, id: Id, size: u64, now: u64) -> Result<(), Errno> {
        if self.file(id)?.len() as u64 >= size { Ok(()) } else { self.resize(id, size, now) }
    }

    pub(super) fn set_times(
        &mut self,
        id: Id,
        accessed: Option<u64>,
        modified: Option<u64>,
        now: u64,
    ) -> Result<(), Errno> {
        let node = self.node_mut(id)?;
        if let NodeContent::Given(_) = node.content {
            return Err(Errno::Rofs);
        }
        let Times { accessed: accessed_before, modified: modified_before, .. } = node.times;
        node.times = Times {
            accessed: accessed.unwrap_or(accessed_before),
            modified: modified.unwrap_or(modified_before),
            changed: now,
        };
        Ok(())
    }

    pub(super) fn make_folder(&mut self, from: Id, path: &[u8], now: u64) -> Result<(), Errno> {
        let place = self.place(from, path)?;
        match self.find(&place) {
            Ok(_) => Err(Errno::Exist),
            Err(Errno::Noent) => self.make(&place, folder(), now).map(drop),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove_folder(&mut self, from: Id, path: &[u8], now: u64) -> Result<(), Errno> {
        let place = self.place(from, path)?;
        let id = self.find(&place)?;
        let Some(name) = place.name else {
            return Err(Errno::Inval);
        };
        match &self.removable(id)?.content {
            NodeContent::Folder(names) if names.is_empty() => self.unname(place.folder, name, now),
            NodeContent::Folder(_) => Err(Errno::Notempty),
            _ => Err(Errno::Notdir),
        }
    }

    pub(super) fn unlink(&mut self, from: Id, path: &[u8], now: u64) -> Result<(), Errno> {
        let place = self.place(from, path)?;
        let id = self.find(&place)?;
        match (place.name, &self.node(id)?.content) {
            (Some(_), NodeContent::Folder(_)) | (None, _) => Err(Errno::Isdir),
            (Some(name), _) => {
                self.removable(id)?;
                self.unname(place.folder, name, now)
            }
        }
    }

    /// Moves a file or folder to another name, in the same folder or another. A file or empty folder that has that name
    /// is replaced.
    pub(super) fn rename(
        &mut self,
        (from, path): (Id, &[u8]),
        (to, new_path): (Id, &[u8]),
        now: u64,
    ) -> Result<(), Errno> {
        let (place, new_place) = (self.place(from, path)?, self.place(to, new_path)?);
        let id = self.find(&place)?;
        let (Some(name), Some(new_name)) = (place.name, new_place.name) else {
            return Err(Errno::Busy);
        };
        let is_folder = matches!(self.removable(id)?.content, NodeContent::Folder(_));
        let over = match self.find(&ResolvedPath { must_be_folder: false, ..new_place }) {
            Ok(over) => Some(over),
            Err(Errno::Noent) => None,
            Err(error) => return Err(error),
        };
        if over == Some(id) {
            return Ok(());
        }
        if let Some(over) = over {
            match (&self.removable(over)?.content, is_folder) {
                (NodeContent::Folder(names), true) if !names.is_empty() => return Err(Errno::Notempty),
                (NodeContent::Folder(_), false) => return Err(Errno::Isdir),
                (NodeContent::Given(_) | NodeContent::File(_), true) => return Err(Errno::Notdir),
                _ => {}
            }
        } else if new_place.must_be_folder && !is_folder {
            return Err(Errno::Notdir);
        }
        if !self.node(new_place.folder)?.named {
            return Err(Errno::Noent);
        }
        let above = self.above(new_place.folder)?;
        if is_folder && above.contains(&id) {
            return Err(Errno::Inval);
        }
        if above.len() + self.height(id)? > DEPTH_MAX {
            return Err(Errno::Nametoolong);
        }
        if over.is_some() {
            self.unname(new_place.folder, new_name, now)?;
        }
        self.names_mut(place.folder)?.remove(name);
        self.names_mut(new_place.folder)?.insert(new_name.to_owned(), id);
        self.node_mut(id)?.parent = new_place.folder;
        self.touch(place.folder, now)?;
        self.touch(new_place.folder, now)
    }

    /// The entries of a folder whose numbers are above `after`, oldest first: number, name, and whether it is a folder.
    ///
    /// Positions are numbers, so that a program that removes entries while it lists them misses none.
    pub(super) fn list(&self, id: Id, after: u64) -> Result<Vec<(u64, &str, bool)>, Errno> {
        let node = self.node(id)?;
        let NodeContent::Folder(names) = &node.content else {
            return Err(Errno::Notdir);
        };
        let mut listed = Vec::with_capacity(names.len());
        for (name, id) in names {
            let node = self.node(*id)?;
            if node.number > after {
                listed.push((node.number, name.as_str(), matches!(node.content, NodeContent::Folder(_))));
            }
        }
        listed.sort_unstable_by_key(|(number, ..)| *number);
        Ok(listed)
    }

    /// The files in the output folder and its subfolders, by their paths in it.
    pub(super) fn into_output(mut self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let out = self.look_up(ROOT, OUTPUT.as_bytes()).unwrap_or(ROOT);
        let mut left = vec![(String::new(), out)];
        while let Some((path, id)) = left.pop() {
            match self.nodes.get_mut(id.0).and_then(Option::take).map(|node| node.content) {
                Some(NodeContent::Folder(names)) => left.extend(names.into_iter().map(|(name, id)| {
                    let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                    (path, id)
                })),
                Some(NodeContent::File(bytes)) => {
                    found.insert(path, bytes);
                }
                Some(NodeContent::Given(_)) | None => {}
            }
        }
        found
    }

    fn make(&mut self, place: &ResolvedPath<'_>, content: NodeContent, now: u64) -> Result<Id, Errno> {
        let Some(name) = place.name else {
            return Err(Errno::Exist);
        };
        if !self.node(place.folder)?.named {
            return Err(Errno::Noent);
        }
        if self.above(place.folder)?.len() + 1 > DEPTH_MAX {
            return Err(Errno::Nametoolong);
        }
        if self.entries >= ENTRIES_MAX {
            return Err(Errno::Nospc);
        }
        let id = self.keep(place.folder, content, now);
        self.names_mut(place.folder)?.insert(name.to_owned(), id);
        self.touch(place.folder, now)?;
        Ok(id)
    }

    fn keep(&mut self, parent: Id, content: NodeContent, now: u64) -> Id {
        self.made += 1;
        self.entries += 1;
        let node = Node {
            // The first numbers are used for `.` and `..` in a list.
            number: self.made + FIRST_NUMBER,
            parent,
            content,
            opens: 0,
            named: true,
            fixed: parent == ROOT && self.nodes.is_empty(),
            times: Times::all(now),
        };
        match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.nodes.get_mut(place) {
                    *slot = Some(node);
                }
                Id(place)
            }
            None => {
                self.nodes.push(Some(node));
                Id(self.nodes.len() - 1)
            }
        }
    }

    fn removable(&self, id: Id) -> Result<&Node, Errno> {
        let node = self.node(id)?;
        match node.content {
            NodeContent::Given(_) => Err(Errno::Rofs),
            _ if node.fixed => Err(Errno::Busy),
            _ => Ok(node),
        }
    }

    fn unname(&mut self, folder: Id, name: &str, now: u64) -> Result<(), Errno> {
        let id = self.names_mut(folder)?.remove(name).ok_or(Errno::Noent)?;
        let node = self.node_mut(id)?;
        node.named = false;
        // The folder it was in may be deleted before it.
        node.parent = ROOT;
        self.drop_unused(id);
        self.touch(folder, now)
    }

    fn drop_unused(&mut self, id: Id) {
        let unused = self.node(id).is_ok_and(|node| !node.named && node.opens == 0);
        if unused && let Some(node) = self.nodes.get_mut(id.0).and_then(Option::take) {
            if let NodeContent::File(bytes) = node.content {
                self.bytes -= bytes.len();
            }
            self.entries -= 1;
            self.free.push(id.0);
        }
    }

    /// Extends a file with zeros to `size` bytes, if there is room; does nothing if it is as long.
    fn grow(&mut self, id: Id, size: usize) -> Result<(), Errno> {
        let room = self.bytes_max - self.bytes;
        let file = self.file(id)?;
        let Some(more) = size.checked_sub(file.len()) else {
            return Ok(());
        };
        if more > room {
            return Err(Errno::Nospc);
        }
        lengthen(file, more);
        file.resize(size, 0);
        self.bytes += more;
        Ok(())
    }

    fn touch(&mut self, id: Id, now: u64) -> Result<(), Errno> {
        let times = &mut self.node_mut(id)?.times;
        (times.modified, times.changed) = (now, now);
        Ok(())
    }

    fn file(&mut self, id: Id) -> Result<&mut Vec<u8>, Errno> {
        match &mut self.node_mut(id)?.content {
            NodeContent::File(bytes) => Ok(bytes),
            NodeContent::Given(_) => Err(Errno::Rofs),
            NodeContent::Folder(_) => Err(Errno::Isdir),
        }
    }

    fn names(&self, id: Id) -> Result<&BTreeMap<String, Id>, Errno> {
        match &self.node(id)?.content {
            NodeContent::Folder(names) => Ok(names),
            _ => Err(Errno::Notdir),
        }
    }

    fn names_mut(&mut self, id: Id) -> Result<&mut BTreeMap<String, Id>, Errno> {
        match &mut self.node_mut(id)?.content {
            NodeContent::Folder(names) => Ok(names),
            _ => Err(Errno::Notdir),
        }
    }

    fn node(&self, id: Id) -> Result<&Node, Errno> {
        self.nodes.get(id.0).and_then(Option::as_ref).ok_or(Errno::Badf)
    }

    fn node_mut(&mut self, id: Id) -> Result<&mut Node, Errno> {
        self.nodes.get_mut(id.0).and_then(Option::as_mut).ok_or(Errno::Badf)
    }
}

/// Numbers up to this one belong to no file: a list uses them for `.` and `..`.
pub(super) const FIRST_NUMBER: u64 = 2;

fn folder() -> NodeContent {
    NodeContent::Folder(BTreeMap::new())
}

/// Reserves capacity for `more` bytes, which the caller has checked against the limit.
pub(super) fn lengthen(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len().min(GROWTH_BYTES_MAX)));
    }
}

#[cfg(test)]
mod tests;
