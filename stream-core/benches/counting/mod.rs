//! The allocator of the product, with what is allocated: for the bench and the test of memory.

#![expect(unsafe_code, reason = "an allocator is an unsafe trait; this one counts and hands everything on")]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counts what is asked of it.
pub(crate) struct Counting(mimalloc::MiMalloc);

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting(mimalloc::MiMalloc);

/// The bytes that are allocated now.
pub(crate) fn allocated() -> usize {
    ALLOCATED.load(Relaxed)
}

/// The most bytes that were allocated since the last call.
pub(crate) fn take_peak() -> usize {
    PEAK.swap(allocated(), Relaxed)
}

fn count(more: usize, less: usize) {
    let most = ALLOCATED.fetch_add(more, Relaxed) + more;
    PEAK.fetch_max(most, Relaxed);
    ALLOCATED.fetch_sub(less, Relaxed);
}

// SAFETY: every call is handed on as it is to an allocator that keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        unsafe { self.0.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both exist while one is copied into the other.
        count(size, layout.size());
        unsafe { self.0.realloc(pointer, layout, size) }
    }
}
