//! Bounds the number of connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use super::ListenerSettings;

/// The least number of connections beyond `limits.max_connections` that are accepted, so that
/// probes are answered over them and all other requests get a 503.
const MIN_EXTRA_CONNECTIONS: usize = 64;

/// A connection that was accepted.
pub(super) struct Accepted<T = TcpStream> {
    pub(super) stream: T,
    pub(super) peer: SocketAddr,
    pub(super) permit: ConnectionPermit,
}

/// Permits for connections: `limits.max_connections`, and some extra ones on which probes are
/// answered and all other requests get a 503. When the extra permits are taken too, connections
/// wait in the kernel's accept queue.
///
/// The limit may change. Open connections keep their permits when it shrinks.
#[derive(Default)]
pub(super) struct ConnectionPermits {
    open: Arc<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    within_limit: AtomicUsize,
    all: AtomicUsize,
    closed: Notify,
}

/// The permit of an open connection.
pub(super) struct ConnectionPermit {
    open: Arc<OpenConnections>,
    is_within_limit: bool,
}

impl ConnectionPermits {
    /// Accepts a connection once there is a permit for it. At most one call may be under way.
    pub(super) async fn accept(
        &self,
        listener: &TcpListener,
        settings: &mut watch::Receiver<ListenerSettings>,
    ) -> io::Result<Accepted> {
        loop {
            let max_connections = settings.borrow_and_update().limits.max_connections;
            if self.has_room(max_connections) {
                break;
            }
            tokio::select! {
                () = self.open.closed.notified() => {}
                // An error means that the limit does not change any more.
                Ok(()) = settings.changed() => {}
                else => std::future::pending().await,
            }
        }
        let (stream, peer) = listener.accept().await?;
        let max_connections = settings.borrow().limits.max_connections;
        Ok(Accepted { stream, peer, permit: self.take(max_connections) })
    }

    fn has_room(&self, max_connections: usize) -> bool {
        let extra = (max_connections / 4).max(MIN_EXTRA_CONNECTIONS);
        self.open.all.load(Ordering::Acquire) < max_connections.saturating_add(extra)
    }

    /// A permit for a connection that there is room for.
    pub(super) fn take(&self, max_connections: usize) -> ConnectionPermit {
        self.open.all.fetch_add(1, Ordering::AcqRel);
        // Only this function adds, and never concurrently.
        let is_within_limit = self.open.within_limit.load(Ordering::Acquire) < max_connections;
        self.open.within_limit.fetch_add(usize::from(is_within_limit), Ordering::AcqRel);
        ConnectionPermit { open: Arc::clone(&self.open), is_within_limit }
    }
}

impl ConnectionPermit {
    /// Whether the connection exceeds `limits.max_connections`.
    pub(super) fn is_beyond_limit(&self) -> bool {
        !self.is_within_limit
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.within_limit.fetch_sub(usize::from(self.is_within_limit), Ordering::AcqRel);
        self.open.all.fetch_sub(1, Ordering::AcqRel);
        self.open.closed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::config::Config;

    #[test]
    fn permits_follow_a_limit_that_shrinks_and_grows() {
        let permits = ConnectionPermits::default();
        let taken = |limit: usize, count: usize| -> Vec<_> {
            (0..count).map(|_| permits.take(limit)).collect()
        };
        let beyond = |permits: &[ConnectionPermit]| {
            permits.iter().filter(|permit| permit.is_beyond_limit()).count()
        };
        let first = taken(4, 6);
        assert_eq!(beyond(&first), 2);
        let second = taken(2, 2);
        assert_eq!(beyond(&second), 2);
        let third = taken(10, 8);
        assert_eq!(beyond(&third), 2, "4 of 10 are still taken");
        drop((first, second, third));
        for limit in [3, 1, 5] {
            let again = taken(limit, limit + 1);
            assert_eq!(beyond(&again), 1, "no permit is lost");
        }
    }

    #[test]
    fn there_is_room_for_a_quarter_more() {
        let permits = ConnectionPermits::default();
        let mut open = Vec::new();
        while permits.has_room(1000) {
            open.push(permits.take(1000));
        }
        assert_eq!(open.len(), 1250);
        assert!(!permits.has_room(900) && permits.has_room(1001));
        open.pop();
        assert!(permits.has_room(1000));
    }

    #[tokio::test]
    async fn a_raised_limit_is_followed_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut limits = Config::default().limits;
        limits.max_connections = 1;
        let (settings, mut receiver) = watch::channel(ListenerSettings { limits, tls: None });
        let permits = ConnectionPermits::default();
        let _open: Vec<_> = (0..=MIN_EXTRA_CONNECTIONS).map(|_| permits.take(1)).collect();
        let mut accepting = Box::pin(permits.accept(&listener, &mut receiver));
        assert!(timeout(Duration::from_millis(20), &mut accepting).await.is_err());
        settings.send_modify(|settings| settings.limits.max_connections = 2);
        let accepted = timeout(Duration::from_secs(10), accepting).await.unwrap().unwrap();
        assert!(!accepted.permit.is_beyond_limit());
    }

    #[tokio::test]
    async fn a_closed_connection_makes_room() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut limits = Config::default().limits;
        limits.max_connections = 1;
        // Without a sender: the settings do not change any more.
        let (_, mut receiver) = watch::channel(ListenerSettings { limits, tls: None });
        let permits = ConnectionPermits::default();
        let mut open: Vec<_> = (0..=MIN_EXTRA_CONNECTIONS).map(|_| permits.take(1)).collect();
        let mut accepting = Box::pin(permits.accept(&listener, &mut receiver));
        assert!(timeout(Duration::from_millis(20), &mut accepting).await.is_err());
        open.remove(0);
        let accepted = timeout(Duration::from_secs(10), accepting).await.unwrap().unwrap();
        assert!(!accepted.permit.is_beyond_limit());
    }
}
