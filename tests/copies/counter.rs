//! An allocator that counts large allocations.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system's allocator, which counts allocations of at least as many bytes as [`Self::count_from`] says.
pub(crate) struct CountingAllocator {
    least: AtomicUsize,
    count: AtomicUsize,
}

impl CountingAllocator {
    pub(crate) const fn new() -> Self {
        Self { least: AtomicUsize::new(usize::MAX), count: AtomicUsize::new(0) }
    }

    /// Counts from here on, beginning with 0, allocations of at least `least` bytes.
    pub(crate) fn count_from(&self, least: usize) {
        self.count.store(0, Ordering::SeqCst);
        self.least.store(least, Ordering::SeqCst);
    }

    /// The number of such allocations so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn note(&self, bytes: usize) {
        if bytes >= self.least.load(Ordering::Relaxed) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// SAFETY: it is the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.note(layout.size());
        // SAFETY: as the caller of this.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.note(layout.size());
        // SAFETY: as the caller of this.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        self.note(bytes);
        // SAFETY: as the caller of this.
        unsafe { System.realloc(place, layout, bytes) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: as the caller of this.
        unsafe { System.dealloc(place, layout) }
    }
}
