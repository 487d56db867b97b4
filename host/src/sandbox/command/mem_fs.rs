//! The file system of a command: the files and folders of one run of a command, in memory and bounded.
//!
//! A guest never reaches the host's file system: what it takes for one is this. It reads no clock; calls that
//! change something are told the time.

mod paths;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::errno::Errno;
use paths::ResolvedPath;

/// Files and folders at once. A guest that makes files in a loop takes 3 MiB of the host, names of the greatest length
/// included, and then gets `ENOSPC`.
const ENTRIES_MAX: usize = 4096;

/// Folders inside each other. What goes through a whole tree calls itself for each, and must not run out of stack.
const DEPTH_MAX: usize = 32;

/// A file grows by as much as it has, and by no more than this at once, so that it takes little more than it holds.
const GROWTH_BYTES_MAX: usize = 1 << 20;

/// The name of the file that holds the input.
pub(super) const INPUT: &str = "input";

/// The name of the folder whose files come back.
pub(super) const OUTPUT: &str = "out";

/// The name of a folder for whatever else a program writes: most look for it by this name.
const SCRATCH: &str = "tmp";

/// The files and folders of one run.
#[derive(Debug)]
pub(super) struct MemFs {
    nodes: Vec<Option<Node>>,
    free: Vec<usize>,
    entries: usize,
    /// Bytes in files, those that were given left out.
    bytes: usize,
    bytes_max: usize,
    made: u64,
}

/// A file or folder; good while it has a name, or is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

/// The root.
pub(super) const ROOT: Id = Id(0);

#[derive(Debug)]
struct Node {
    number: u64,
    /// The folder that it is in; the root is in itself.
    parent: Id,
    content: NodeContent,
    opens: u32,
    named: bool,
    /// It can be neither removed nor renamed.
    fixed: bool,
    times: Times,
}

#[derive(Debug)]
enum NodeContent {
    /// What was given, and cannot be changed.
    Given(Bytes),
    File(Vec<u8>),
    Folder(BTreeMap<String, Id>),
}

/// When it was read, written and changed, in nanoseconds since 1970.
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

/// What is known about a file or folder.
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
    /// A file system with the input, a folder for output and one for scratch, whose files may take `bytes_max` together.
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

    /// Opens a path, which makes a file where `how` says so. The caller closes what it gets.
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

    /// Notes that something is open once more.
    pub(super) fn opened(&mut self, id: Id) -> Result<(), Errno> {
        self.node_mut(id)?.opens += 1;
        Ok(())
    }

    /// Closes what was opened; what has no name any more is gone then.
    pub(super) fn close(&mut self, id: Id) {
        if let Ok(node) = self.node_mut(id) {
            node.opens = node.opens.saturating_sub(1);
            self.drop_unused(id);
        }
    }

    /// What a path leads to.
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

    /// A file's bytes from `at` to its end.
    pub(super) fn read(&self, id: Id, at: u64) -> Result<&[u8], Errno> {
        let bytes = match &self.node(id)?.content {
            NodeContent::Given(bytes) => &bytes[..],
            NodeContent::File(bytes) => bytes,
            NodeContent::Folder(_) => return Err(Errno::Isdir),
        };
        Ok(usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default())
    }

    /// Writes into a file at `at`, as much as there is room for; how much that was.
    pub(super) fn write(&mut self, id: Id, at: u64, bytes: &[u8], now: u64) -> Result<usize, Errno> {
        if bytes.is_empty() {
            return self.file(id).map(|_| 0);
        }
        let room = self.bytes_max - self.bytes;
        let file = self.file(id)?;
        let start = usize::try_from(at).map_err(|_| Errno::Fbig)?;
        // What is over what the file has is new, and so is what lies between.
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

    /// The length of a file, for writing at its end.
    pub(super) fn end(&self, id: Id) -> Result<u64, Errno> {
        self.stat(id).map(|stat| stat.size)
    }

    /// Makes a file so long: cuts it, or fills it up with zeros.
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

    /// Makes a file at least so long.
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

    /// Gives something another name, in whatever folder; what had that name before is gone.
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

    /// What a folder has, oldest first, from what comes after number `after`: number, name, whether it is a folder.
    ///
    /// By number, because a program that removes what it is shown must be shown all the same what comes then.
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

    /// The files under the folder for output, by their paths in it.
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
            // The first numbers are those of `.` and `..` in a list.
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
        // Its folder may go, too.
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

    /// Makes a file longer, if there is room.
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

/// Numbers up to here are no file's: a list gives them to `.` and `..`.
pub(super) const FIRST_NUMBER: u64 = 2;

fn folder() -> NodeContent {
    NodeContent::Folder(BTreeMap::new())
}

/// Makes room for `more` bytes, of which the limit has been checked.
pub(super) fn lengthen(bytes: &mut Vec<u8>, more: usize) {
    if bytes.capacity() - bytes.len() < more {
        bytes.reserve_exact(more.max(bytes.len().min(GROWTH_BYTES_MAX)));
    }
}

#[cfg(test)]
mod tests;
