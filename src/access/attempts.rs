//! Limits brute force: bounds how many passwords and tokens an address can guess.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// How many attempts of an address may fail within [`WINDOW`].
pub(super) const MAX_FAILURES: usize = 10;

/// For how long a failed attempt counts.
pub(super) const WINDOW: Duration = Duration::from_mins(1);

/// The most addresses that are remembered. Beyond it those that have not failed for the longest
/// time are forgotten. They take about 8 MB.
const MAX_ADDRESSES: usize = 1 << 15;

/// The most attempts of an address that wait for others of it.
const MAX_WAITING: u32 = 512;

/// When to retry beyond [`MAX_WAITING`].
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// An address from which attempts are counted: an IPv4 address, or the /64 network of an IPv6
/// address, since a single host usually has all of such a network.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Address {
    V4(u32),
    V6Network(u64),
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6Network((address.to_bits() >> 64) as u64),
        }
    }
}

/// The failed attempts of each address, and those under way. On tokio's clock.
#[derive(Debug)]
pub(super) struct Attempts {
    /// The most attempts of an address that are under way at once.
    max_under_way: usize,
    addresses: Mutex<HashMap<Address, Record>>,
    /// Tells attempts that wait that another one has been decided.
    decided: Notify,
}

/// The attempts of an address.
#[derive(Debug, Default)]
struct Record {
    /// When the last attempts failed, the oldest first; at most [`MAX_FAILURES`].
    failures: Vec<Instant>,
    under_way: usize,
    waiting: u32,
}

/// An attempt is not made, because its address has made too many.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Limited {
    pub(super) retry_after: Duration,
}

impl Record {
    fn limited_for(&self, now: Instant) -> Option<Duration> {
        let first = *self.failures.first().filter(|_| self.failures.len() == MAX_FAILURES)?;
        Some((first + WINDOW).duration_since(now)).filter(|rest| !rest.is_zero())
    }

    fn recent_failures(&self, now: Instant) -> usize {
        self.failures.iter().filter(|failure| **failure + WINDOW > now).count()
    }

    fn fail(&mut self, at: Instant) {
        self.failures.retain(|failure| *failure + WINDOW > at);
        self.failures.push(at);
        // Attempts may end in another order than they began.
        self.failures.sort_unstable();
        if self.failures.len() > MAX_FAILURES {
            self.failures.remove(0);
        }
    }

    /// Whether attempts refer to this record, so that it must stay.
    fn is_in_use(&self) -> bool {
        self.under_way > 0 || self.waiting > 0
    }
}

impl Attempts {
    pub(super) fn new(max_under_way: usize) -> Self {
        Self { max_under_way, addresses: Mutex::default(), decided: Notify::new() }
    }

    /// For how long an address is still limited; `None` if it is not.
    pub(super) fn limited_for(&self, address: Address) -> Option<Duration> {
        self.lock().get(&address)?.limited_for(Instant::now())
    }

    /// Records a failed attempt that was not [begun](Self::begin).
    ///
    /// # Errors
    ///
    /// For how long the address is limited, if it was already. Then nothing is recorded, so that
    /// the limit ends when it would have.
    pub(super) fn fail(&self, address: Address) -> Result<(), Duration> {
        let now = Instant::now();
        let mut addresses = self.lock();
        let record = record(&mut addresses, address, now);
        match record.limited_for(now) {
            Some(rest) => Err(rest),
            None => {
                record.fail(now);
                Ok(())
            }
        }
    }

    /// Begins an attempt, which counts as a failed one until it is decided: it waits while the
    /// failed attempts and those under way together reach the limit, or while as many of the
    /// address are under way as may be.
    pub(super) async fn begin(self: &Arc<Self>, address: Address) -> Result<Attempt, Limited> {
        let mut waiting: Option<Waiting<'_>> = None;
        loop {
            let mut decided = pin!(self.decided.notified());
            // From here on no notification is missed.
            decided.as_mut().enable();
            {
                let now = Instant::now();
                let mut addresses = self.lock();
                let record = record(&mut addresses, address, now);
                if let Some(retry_after) = record.limited_for(now) {
                    return Err(Limited { retry_after });
                }
                let limit = MAX_FAILURES.saturating_sub(record.recent_failures(now));
                if record.under_way < limit.min(self.max_under_way) {
                    record.under_way += 1;
                    return Ok(Attempt { attempts: Arc::clone(self), address });
                }
                if waiting.is_none() {
                    if record.waiting == MAX_WAITING {
                        return Err(Limited { retry_after: RETRY_DELAY });
                    }
                    record.waiting += 1;
                    waiting = Some(Waiting { attempts: self, address });
                }
            }
            decided.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Address, Record>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the record of an address that is in use.
    fn change(&self, address: Address, change: impl FnOnce(&mut Record)) {
        if let Entry::Occupied(mut entry) = self.lock().entry(address) {
            change(entry.get_mut());
            if !entry.get().is_in_use() && entry.get().failures.is_empty() {
                entry.remove();
            }
        }
    }
}

/// The record of an address, which is made if there is none.
fn record(addresses: &mut HashMap<Address, Record>, address: Address, now: Instant) -> &mut Record {
    if addresses.len() >= MAX_ADDRESSES && !addresses.contains_key(&address) {
        forget_oldest(addresses, now);
    }
    addresses.entry(address).or_default()
}

/// Forgets at least half of the addresses, so that the time this takes is spread over as many
/// additions.
fn forget_oldest(addresses: &mut HashMap<Address, Record>, now: Instant) {
    addresses.retain(|_, record| record.is_in_use() || record.recent_failures(now) > 0);
    let mut last_failures: Vec<Instant> =
        addresses.values().filter_map(|record| record.failures.last().copied()).collect();
    let excess = last_failures.len().saturating_sub(MAX_ADDRESSES / 2);
    if excess > 0 {
        let (_, newest_forgotten, _) = last_failures.select_nth_unstable(excess - 1);
        let newest_forgotten = *newest_forgotten;
        addresses.retain(|_, record| {
            record.is_in_use() || record.failures.last().is_some_and(|at| *at > newest_forgotten)
        });
    }
}

/// An attempt under way. It has succeeded, or has been given up, unless [`Self::fail`] is called.
#[derive(Debug)]
pub(super) struct Attempt {
    attempts: Arc<Attempts>,
    address: Address,
}

impl Attempt {
    /// Records that the attempt has failed, by a comparison that began at `at`.
    pub(super) fn fail(self, at: Instant) {
        self.attempts.change(self.address, |record| record.fail(at));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.attempts.change(self.address, |record| record.under_way -= 1);
        self.attempts.decided.notify_waiters();
    }
}

/// An attempt that waits.
struct Waiting<'a> {
    attempts: &'a Attempts,
    address: Address,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.attempts.change(self.address, |record| record.waiting -= 1);
    }
}

#[cfg(test)]
mod tests;
