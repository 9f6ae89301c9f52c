//! Limits how many event streams may be open, in total and for each client address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One address may have at most one in this many of all streams.
const ADDRESS_SHARE_DIVISOR: usize = 8;

/// The open streams.
#[derive(Debug)]
pub(super) struct Streams {
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    max: usize,
    total: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// Why a stream cannot be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StreamRefused {
    /// The maximum of all clients is reached.
    AllInUse,
    /// The maximum of the client's address is reached.
    AddressShareInUse,
}

/// The permit for one stream, returned on drop.
#[derive(Debug)]
pub(super) struct StreamPermit {
    streams: Arc<Streams>,
    network: Option<IpAddr>,
}

impl Streams {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: Mutex::new(Open { max, ..Open::default() }) })
    }

    /// Changes how many may be open. Those that are stay open, even if they are more.
    pub(super) fn set_max(&self, max: usize) {
        self.open().max = max;
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        // No change can be interrupted half-way by a panic.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for a stream to a client, whose address may be unknown.
    pub(super) fn permit(
        self: &Arc<Self>,
        peer: Option<IpAddr>,
    ) -> Result<StreamPermit, StreamRefused> {
        let network = peer.map(network);
        let mut open = self.open();
        let max = open.max;
        if open.total >= max {
            return Err(StreamRefused::AllInUse);
        }
        if let Some(network) = network {
            let of_network = open.by_network.entry(network).or_default();
            if *of_network >= (max / ADDRESS_SHARE_DIVISOR).max(1) {
                return Err(StreamRefused::AddressShareInUse);
            }
            *of_network += 1;
        }
        open.total += 1;
        Ok(StreamPermit { streams: Arc::clone(self), network })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut open = self.streams.open();
        open.total -= 1;
        if let Some(network) = self.network
            && let Some(of_network) = open.by_network.get_mut(&network)
        {
            *of_network -= 1;
            if *of_network == 0 {
                open.by_network.remove(&network);
            }
        }
    }
}

/// The network whose addresses share a limit: for IPv6 the /64, from which a client can usually
/// choose any address.
fn network(address: IpAddr) -> IpAddr {
    const NETWORK_BITS: u128 = !(u64::MAX as u128);
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_BITS).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit_for(streams: &Arc<Streams>, address: &str) -> Result<StreamPermit, StreamRefused> {
        streams.permit(Some(address.parse().unwrap()))
    }

    #[test]
    fn one_address_has_an_eighth_of_the_streams() {
        let streams = Streams::new(16);
        let first = permit_for(&streams, "10.0.0.1").unwrap();
        let _second = permit_for(&streams, "::ffff:10.0.0.1").unwrap();
        assert_eq!(permit_for(&streams, "10.0.0.1").unwrap_err(), StreamRefused::AddressShareInUse);
        assert!(permit_for(&streams, "10.0.0.2").is_ok());
        drop(first);
        assert!(permit_for(&streams, "10.0.0.1").is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share() {
        let streams = Streams::new(8);
        let _first = permit_for(&streams, "2001:db8::1").unwrap();
        assert_eq!(
            permit_for(&streams, "2001:db8::2").unwrap_err(),
            StreamRefused::AddressShareInUse
        );
        assert!(permit_for(&streams, "2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn the_maximum_can_change_while_streams_are_open() {
        let streams = Streams::new(2);
        let permits = [streams.permit(None).unwrap(), streams.permit(None).unwrap()];
        streams.set_max(1);
        let [first, second] = permits;
        drop(first);
        assert_eq!(streams.permit(None).unwrap_err(), StreamRefused::AllInUse);
        drop(second);
        assert!(streams.permit(None).is_ok());
        streams.set_max(3);
        let more = [streams.permit(None).unwrap(), streams.permit(None).unwrap()];
        assert_eq!(more.len(), 2);
    }

    #[test]
    fn all_addresses_together_have_the_maximum() {
        let streams = Streams::new(2);
        let permits: Vec<_> =
            ["10.0.0.1", "10.0.0.2"].map(|address| permit_for(&streams, address)).into();
        assert_eq!(permit_for(&streams, "10.0.0.3").unwrap_err(), StreamRefused::AllInUse);
        assert_eq!(streams.permit(None).unwrap_err(), StreamRefused::AllInUse);
        drop(permits);
        assert!(streams.permit(None).is_ok());
        assert!(streams.open().by_network.is_empty());
    }
}
