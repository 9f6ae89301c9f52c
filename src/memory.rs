//! How the system's allocator is to treat the few very large buffers that a refresh lives on.

/// From this size on an allocation is mapped by itself, and given back to the system when it is freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_FROM: libc::c_int = 256 << 10;

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
