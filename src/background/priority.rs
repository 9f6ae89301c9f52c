//! The lower priority of the background's threads.

use std::cell::OnceCell;
use std::sync::Arc;

use rustix::process::{getpriority_process, setpriority_process};

use super::metronome::{Heavy, Metronome};
use super::turns;

/// How much these threads yield, from 0, not at all, to 19. At 10 the kernel gives them about a
/// tenth of a core that a thread of the ordinary kind wants too: a refresh still comes to its end
/// under full load, and at full speed on cores that are idle.
const NICENESS: i32 = 10;

thread_local! {
    /// That of the background which the thread belongs to, if it does to one.
    static METRONOME: OnceCell<Arc<Metronome>> = const { OnceCell::new() };
}

/// Lowers the priority of the thread that calls what is returned, below that of the thread that
/// calls this.
pub(super) fn lower() -> impl Fn() + Send + Sync + 'static {
    let metronome = Arc::new(Metronome::start());
    // Threads begin with the niceness of the one that starts them, so adding to it would add up.
    let niceness = getpriority_process(None).map(|niceness| (niceness + NICENESS).min(19));
    move || {
        METRONOME.with(|own| drop(own.set(Arc::clone(&metronome))));
        // On Linux this is the thread's own. A sandbox that forbids it costs latency and nothing
        // else.
        if let Err(error) = niceness.and_then(|niceness| setpriority_process(None, niceness)) {
            tracing::debug!(%error, "the priority of a thread cannot be lowered");
        }
    }
}

/// Has the thread, if it is one of the background's, take turns from now on, and preempted in time
/// until the returned value is dropped.
pub(super) fn preemptible() -> Option<Heavy> {
    METRONOME.with(|own| {
        let metronome = own.get()?;
        turns::begin();
        Some(metronome.heavy())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Background, spawn_heavy};
    use super::*;

    fn niceness() -> i32 {
        getpriority_process(None).unwrap()
    }

    #[tokio::test]
    async fn the_backgrounds_threads_yield_and_others_do_not() {
        let before = niceness();
        let background = Background::start().unwrap();
        let work = async { (niceness(), spawn_heavy(niceness).await.unwrap()) };
        assert!(
            background.spawn(async { spawn_heavy(turns::has_begun).await.unwrap() }).await.unwrap()
        );
        let lower = (before + NICENESS).min(19);
        assert_eq!(background.spawn(work).await.unwrap(), (lower, lower));
        assert_eq!((niceness(), spawn_heavy(niceness).await.unwrap()), (before, before));
    }

    #[tokio::test]
    async fn heavy_work_is_preemptible_in_the_background_only() {
        let is_preemptible = || preemptible().is_some();
        let background = Background::start().unwrap();
        assert!(
            background
                .spawn(async move { spawn_heavy(is_preemptible).await.unwrap() })
                .await
                .unwrap()
        );
        assert!(!spawn_heavy(is_preemptible).await.unwrap());
    }
}
