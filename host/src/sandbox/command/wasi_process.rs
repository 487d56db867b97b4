//! One run of a command: its arguments, its descriptors, and the streams and files behind them.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::errno::Errno;
use super::mem_fs::{How, Id, MemFs, ROOT, Stat, Times, lengthen};
use crate::sandbox::failure::Stop;
use crate::sandbox::stdio::Stdio;

/// The state of one run of a command.
pub(crate) struct WasiProcess {
    pub(super) arguments: Vec<String>,
    input: Bytes,
    answer: Vec<u8>,
    answer_bytes_max: usize,
    log: Stdio,
    /// The files; `None` if the module was not granted any.
    fs: Option<MemFs>,
    open: Vec<Option<Open>>,
}

/// Descriptors that may be open at a time. A guest that opens files in a loop takes 50 KiB of the host, and then gets
/// `EMFILE`.
const OPEN_MAX: usize = 1024;

/// What a descriptor refers to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Open {
    /// Standard input, at this position.
    Input(u64),
    /// Standard output.
    Answer,
    /// Standard error.
    Log,
    /// A file.
    File(OpenFile),
    /// A folder.
    Folder { id: Id, preopened: bool },
}

/// An open file.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenFile {
    pub(super) id: Id,
    pub(super) at: u64,
    pub(super) append: bool,
    pub(super) read: bool,
    pub(super) write: bool,
}

/// Why a call failed: an errno for the guest, or a reason to end the guest.
#[derive(Debug)]
pub(super) enum Refused {
    Errno(Errno),
    Stop(Stop),
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl From<Stop> for Refused {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

/// What a seek is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whence {
    Start,
    Here,
    End,
}

impl WasiProcess {
    /// A run with the three standard streams and, if `files_bytes_max` is given, files that may take as many bytes.
    pub(super) fn new(
        arguments: Vec<String>,
        input: Bytes,
        log: Stdio,
        answer_bytes_max: usize,
        files_bytes_max: Option<usize>,
    ) -> Self {
        let fs = files_bytes_max.map(|max| MemFs::new(input.clone(), max, now()));
        let mut open = vec![Some(Open::Input(0)), Some(Open::Answer), Some(Open::Log)];
        open.extend(fs.is_some().then_some(Some(Open::Folder { id: ROOT, preopened: true })));
        Self { arguments, input, answer: Vec::new(), answer_bytes_max, log, fs, open }
    }

    /// What was written to standard output, and the files, if the run had any.
    pub(super) fn into_answer(self) -> (Vec<u8>, Option<MemFs>) {
        (self.answer, self.fs)
    }

    pub(super) fn fs(&mut self) -> Result<&mut MemFs, Errno> {
        // Never missing for a folder's descriptor: folders are open only if there is a file system.
        self.fs.as_mut().ok_or(Errno::Badf)
    }

    pub(super) fn descriptor(&self, fd: i32) -> Result<Open, Errno> {
        self.slot(fd).and_then(|slot| *slot).ok_or(Errno::Badf)
    }

    fn slot(&self, fd: i32) -> Option<&Option<Open>> {
        self.open.get(usize::try_from(fd).ok()?)
    }

    fn slot_mut(&mut self, fd: i32) -> Result<&mut Option<Open>, Errno> {
        let slot = usize::try_from(fd).ok().and_then(|fd| self.open.get_mut(fd));
        slot.filter(|slot| slot.is_some()).ok_or(Errno::Badf)
    }

    /// The folder that a descriptor refers to.
    pub(super) fn folder(&self, fd: i32) -> Result<Id, Errno> {
        match self.descriptor(fd)? {
            Open::Folder { id, .. } => Ok(id),
            _ => Err(Errno::Notdir),
        }
    }

    /// The file that a descriptor refers to.
    pub(super) fn file(&self, fd: i32) -> Result<OpenFile, Errno> {
        match self.descriptor(fd)? {
            Open::File(file) => Ok(file),
            Open::Folder { .. } => Err(Errno::Isdir),
            Open::Input(_) => Err(Errno::Rofs),
            Open::Answer | Open::Log => Err(Errno::Inval),
        }
    }

    /// The file that a descriptor refers to, if it was opened for writing.
    pub(super) fn writable(&self, fd: i32) -> Result<OpenFile, Errno> {
        self.file(fd).and_then(|file| if file.write { Ok(file) } else { Err(Errno::Badf) })
    }

    /// Opens a path relative to the folder `fd`; returns the lowest free descriptor.
    pub(super) fn open(&mut self, fd: i32, path: &[u8], how: How, file: OpenFile) -> Result<usize, Errno> {
        let folder = self.folder(fd)?;
        let free = self.open.iter().position(Option::is_none).unwrap_or(self.open.len());
        if free >= OPEN_MAX {
            return Err(Errno::Mfile);
        }
        let fs = self.fs()?;
        let id = fs.open(folder, path, how, now())?;
        let opened = match fs.stat(id)?.is_folder {
            true => Open::Folder { id, preopened: false },
            false => Open::File(OpenFile { id, ..file }),
        };
        match self.open.get_mut(free) {
            Some(slot) => *slot = Some(opened),
            None => self.open.push(Some(opened)),
        }
        Ok(free)
    }

    pub(super) fn close(&mut self, fd: i32) -> Result<(), Errno> {
        if let Some(Open::File(OpenFile { id, .. }) | Open::Folder { id, .. }) = self.slot_mut(fd)?.take()
            && id != ROOT
        {
            self.fs()?.close(id);
        }
        Ok(())
    }

    /// Moves descriptor `from` to `to`, and closes what `to` referred to.
    pub(super) fn renumber(&mut self, from: i32, to: i32) -> Result<(), Errno> {
        let moved = self.descriptor(from)?;
        self.descriptor(to)?;
        if from == to {
            return Ok(());
        }
        self.close(to)?;
        *self.slot_mut(from)? = None;
        if let Some(slot) = usize::try_from(to).ok().and_then(|to| self.open.get_mut(to)) {
            *slot = Some(moved);
        }
        Ok(())
    }

    /// The bytes that can be read at `at` or, if it is `None`, at the descriptor's position.
    pub(super) fn readable(&self, fd: i32, at: Option<u64>) -> Result<&[u8], Errno> {
        match self.descriptor(fd)? {
            Open::Input(here) => {
                let at = usize::try_from(at.unwrap_or(here)).ok();
                Ok(at.and_then(|at| self.input.get(at..)).unwrap_or_default())
            }
            Open::File(file) if file.read => {
                let fs = self.fs.as_ref().ok_or(Errno::Badf)?;
                fs.read(file.id, at.unwrap_or(file.at))
            }
            Open::Folder { .. } => Err(Errno::Isdir),
            Open::File(_) | Open::Answer | Open::Log => Err(Errno::Badf),
        }
    }

    /// Advances a descriptor's position.
    pub(super) fn advance(&mut self, fd: i32, by: usize) {
        if let Ok(Some(Open::Input(at) | Open::File(OpenFile { at, .. }))) = self.slot_mut(fd) {
            *at = at.saturating_add(by as u64);
        }
    }

    pub(super) fn seek(&mut self, fd: i32, offset: i64, whence: Whence) -> Result<u64, Errno> {
        let (here, end) = match self.descriptor(fd)? {
            Open::Input(at) => (at, self.input.len() as u64),
            Open::File(file) => (file.at, self.fs()?.end(file.id)?),
            Open::Folder { .. } => return Err(Errno::Isdir),
            Open::Answer | Open::Log => return Err(Errno::Spipe),
        };
        let from = match whence {
            Whence::Start => 0,
            Whence::Here => here,
            Whence::End => end,
        };
        let place = from.checked_add_signed(offset).filter(|place| i64::try_from(*place).is_ok());
        let place = place.ok_or(Errno::Inval)?;
        if let Some(Open::Input(at) | Open::File(OpenFile { at, .. })) = self.slot_mut(fd)? {
            *at = place;
        }
        Ok(place)
    }

    /// Writes at `at` or, if it is `None`, at the descriptor's position, which advances. Returns the number of bytes
    /// written.
    ///
    /// # Errors
    ///
    /// [`Stop::MessageTooLarge`] if standard output exceeds the limit of an answer, which ends the guest; an errno for
    /// anything else.
    pub(super) fn write(&mut self, fd: i32, at: Option<u64>, bytes: &[u8]) -> Result<usize, Refused> {
        match self.descriptor(fd)? {
            Open::Answer | Open::Log if at.is_some() => return Err(Errno::Spipe.into()),
            Open::Answer => {
                let (length, max) = (self.answer.len() + bytes.len(), self.answer_bytes_max);
                if length > max {
                    return Err(Stop::MessageTooLarge { length, max }.into());
                }
                lengthen(&mut self.answer, bytes.len());
                self.answer.extend_from_slice(bytes);
                return Ok(bytes.len());
            }
            Open::Log => {
                self.log.take(bytes);
                return Ok(bytes.len());
            }
            _ => {}
        }
        let file = self.writable(fd)?;
        let fs = self.fs()?;
        let place = match at {
            Some(at) => at,
            None if file.append => fs.end(file.id)?,
            None => file.at,
        };
        let written = fs.write(file.id, place, bytes, now())?;
        if at.is_none()
            && let Some(Open::File(file)) = self.slot_mut(fd)?
        {
            file.at = place + written as u64;
        }
        Ok(written)
    }

    pub(super) fn set_append(&mut self, fd: i32, append: bool) -> Result<(), Errno> {
        if let Some(Open::File(file)) = self.slot_mut(fd)? {
            file.append = append;
        }
        Ok(())
    }

    pub(super) fn stat(&mut self, fd: i32) -> Result<Stat, Errno> {
        match self.descriptor(fd)? {
            Open::File(OpenFile { id, .. }) | Open::Folder { id, .. } => self.fs()?.stat(id),
            Open::Input(_) => Ok(Stat { size: self.input.len() as u64, ..STREAM }),
            Open::Answer | Open::Log => Ok(STREAM),
        }
    }
}

/// Attributes of a standard stream.
const STREAM: Stat =
    Stat { number: 0, is_folder: false, size: 0, times: Times { accessed: 0, modified: 0, changed: 0 } };

/// The present time, in nanoseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
