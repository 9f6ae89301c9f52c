//! The end of the store's tasks, asked for or not.

use std::future::pending;

use tokio::time::sleep;

use super::*;
use crate::metrics;
use crate::store::StoreState;
use crate::store::testing::MemoryStore;
use crate::upstream::UpstreamMetrics;

struct Kept {
    store: Arc<MemoryStore>,
    handle: StoreHandle,
    departure: Departure,
    _task: Task,
}

impl Kept {
    /// The tasks of a leader, with this recorder, and forwards that end when they are asked to.
    async fn start(recorder: impl Future<Output = ()> + Send + 'static) -> Self {
        Self::start_with(recorder, |handle| async move {
            let mut state = handle.subscribe();
            let _ = state.wait_for(|state| state.is_leaving).await;
        })
        .await
    }

    async fn start_with<F: Future<Output = ()> + Send + 'static>(
        recorder: impl Future<Output = ()> + Send + 'static,
        forwarders: impl FnOnce(StoreHandle) -> F,
    ) -> Self {
        let store = MemoryStore::new();
        let handle = StoreHandle::new(Arc::clone(&store) as Arc<dyn Store>);
        let config = Config::default();
        let metrics = UpstreamMetrics::register(&mut metrics::registry());
        let upstreams = Arc::new(Upstreams::new(&config, &metrics, 7).unwrap());
        let options =
            SessionOptions { keep: Duration::from_hours(1), wait_until: Instant::now(), seed: 7 };
        let settings = session_settings(&config, &upstreams);
        assert_eq!(settings.kept_up.0.len(), 8, "the table and seven sources");
        let (session, directed) = Session::new(handle.clone(), settings, options);
        let departure = Departure::default();
        let keeper = Keeper {
            handle: handle.clone(),
            session: Arc::new(directed),
            departure: departure.clone(),
            write_timeout: SHARED_WRITE_TIMEOUT,
        };
        let forwarders = forwarders(handle.clone());
        let task = Task(tokio::spawn(keeper.run(session.run(), recorder, forwarders)));
        let kept = Self { store, handle, departure, _task: task };
        kept.becomes(|state| matches!(state.role, Role::Leader { .. })).await;
        kept
    }

    async fn becomes(&self, is_so: impl FnMut(&StoreState) -> bool) {
        let mut state = self.handle.subscribe();
        let becomes = timeout(Duration::from_mins(1), state.wait_for(is_so));
        drop(becomes.await.expect("it becomes so").unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_once_everything_is_written() {
    let (written, mut write) = watch::channel(false);
    let recorder = async move {
        let _ = write.wait_for(|written| *written).await;
    };
    let kept = Kept::start(recorder).await;
    kept.departure.ask();
    kept.becomes(|state| state.is_leaving).await;
    assert_eq!(kept.store.calls("release"), 0);
    assert!(kept.handle.state().role.epoch(Instant::now()).is_some(), "it can still write");
    written.send_replace(true);
    kept.departure.completed().await;
    assert_eq!(kept.store.calls("release"), 1);
    // It goes on reading what others store.
    let before = kept.store.calls("heads");
    sleep(Duration::from_secs(10)).await;
    assert!(kept.store.calls("heads") > before + 5);
    let state = kept.handle.state();
    assert!(matches!(state.role, Role::Follower { .. }) && state.is_up() && !state.is_leaving);
}

#[tokio::test(start_paused = true)]
async fn departures_end_in_time_though_writing_or_the_store_hangs() {
    for hangs in [false, true] {
        let kept = Kept::start(pending()).await;
        kept.store.hang(hangs);
        let asked = Instant::now();
        kept.departure.ask();
        kept.departure.completed().await;
        assert!(asked.elapsed() <= SHARED_WRITE_TIMEOUT + LEAVE_TIMEOUT);
        assert_eq!(kept.store.calls("release"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_given_back_once_receivers_have_answered() {
    let (answered, mut answer) = watch::channel(false);
    let forwarders = |_| async move {
        let _ = answer.wait_for(|answered| *answered).await;
    };
    let kept = Kept::start_with(async {}, forwarders).await;
    kept.departure.ask();
    kept.becomes(|state| state.is_leaving).await;
    assert_eq!(kept.store.calls("release"), 0);
    answered.send_replace(true);
    kept.departure.completed().await;
    assert_eq!(kept.store.calls("release"), 1);
}

#[tokio::test(start_paused = true)]
async fn departures_do_not_wait_for_a_receiver_that_never_answers() {
    let kept = Kept::start_with(async {}, |_| pending()).await;
    let asked = Instant::now();
    kept.departure.ask();
    kept.departure.completed().await;
    assert!(asked.elapsed() <= SHARED_WRITE_TIMEOUT + Duration::from_millis(100));
    assert_eq!(kept.store.calls("release"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_recorder_or_of_a_forward_ends_the_use_of_the_store_and_nothing_else() {
    async fn panic_soon() {
        sleep(Duration::from_secs(5)).await;
        panic!("expected");
    }
    store_is_given_up(Kept::start(panic_soon()).await).await;
    store_is_given_up(Kept::start_with(pending(), |_| panic_soon()).await).await;
}

async fn store_is_given_up(kept: Kept) {
    kept.becomes(|state| state.last_error().is_some()).await;
    let state = kept.handle.state();
    assert!(matches!(state.role, Role::Detached), "others refresh, and this process for itself");
    assert!(state.last_error().unwrap().contains("restart"), "{state:?}");
    assert_eq!(kept.store.calls("release"), 1);
    let before = kept.store.calls("acquire_or_renew");
    sleep(Duration::from_mins(1)).await;
    assert_eq!(kept.store.calls("acquire_or_renew"), before);
    kept.departure.completed().await;
}
