//! Keeps the process small between refreshes, and page faults cheap during them.
//!
//! A refresh uses a few very large buffers: bodies, records, documents. Each gets a memory mapping
//! of its own, which returns to the system as soon as the buffer is freed, and which asks for huge
//! pages: with pages of 4 KiB, page faults would cost as much as decoding. This is the only
//! `unsafe` code of the project.

/// Makes glibc use few heaps, and return the free memory at their ends to the system. Must be
/// called before other threads are started.
///
/// By default glibc has eight heaps for each core, and keeps more memory the larger the freed
/// buffers were: after a thousand refreshes of 6 MB the process had 70 MB at rest, twice as much as
/// with these settings. With fewer than two heaps for each core, threads that answer requests would
/// wait for preempted background threads that hold a heap's lock.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "mallopt has no safe interface")]
pub fn keep_heaps_small() {
    const MMAP_THRESHOLD_BYTES: libc::c_int = 256 << 10;
    // More than hyper allocates and frees for the header fields of each request.
    const TRIM_THRESHOLD_BYTES: libc::c_int = 512 << 10;
    const HEAPS_PER_CORE: usize = 2;
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let heaps = libc::c_int::try_from(cores * HEAPS_PER_CORE).unwrap_or(libc::c_int::MAX);
    for (option, value) in [
        (libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES),
        (libc::M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES),
        (libc::M_ARENA_MAX, heaps),
    ] {
        // SAFETY: `mallopt` takes two numbers, no pointers, and only changes later allocations.
        unsafe { libc::mallopt(option, value) };
    }
}

/// Does nothing: other allocators keep their settings.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_heaps_small() {}

#[cfg(target_os = "linux")]
pub use mapping::Allocator;
/// On other systems, the system's allocator.
#[cfg(not(target_os = "linux"))]
pub use std::alloc::System as Allocator;

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "allocators and mappings have no safe interface")]
mod mapping {
    use std::alloc::{GlobalAlloc, Layout, System};
    use std::ptr;

    use rustix::mm::{
        Advice, MapFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mremap, munmap,
    };

    /// Buffers of at least this size, that of a huge page, get a mapping of their own.
    const MIN_MAPPED_BYTES: usize = 2 << 20;

    /// Every mapping has at least this alignment, the smallest page size of Linux.
    const MAX_MAPPED_ALIGN: usize = 4 << 10;

    /// The system's allocator, except that large buffers get mappings of their own.
    #[derive(Debug)]
    pub struct Allocator;

    fn is_mapped(layout: Layout) -> bool {
        layout.size() >= MIN_MAPPED_BYTES && layout.align() <= MAX_MAPPED_ALIGN
    }

    // SAFETY: `is_mapped` depends on the layout alone, which callers must give back unchanged, so
    // that each buffer is freed and resized by what allocated it. Mappings do not overlap, are at
    // least as large and as aligned as their layout, and are zeroed.
    unsafe impl GlobalAlloc for Allocator {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if is_mapped(layout) {
                return map(layout.size());
            }
            // SAFETY: the caller's promises are those that `System` asks for.
            unsafe { System.alloc(layout) }
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            if is_mapped(layout) {
                return map(layout.size());
            }
            // SAFETY: as in `alloc`.
            unsafe { System.alloc_zeroed(layout) }
        }

        unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
            if is_mapped(layout) {
                // SAFETY: `map` or `mremap` returned this mapping with this size, and its owner
                // gives it up. An error would leave it mapped, which harms nobody's memory.
                let _ = unsafe { munmap(start.cast(), layout.size()) };
            } else {
                // SAFETY: as in `alloc`; `System` allocated it.
                unsafe { System.dealloc(start, layout) }
            }
        }

        unsafe fn realloc(&self, start: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            // SAFETY: callers promise that `size`, rounded up to the alignment, fits into `isize`.
            let resized = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
            match (is_mapped(layout), is_mapped(resized)) {
                // SAFETY: as in `alloc`; `System` allocated it and keeps it.
                (false, false) => unsafe { System.realloc(start, layout, size) },
                (true, true) => {
                    // SAFETY: the mapping has this size and belongs to the caller, who uses only
                    // the returned pointer from now on.
                    let moved =
                        unsafe { mremap(start.cast(), layout.size(), size, MremapFlags::MAYMOVE) };
                    moved.map_or(ptr::null_mut(), <*mut _>::cast)
                }
                _ => {
                    // SAFETY: the new buffer is apart from the old one, both have at least the
                    // bytes that are copied, and the old one is not used after it is freed.
                    unsafe {
                        let moved = self.alloc(resized);
                        if !moved.is_null() {
                            ptr::copy_nonoverlapping(start, moved, layout.size().min(size));
                            self.dealloc(start, layout);
                        }
                        moved
                    }
                }
            }
        }
    }

    /// A new mapping of zeroed memory, on huge pages if possible; null if there is no memory.
    #[cold]
    fn map(size: usize) -> *mut u8 {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps no other.
        let mapped =
            unsafe { mmap_anonymous(ptr::null_mut(), size, protection, MapFlags::PRIVATE) };
        let Ok(start) = mapped else { return ptr::null_mut() };
        // SAFETY: the advice concerns this mapping alone and does not change what it holds. A
        // kernel without huge pages refuses it, and nothing is lost.
        let _ = unsafe { madvise(start, size, Advice::LinuxHugepage) };
        start.cast()
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(unsafe_code, reason = "the allocator's calls are what is tested")]
mod tests {
    use std::alloc::{GlobalAlloc as _, Layout};

    use super::Allocator;

    const MIB: usize = 1 << 20;

    #[test]
    fn resizing_keeps_the_content() {
        let sizes = [100, 2 * MIB - 1, 2 * MIB, 6 * MIB + 5, 16 * MIB, 15 * MIB, 3 * MIB, 10];
        let layout = |size| Layout::from_size_align(size, 8).unwrap();
        // SAFETY: each buffer is used within its size, and freed with its last layout.
        unsafe {
            let mut start = Allocator.alloc(layout(sizes[0]));
            start.write_bytes(7, 10);
            for pair in sizes.windows(2) {
                start = Allocator.realloc(start, layout(pair[0]), pair[1]);
                start.add(pair[1] - 1).write(9);
                assert_eq!(std::slice::from_raw_parts(start, 9), [7; 9]);
            }
            Allocator.dealloc(start, layout(10));
        }
    }

    #[test]
    fn zeroed_memory_is_zero_and_aligned() {
        for (size, align) in [(100, 8), (2 * MIB, 4096), (5 * MIB + 1, 64), (4 * MIB, 8192)] {
            let layout = Layout::from_size_align(size, align).unwrap();
            // SAFETY: the buffer is used within its size, and freed with its layout.
            unsafe {
                let start = Allocator.alloc_zeroed(layout);
                assert!(start.addr().is_multiple_of(align));
                assert!(std::slice::from_raw_parts(start, size).iter().all(|byte| *byte == 0));
                Allocator.dealloc(start, layout);
            }
        }
    }
}
