//! Looks whether the configuration has changed.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::ReloadMetrics;
use crate::config::{Config, ConfigErrors};

/// How often the files are looked at without a signal.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// Between two looks that must agree before a change counts.
const SETTLE_TIME: Duration = Duration::from_millis(20);

/// The most looks in one interval, if each sees something else than the one before.
const MAX_LOOKS: usize = 5;

/// The fault if loading has panicked. The panic itself is in the log.
const PANICKED: &str = "loading it panicked; see the log";

/// Loads the configuration as it was loaded at the start, from the same flags and variables.
pub type Load = dyn Fn() -> Result<Config, ConfigErrors> + Send + Sync;

/// Looks for changes of the configuration, on SIGHUP and in intervals.
pub struct ConfigWatch {
    load: Arc<Load>,
    /// What was loaded last.
    last: Loaded,
    hangups: Signal,
    looks: Interval,
}

/// What loading gave: two are equal if nothing has changed.
#[derive(Clone, Debug, PartialEq)]
enum Loaded {
    Valid(Box<Config>),
    /// All faults, in one line. The message of a fault may have a semicolon.
    Invalid(String),
}

impl ConfigWatch {
    /// Begins to handle SIGHUP, and to look for changes of `loaded`, which `load` returned. Must be
    /// called on a runtime.
    ///
    /// # Errors
    ///
    /// When the signal cannot be handled.
    pub fn new(loaded: Config, load: Arc<Load>, interval: Duration) -> io::Result<Self> {
        let mut looks = interval_at(Instant::now() + interval, interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let hangups = signal(SignalKind::hangup())?;
        Ok(Self { load, last: Loaded::Valid(Box::new(loaded)), hangups, looks })
    }

    /// Waits for another valid configuration, and returns it. Invalid ones are logged once, and
    /// counted.
    pub async fn changed(&mut self, metrics: &ReloadMetrics) -> Config {
        loop {
            let is_asked = tokio::select! {
                Some(()) = self.hangups.recv() => true,
                _ = self.looks.tick() => false,
            };
            let (load, last) = (Arc::clone(&self.load), self.last.clone());
            let seen = spawn_blocking(move || look(&*load, &last)).await;
            let seen = seen.unwrap_or_else(|_| Some(Loaded::Invalid(PANICKED.to_owned())));
            let Some(loaded) = seen.filter(|seen| *seen != self.last) else {
                if is_asked && metrics.is_successful() {
                    tracing::info!("SIGHUP: nothing has changed in the configuration");
                } else if is_asked {
                    tracing::warn!(
                        "SIGHUP: the configuration has not changed since it was refused"
                    );
                }
                continue;
            };
            self.last = loaded;
            match &self.last {
                Loaded::Valid(config) => return (**config).clone(),
                Loaded::Invalid(faults) => {
                    metrics.record_failure();
                    tracing::error!(
                        faults,
                        "the changed configuration is invalid; the one before stays in effect"
                    );
                }
            }
        }
    }
}

/// Loads the configuration; `None` if it is as it was `last`. A change counts once two looks agree:
/// a single one could see some files before they are replaced and others after.
fn look(load: &Load, last: &Loaded) -> Option<Loaded> {
    let mut seen = load_once(load);
    for _ in 1..MAX_LOOKS {
        if seen == *last {
            return None;
        }
        thread::sleep(SETTLE_TIME);
        let again = load_once(load);
        if again == seen {
            return Some(seen);
        }
        seen = again;
    }
    tracing::debug!("the configuration changes all the time; looking again later");
    None
}

fn load_once(load: &Load) -> Loaded {
    match load() {
        Ok(config) => Loaded::Valid(Box::new(config)),
        Err(ConfigErrors { errors }) => {
            let faults: Vec<_> = errors.iter().map(ToString::to_string).collect();
            Loaded::Invalid(faults.join(" | "))
        }
    }
}

#[cfg(test)]
mod tests;
