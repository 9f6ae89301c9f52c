//! Memory for the few very large buffers that a refresh lives on: bodies, records, lists,
//! documents.
//!
//! They are mapped by themselves, so that they are given back as soon as they are freed and no
//! small neighbour holds them, and laid on huge pages where the system has some for those who ask
//! (`madvise`, the usual setting). A refresh touches new memory by the hundred megabytes, and at 4
//! KiB a page the faults cost as much as decoding.

use std::alloc::{GlobalAlloc, Layout, System};

/// Has glibc give back what is free at the end of its heaps, and keep to few of them. Call it once,
/// before other threads are started.
///
/// By default it has eight heaps a core and more patience with each the larger the buffers that
/// were freed: after a thousand refreshes of 6 MB, 70 MB at rest; with this, half of it. Fewer
/// heaps would save a megabyte and cost latency: threads that answer would share them with those of
/// the background, which may be preempted for milliseconds while they hold one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator's settings have no other interface")]
pub fn keep_heaps_small() {
    const PATIENCE: libc::c_int = 256 << 10;
    const HEAPS_A_CORE: usize = 2;
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let heaps = libc::c_int::try_from(cores * HEAPS_A_CORE).unwrap_or(libc::c_int::MAX);
    // SAFETY: `mallopt` reads its two numbers and nothing else; it only changes how later
    // allocations are made.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, PATIENCE);
        libc::mallopt(libc::M_TRIM_THRESHOLD, PATIENCE);
        libc::mallopt(libc::M_ARENA_MAX, heaps);
    }
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_heaps_small() {}

/// The system's allocator, beside which large buffers are mapped by themselves.
#[derive(Debug)]
pub struct Allocator;

#[allow(unsafe_code, reason = "an allocator has no other interface")]
// SAFETY: a layout is large or not whatever happens, so that a buffer is freed where it was
// allocated.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if large::is(layout) { large::map(layout) } else { unsafe { System.alloc(layout) } }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if large::is(layout) { large::map(layout) } else { unsafe { System.alloc_zeroed(layout) } }
    }

    #[inline]
    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        if large::is(layout) {
            unsafe { large::unmap(start, layout) }
        } else {
            unsafe { System.dealloc(start, layout) }
        }
    }

    #[inline]
    unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: callers of `realloc` promise that the size is valid for the alignment.
        let resized = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (large::is(layout), large::is(resized)) {
            (false, false) => unsafe { System.realloc(start, layout, size) },
            (true, true) if size <= layout.size() => unsafe {
                large::shrink(start, layout, resized)
            },
            _ => unsafe {
                let moved = self.alloc(resized);
                if !moved.is_null() {
                    std::ptr::copy_nonoverlapping(start, moved, layout.size().min(size));
                    self.dealloc(start, layout);
                }
                moved
            },
        }
    }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "mappings are made and ended by pointers")]
mod large {
    use std::alloc::Layout;
    use std::ffi::c_void;
    use std::ptr;

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    /// The size of a huge page, and from which on a buffer is mapped by itself.
    const HUGE: usize = 2 << 20;

    /// The largest page that a mapping begins and ends with, on all that Linux runs on.
    const PAGE: usize = 64 << 10;

    #[inline]
    pub(super) fn is(layout: Layout) -> bool {
        layout.size() >= HUGE && layout.align() <= HUGE
    }

    /// How much is mapped for a buffer. Its end gets a huge page too where that wastes no more than
    /// an eighth.
    fn extent(layout: Layout) -> usize {
        let (size, whole) = (layout.size(), layout.size().next_multiple_of(HUGE));
        if whole - size <= size / 8 { whole } else { size.next_multiple_of(PAGE) }
    }

    /// Zeroed memory that begins with a huge page; null when there is none.
    #[cold]
    pub(super) fn map(layout: Layout) -> *mut u8 {
        let extent = extent(layout);
        // SAFETY: a new mapping touches no other; what is ended and advised below are parts of it.
        unsafe {
            let flags = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
            // One huge page more, so that the buffer can begin with one.
            let Ok(mapped) = mmap_anonymous(ptr::null_mut(), extent + HUGE, flags.0, flags.1)
            else {
                return ptr::null_mut();
            };
            let before = mapped.cast::<u8>().align_offset(HUGE);
            let start = mapped.byte_add(before);
            end(mapped, before);
            end(start.byte_add(extent), HUGE - before);
            // A system without huge pages says so here, and nothing is lost.
            let _ = madvise(start, extent & !(HUGE - 1), Advice::LinuxHugepage);
            start.cast()
        }
    }

    #[cold]
    pub(super) unsafe fn unmap(start: *mut u8, layout: Layout) {
        unsafe { end(start.cast(), extent(layout)) }
    }

    /// Gives the end of a buffer back.
    #[cold]
    pub(super) unsafe fn shrink(start: *mut u8, from: Layout, to: Layout) -> *mut u8 {
        let (before, after) = (extent(from), extent(to));
        if let Some(less) = before.checked_sub(after) {
            unsafe { end(start.byte_add(after).cast(), less) }
            return start;
        }
        unreachable!("what is mapped for a smaller buffer is not larger")
    }

    unsafe fn end(start: *mut c_void, length: usize) {
        if length > 0 {
            // An error would leave the memory mapped, which is all that could be done about it.
            let _ = unsafe { munmap(start, length) };
        }
    }
}

/// Elsewhere the system's allocator does as it does.
#[cfg(not(target_os = "linux"))]
#[allow(unsafe_code, reason = "the same interface")]
mod large {
    use std::alloc::Layout;

    pub(super) fn is(_: Layout) -> bool {
        false
    }

    pub(super) fn map(_: Layout) -> *mut u8 {
        unreachable!("nothing is large")
    }

    pub(super) unsafe fn unmap(_: *mut u8, _: Layout) {}

    pub(super) unsafe fn shrink(start: *mut u8, _: Layout, _: Layout) -> *mut u8 {
        start
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "the allocator's own calls are what is tested")]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 8).unwrap()
    }

    #[test]
    fn what_is_in_a_buffer_stays_when_its_size_changes() {
        let sizes = [
            100,
            2 * MIB - 1,
            2 * MIB,
            6 * MIB + 5,
            16 * MIB - 7,
            16 * MIB,
            15 * MIB,
            3 * MIB,
            2 * MIB - 3,
            10,
        ];
        // SAFETY: each buffer is used within its size, and freed with the layout that it was last
        // given.
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

    #[test]
    fn memory_that_must_be_zero_is() {
        for size in [100, 2 * MIB, 5 * MIB + 1] {
            // SAFETY: as above.
            unsafe {
                let start = Allocator.alloc_zeroed(layout(size));
                assert!(std::slice::from_raw_parts(start, size).iter().all(|byte| *byte == 0));
                Allocator.dealloc(start, layout(size));
            }
        }
    }
}
