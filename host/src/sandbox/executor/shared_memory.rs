//! The memory that a host and one of its executors share: a header, and a ring of words in each direction.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Words of one ring: 1 MiB. A longer message passes through it in parts.
pub(super) const RING_WORDS: usize = 128 << 10;

/// Bytes of the header.
const HEADER_BYTES: usize = 4096;

/// Bytes of the whole.
const BYTES: usize = HEADER_BYTES + 2 * 8 * RING_WORDS;

/// The direction of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToExecutor,
    ToHost,
}

/// What both ends share. The executor may write anything anywhere in it, at any time.
#[repr(C)]
pub(super) struct Header {
    to_executor: RingState,
    to_host: RingState,
    /// The message that a guest with an executor to itself has begun with, and [`WITHDRAWN`].
    pub(super) begun: AtomicU64,
    /// Memory of all guests, in bytes; told by the executor.
    pub(super) memory_bytes: AtomicU64,
    /// 1 if the executor's threads hang; told by the executor.
    pub(super) wedged: AtomicU32,
    /// Rises while the executor is not stopped; told by the executor.
    pub(super) beats: AtomicU32,
}

/// Set in [`Header::begun`] by the host: the guest begins with no other message until it hears which were withdrawn.
pub(super) const WITHDRAWN: u64 = 1 << 63;

/// Where the two ends of a ring are. Positions count words since the beginning, and never fall.
#[repr(C, align(128))]
pub(super) struct RingState {
    /// Words written; the writer's to change.
    pub(super) written: AtomicU64,
    /// 1 while the reader sleeps, or is about to; a futex in the executor.
    pub(super) reader_sleeps: AtomicU32,
    /// 1 while the writer waits for room; a futex in the executor.
    pub(super) writer_waits: AtomicU32,
    /// On a line of its own, because the other end changes it.
    pub(super) read: ReadPosition,
}

/// Words read; the reader's to change.
#[repr(C, align(64))]
pub(super) struct ReadPosition(pub(super) AtomicU64);

/// A mapping of the shared memory.
#[derive(Debug)]
pub(super) struct SharedMemory {
    base: NonNull<u8>,
}

// SAFETY: all access is through atomics.
unsafe impl Send for SharedMemory {}
// SAFETY: as above.
unsafe impl Sync for SharedMemory {}

impl SharedMemory {
    /// Makes new shared memory; returns the mapping, and the file for the other end, whose length nobody can change.
    ///
    /// # Errors
    ///
    /// If the system provides no memory.
    pub(super) fn new() -> std::io::Result<(Self, OwnedFd)> {
        let file = memfd_create("grid-executor", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&file, BYTES as u64)?;
        fcntl_add_seals(&file, LENGTH_SEALS | SealFlags::SEAL)?;
        Ok((Self::map(file.as_fd())?, file))
    }

    /// Maps the file that the host has made.
    ///
    /// # Errors
    ///
    /// If it is not such a file, or the system refuses.
    pub(super) fn open(file: BorrowedFd<'_>) -> std::io::Result<Self> {
        let length = fstat(file)?.st_size;
        if usize::try_from(length) != Ok(BYTES) || !fcntl_get_seals(file)?.contains(LENGTH_SEALS) {
            return Err(std::io::Error::other("the shared memory has another length, or no seals"));
        }
        Self::map(file)
    }

    fn map(file: BorrowedFd<'_>) -> std::io::Result<Self> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address; the file has `BYTES` bytes, and is sealed against becoming shorter.
        let base = unsafe { mmap(std::ptr::null_mut(), BYTES, protection, MapFlags::SHARED, file, 0) }?;
        NonNull::new(base.cast())
            .map(|base| Self { base })
            .ok_or_else(|| std::io::ErrorKind::OutOfMemory.into())
    }

    pub(super) fn header(&self) -> &Header {
        // SAFETY: the mapping is page-aligned, longer than a header, consists of atomics for which every value is
        // valid, and lives as long as `self`.
        unsafe { self.base.cast().as_ref() }
    }

    pub(super) fn ring(&self, direction: Direction) -> (&RingState, &[AtomicU64]) {
        let header = self.header();
        let (state, index) = match direction {
            Direction::ToExecutor => (&header.to_executor, 0),
            Direction::ToHost => (&header.to_host, 1),
        };
        // SAFETY: the words lie within the mapping, behind the header, and are aligned; see `header`.
        let words = unsafe {
            let first = self.base.add(HEADER_BYTES + index * 8 * RING_WORDS).cast::<AtomicU64>();
            std::slice::from_raw_parts(first.as_ptr(), RING_WORDS)
        };
        (state, words)
    }
}

const _: () = assert!(size_of::<Header>() <= HEADER_BYTES);

/// Nobody can change the length, so that no access to the mapping can fault.
const LENGTH_SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrows from it any more. If it fails, the mapping stays.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), BYTES) };
    }
}
