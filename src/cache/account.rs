//! Accounts for the memory of rendered bodies, in the cache and while they are being sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Bodies up to this size may fill the account; larger ones leave an eighth of it free, so that
/// small responses are still possible while large ones wait for memory.
pub(super) const SMALL_BODY_BYTES: u64 = 128 << 10;

/// How many bytes are in use, and how many may be.
#[derive(Debug)]
pub(super) struct Account {
    max_bytes: u64,
    used_bytes: AtomicU64,
    freed: Notify,
}

impl Account {
    pub(super) fn new(max_bytes: u64) -> Arc<Self> {
        Arc::new(Self { max_bytes, used_bytes: AtomicU64::new(0), freed: Notify::new() })
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// By how many bytes the account is over its bound.
    pub(super) fn excess_bytes(&self) -> u64 {
        self.used_bytes().saturating_sub(self.max_bytes)
    }

    /// How many bytes must be freed before a body of `bytes` fits; 0 when it fits now.
    pub(super) fn missing_bytes(&self, bytes: u64) -> u64 {
        let used = self.used_bytes();
        // A body larger than the whole account is allowed while nothing else is in use.
        if used == 0 { 0 } else { (used + bytes).saturating_sub(self.bound(bytes)) }
    }

    fn bound(&self, bytes: u64) -> u64 {
        if bytes <= SMALL_BODY_BYTES { self.max_bytes } else { self.max_bytes - self.max_bytes / 8 }
    }

    /// Charges `bytes` to the account if they fit.
    pub(super) fn try_charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let bound = self.bound(bytes);
        self.used_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                (used == 0 || used + bytes <= bound).then_some(used + bytes)
            })
            .ok()?;
        Some(Charge { account: Arc::clone(self), bytes, is_counted: AtomicBool::new(true) })
    }

    /// A charge that does not count towards the bound until [`Charge::count`] is called, for the
    /// whole documents of current views.
    pub(super) fn exempt(self: &Arc<Self>, bytes: u64) -> Charge {
        Charge { account: Arc::clone(self), bytes, is_counted: AtomicBool::new(false) }
    }

    /// Completes when bytes are freed after this call, even if it is polled later.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }
}

/// Bytes charged to the account. Dropping this gives them back.
#[derive(Debug)]
pub(super) struct Charge {
    account: Arc<Account>,
    bytes: u64,
    is_counted: AtomicBool,
}

impl Charge {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_counted(&self) -> bool {
        self.is_counted.load(Ordering::Relaxed)
    }

    /// Counts the bytes towards the bound from now on, even if that exceeds it.
    pub(super) fn count(&self) {
        if !self.is_counted.swap(true, Ordering::Relaxed) {
            self.account.used_bytes.fetch_add(self.bytes, Ordering::Relaxed);
        }
    }

    /// Replaces an estimate with the actual number of bytes.
    pub(super) fn set_bytes(&mut self, bytes: u64) {
        if *self.is_counted.get_mut() {
            self.account.used_bytes.fetch_add(bytes, Ordering::Relaxed);
            self.account.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
            self.account.freed.notify_waiters();
        }
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if *self.is_counted.get_mut() {
            self.account.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
            self.account.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_counted_until_it_is_dropped() {
        let account = Account::new(1000);
        let first = account.try_charge(600).unwrap();
        assert!(account.try_charge(600).is_none());
        assert_eq!((account.used_bytes(), account.missing_bytes(600)), (600, 200));
        drop(first);
        assert_eq!((account.used_bytes(), account.missing_bytes(600)), (0, 0));
        assert!(account.try_charge(600).is_some());
    }

    #[test]
    fn an_exempt_charge_is_counted_once_count_is_called() {
        let account = Account::new(1000);
        let document = account.exempt(5000);
        assert_eq!(account.used_bytes(), 0);
        document.count();
        document.count();
        assert_eq!((account.used_bytes(), account.excess_bytes()), (5000, 4000));
        drop(document);
        assert_eq!(account.used_bytes(), 0);
    }

    #[test]
    fn a_body_larger_than_the_account_fits_when_nothing_else_is_in_use() {
        let account = Account::new(10);
        let large = account.try_charge(500).unwrap();
        assert!(account.try_charge(1).is_none());
        drop(large);
        assert!(account.try_charge(1).is_some());
    }

    #[test]
    fn large_bodies_leave_memory_for_small_ones() {
        let account = Account::new(8 << 20);
        let large = account.try_charge(7 << 20).unwrap();
        assert!(account.try_charge(SMALL_BODY_BYTES + 1).is_none());
        let small = account.try_charge(SMALL_BODY_BYTES).unwrap();
        drop(large);
        drop(small);
        assert_eq!(account.used_bytes(), 0);
    }

    #[test]
    fn an_estimate_can_be_corrected() {
        let account = Account::new(1000);
        let mut charge = account.try_charge(900).unwrap();
        charge.set_bytes(20);
        assert_eq!(account.used_bytes(), 20);
        drop(charge);
        assert_eq!(account.used_bytes(), 0);
    }
}
