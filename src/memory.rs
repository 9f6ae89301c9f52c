//! How the system's allocator is to treat the few very large buffers that a refresh lives on.

use std::alloc::{GlobalAlloc, Layout, System};

/// From this size on an allocation is mapped by itself, and given back to the system when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: libc::c_int = 2 << 20;

/// Has large buffers given back as soon as they are freed. Call it once, before other threads are started.
///
/// glibc raises the size from which it maps buffers each time one is freed, up to 32 MiB; after the first refresh, bodies
/// and documents would come from its heaps, where a small neighbour keeps a large hole from being given back. Measured with
/// 60 MB of upstream data, over refreshes: 286 MB at the peak and 228 MB at rest without this, 237 MB and 178 MB with it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator has no other interface than this C function")]
pub fn give_back_large_buffers() {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let arenas = libc::c_int::try_from(cores.max(2)).unwrap_or(2);
    // SAFETY: `mallopt` reads its two numbers and nothing else; it only changes how later allocations are made.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MAPPED_FROM);
        libc::mallopt(libc::M_ARENA_MAX, arenas);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn give_back_large_buffers() {}

/// The size of a huge page, and from which on a buffer is laid on such.
const HUGE: usize = 2 << 20;

/// The system's allocator, which lays large buffers on huge pages.
///
/// A refresh touches new memory by the hundred megabytes: bodies, records, the document. At 4 KiB a page, the faults cost
/// as much as the decoding. Kernels that have huge pages for those who ask (`madvise`, the usual setting) give them here;
/// where they are off, asking does nothing.
#[derive(Debug)]
pub struct Allocator;

/// How a buffer of that layout is laid. It depends on the layout alone, so that a buffer is freed as it was allocated.
///
/// Its end gets a huge page too where that wastes no more than an eighth.
#[inline]
fn laid(layout: Layout) -> Layout {
    let size = layout.size();
    if size < HUGE {
        return layout;
    }
    let whole = size.checked_next_multiple_of(HUGE).filter(|whole| whole - size <= size / 8).unwrap_or(size);
    Layout::from_size_align(whole, layout.align().max(HUGE)).unwrap_or(layout)
}

#[allow(unsafe_code, reason = "an allocator has no other interface")]
// SAFETY: every call is passed on to the system's allocator, with at least the same size and alignment;
// `realloc` is the provided one, which allocates, copies and frees through these.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let laid = laid(layout);
        advise(unsafe { System.alloc(laid) }, laid.size())
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let laid = laid(layout);
        advise(unsafe { System.alloc_zeroed(laid) }, laid.size())
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        unsafe { System.dealloc(start, laid(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let resized = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if laid(layout) == layout && laid(resized) == resized {
            return unsafe { System.realloc(start, layout, size) };
        }
        unsafe {
            let moved = self.alloc(resized);
            if !moved.is_null() {
                std::ptr::copy_nonoverlapping(start, moved, layout.size().min(size));
                self.dealloc(start, layout);
            }
            moved
        }
    }
}

#[inline]
fn advise(start: *mut u8, size: usize) -> *mut u8 {
    if size >= HUGE && !start.is_null() {
        ask_for_huge_pages(start, size);
    }
    start
}

/// Asks for as many huge pages as lie in the buffer as a whole.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "an allocator has no other interface")]
#[cold]
fn ask_for_huge_pages(start: *mut u8, size: usize) {
    // SAFETY: the range lies in the buffer, and this advice leaves what is in it as it is. A refusal changes nothing.
    unsafe { libc::madvise(start.cast(), size & !(HUGE - 1), libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn ask_for_huge_pages(_start: *mut u8, _size: usize) {}

#[cfg(test)]
#[allow(unsafe_code, reason = "the allocator's own calls are what is tested")]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_buffer_stays_when_its_size_changes() {
        let sizes = [100, HUGE - 1, HUGE, 3 * HUGE + 5, HUGE + 7, 4 * HUGE, HUGE - 3, 10];
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        // SAFETY: each buffer is used within its size, and freed with the layout that it was last given.
        unsafe {
            let mut start = Allocator.alloc_zeroed(layout(sizes[0]));
            start.write_bytes(7, 10);
            for pair in sizes.windows(2) {
                start = Allocator.realloc(start, layout(pair[0]), pair[1]);
                assert!(!start.is_null());
                start.add(pair[1] - 1).write(9);
                assert_eq!(std::slice::from_raw_parts(start, 9), [7; 9]);
            }
            Allocator.dealloc(start, layout(10));
        }
    }
}
