//! Asking for memory before it is needed.

/// Has what is at a place brought near the processor.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn fetch<T>(place: &T) {
    safe_arch::prefetch_t0(place);
}

/// Elsewhere there is no safe way to ask for it.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(crate) fn fetch<T>(_: &T) {}
