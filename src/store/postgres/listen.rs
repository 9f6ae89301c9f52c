//! Notifications between the processes that share a database.

use std::future::{pending, poll_fn};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::Either;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::{AsyncMessage, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::fault::Failure;
use super::lane::CONNECT_TIMEOUT;

/// Tells the others, when the transaction is committed. Parameter: the instance.
pub(super) const NOTIFY: &str = "SELECT pg_notify('incident_gateway', $1)";

const LISTEN: &str = "LISTEN incident_gateway";

/// How long after a failure a connection is tried again. Meanwhile others poll.
const RECONNECT_INTERVAL: Duration = Duration::from_secs(2);

/// A connection that is told when another process has written. It is made once somebody waits.
pub(super) struct Listener {
    config: Config,
    tls: MakeRustlsConnect,
    instance: String,
    told: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Listener {
    pub(super) fn new(config: Config, tls: MakeRustlsConnect, instance: &str) -> Self {
        let (told, task) = (Arc::default(), Mutex::default());
        Self { config, tls, instance: instance.to_owned(), told, task }
    }

    /// Waits until another process has written since the last time, or may have.
    pub(super) async fn notified(&self) {
        self.start();
        self.told.notified().await;
    }

    fn start(&self) {
        let mut task = self.task.lock().expect("no thread panics with it");
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (config, tls) = (self.config.clone(), self.tls.clone());
        let (instance, told) = (self.instance.clone(), Arc::clone(&self.told));
        *task = Some(tokio::spawn(async move {
            loop {
                if let Err(failure) = listen(&config, &tls, &instance, &told).await {
                    tracing::debug!(?failure, "no notifications from the store");
                }
                sleep(RECONNECT_INTERVAL).await;
            }
        }));
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(task) = self.task.get_mut().expect("no thread panics with it").take() {
            task.abort();
        }
    }
}

/// Listens until the connection ends.
async fn listen(
    config: &Config,
    tls: &MakeRustlsConnect,
    instance: &str,
    told: &Notify,
) -> Result<(), Failure> {
    let connected = timeout(CONNECT_TIMEOUT, config.connect(tls.clone()));
    let (client, mut connection) = connected.await.map_err(|_| Failure::TimedOut)??;
    let begin = async {
        timeout(CONNECT_TIMEOUT, client.batch_execute(LISTEN))
            .await
            .map_err(|_| Failure::TimedOut)??;
        // What was told before is lost.
        told.notify_one();
        pending::<Result<(), Failure>>().await
    };
    let receive = async {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message?
                && notification.payload() != instance
            {
                told.notify_one();
            }
        }
        Ok(())
    };
    let (begin, receive) = (begin.boxed(), receive.boxed());
    match futures::future::select(begin, receive).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}
