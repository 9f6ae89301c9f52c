//! What is cached, what counts towards the bound, and what callers can make the cache do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::advance;

use super::*;
use crate::join::join;
use crate::render::{Document, Format};

const DOCUMENT: Resource = Resource::Document(Document::Incidents(Format::Json));

fn cache(max_bytes: u64, max_renders: usize) -> Arc<Cache> {
    Arc::new(Cache::new(max_bytes, max_renders))
}

fn view(id: u64) -> Arc<View> {
    Arc::new(View::new(id, [Arc::from("denial")].into(), [None].into(), join(&[], &[None])))
}

fn filtered(text: &str) -> Resource {
    Resource::Filtered(text.into())
}

fn in_a_second() -> Instant {
    Instant::now() + Duration::from_secs(1)
}

/// Waits until the condition holds: moka frees removed entries once no thread reads its caches.
async fn eventually(cache: &Cache, condition: impl Fn() -> bool) -> bool {
    for _ in 0..500 {
        if condition() {
            return true;
        }
        cache.bodies.run_pending_tasks().await;
        std::thread::sleep(Duration::from_millis(1));
        yield_now().await;
    }
    false
}

/// A render that blocks until the test opens the gate.
struct Gate {
    started: Arc<AtomicUsize>,
    open: mpsc::Sender<()>,
    wait: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Gate {
    fn new() -> Self {
        let (open, wait) = mpsc::channel();
        Self { started: Arc::default(), open, wait: Arc::new(Mutex::new(wait)) }
    }

    fn render(&self, bytes: usize) -> impl FnOnce() -> Vec<u8> + Send + 'static {
        let (started, wait) = (Arc::clone(&self.started), Arc::clone(&self.wait));
        move || {
            started.fetch_add(1, Ordering::SeqCst);
            wait.lock().unwrap().recv().unwrap();
            vec![b'x'; bytes]
        }
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn concurrent_requests_for_one_resource_share_a_render() {
    let (cache, view, gate) = (cache(1 << 20, 4), view(1), Gate::new());
    let ask = || {
        cache.get_or_render(&view, filtered("a"), Coding::Identity, in_a_second(), gate.render(10))
    };
    let open = async {
        assert!(eventually(&cache, || gate.started() == 1).await);
        gate.open.send(()).unwrap();
    };
    let (first, second, ()) = tokio::join!(ask(), ask(), open);
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
    assert!(ask().await.is_ok(), "it is cached");
    assert_eq!((gate.started(), cache.queue.pending_count()), (1, 0));
}

#[tokio::test]
async fn a_render_holds_its_permit_when_its_caller_has_left() {
    let (cache, view, gate) = (cache(1 << 20, 1), view(1), Gate::new());
    let soon = || Instant::now() + Duration::from_millis(20);
    let leaves =
        cache.get_or_render(&view, filtered("a"), Coding::Identity, soon(), gate.render(10));
    assert_eq!(leaves.await.unwrap_err(), RenderError::Overloaded);
    let waits =
        cache.get_or_render(&view, filtered("b"), Coding::Identity, soon(), gate.render(10));
    assert_eq!(waits.await.unwrap_err(), RenderError::Overloaded);
    assert_eq!(gate.started(), 1, "the second has no permit");

    gate.open.send(()).unwrap();
    let late = cache.get_or_render(&view, filtered("a"), Coding::Identity, in_a_second(), || {
        unreachable!("the first render goes on, and is joined or cached")
    });
    assert_eq!(late.await.unwrap().bytes().len(), 10);
}

#[tokio::test]
async fn a_queued_render_without_callers_is_never_started() {
    let (cache, view, gate) = (cache(1 << 20, 1), view(1), Gate::new());
    let soon = || Instant::now() + Duration::from_millis(20);
    let _ =
        cache.get_or_render(&view, filtered("a"), Coding::Identity, soon(), gate.render(10)).await;
    for number in 0..100 {
        let resource = filtered(&format!("b{number}"));
        let ask =
            cache.get_or_render(&view, resource, Coding::Identity, in_a_second(), gate.render(10));
        assert!(timeout(Duration::from_millis(1), ask).await.is_err());
    }
    assert_eq!(cache.queue.pending_count(), 1, "renders without callers are dropped");
    gate.open.send(()).unwrap();
    let other =
        cache.get_or_render(&view, filtered("c"), Coding::Identity, in_a_second(), || vec![1]);
    assert_eq!(other.await.unwrap().bytes(), [1]);
    assert_eq!(gate.started(), 1);
}

#[tokio::test]
async fn after_a_render_that_panics_the_next_caller_renders_again() {
    let (cache, view) = (cache(1 << 20, 1), view(1));
    let ask = |render: fn() -> Vec<u8>| {
        cache.get_or_render(&view, filtered("a"), Coding::Identity, in_a_second(), render)
    };
    assert_eq!(ask(|| panic!("scripted")).await.unwrap_err(), RenderError::Panicked);
    assert_eq!(ask(|| vec![7]).await.unwrap().bytes(), [7]);
}

#[tokio::test]
async fn keys_count_towards_the_bound() {
    let (cache, view) = (cache(1 << 20, 2), view(1));
    for number in 0..200 {
        let resource = filtered(&format!("{number}{}", "x".repeat(30_000)));
        let ask =
            cache.get_or_render_inline(&view, resource, Coding::Identity, in_a_second(), || {
                b"{}".to_vec()
            });
        ask.await.unwrap();
        assert!(cache.used_bytes() <= 1 << 20, "{}", cache.used_bytes());
    }
    assert!(cache.used_bytes() > 30_000);
}

#[tokio::test]
async fn bodies_take_at_most_the_bound_while_cached_and_while_being_sent() {
    let (cache, view) = (cache(1 << 20, 2), view(1));
    let mut sending = Vec::new();
    let mut refused = 0;
    for number in 0..20 {
        let ask = cache.get_or_render(
            &view,
            filtered(&number.to_string()),
            Coding::Identity,
            Instant::now() + Duration::from_millis(100),
            || vec![b'x'; 200_000],
        );
        match ask.await {
            Ok(answer) => sending.push(cache.response_bytes(&answer, None)),
            Err(error) => {
                assert_eq!(error, RenderError::Overloaded);
                refused += 1;
            }
        }
        assert!(cache.used_bytes() <= 1 << 20, "{}", cache.used_bytes());
    }
    assert_eq!((sending.len(), refused), (4, 16), "an eighth is left to small bodies");
    let small =
        cache.get_or_render_inline(&view, filtered("s"), Coding::Gzip, in_a_second(), Vec::new);
    assert!(small.await.is_ok());

    drop(sending);
    let ask = cache.get_or_render(&view, filtered("x"), Coding::Identity, in_a_second(), || {
        vec![b'x'; 200_000]
    });
    assert!(ask.await.is_ok());
}

#[tokio::test]
async fn cached_bodies_are_evicted_for_new_ones() {
    let (cache, view) = (cache(1 << 20, 2), view(1));
    for number in 0..20 {
        let resource = filtered(&number.to_string());
        let ask = cache.get_or_render(&view, resource, Coding::Identity, in_a_second(), || {
            vec![b'x'; 200_000]
        });
        assert!(ask.await.is_ok());
        assert!(cache.used_bytes() <= 1 << 20, "{}", cache.used_bytes());
    }
}

#[tokio::test]
async fn uncached_bodies_are_counted_until_they_are_sent() {
    let cache = cache(1 << 20, 2);
    let page = cache.render_uncached(in_a_second(), || Bytes::from(vec![b'x'; 1000]));
    let page = page.await.unwrap();
    let body = cache.response_bytes(&page, None);
    drop(page);
    assert_eq!((cache.used_bytes(), body.len()), (1000, 1000));
    drop(body);
    assert_eq!(cache.used_bytes(), 0);
}

#[tokio::test]
async fn whole_documents_are_counted_once_their_view_is_retired() {
    let (cache, first) = (cache(1 << 20, 2), view(1));
    let ask =
        cache.get_or_render(&first, DOCUMENT, Coding::Identity, in_a_second(), || vec![b'x'; 5000]);
    let body = cache.response_bytes(&ask.await.unwrap(), None);
    assert_eq!(cache.used_bytes(), 0);
    cache.retire_before(1).await;
    assert_eq!(cache.used_bytes(), 0, "its view is still current");
    cache.retire_before(2).await;
    assert_eq!(cache.used_bytes(), 5000 + 1024);
    drop(body);
    assert!(eventually(&cache, || cache.used_bytes() == 0).await);
}

#[tokio::test]
async fn nothing_is_cached_of_a_view_that_is_retired_while_it_renders() {
    let (cache, view, gate) = (cache(1 << 20, 2), view(1), Gate::new());
    for resource in [DOCUMENT, filtered("a")] {
        let ask =
            cache.get_or_render(&view, resource, Coding::Gzip, in_a_second(), gate.render(500));
        let retire = async {
            assert!(eventually(&cache, || gate.started() > 0).await);
            cache.retire_before(2).await;
            gate.open.send(()).unwrap();
        };
        let (answer, ()) = tokio::join!(ask, retire);
        assert!(answer.is_ok(), "a caller that waits for it still gets it");
        drop(answer);
        assert!(eventually(&cache, || cache.used_bytes() == 0).await);
        cache.bodies.run_pending_tasks().await;
        assert_eq!(cache.bodies.entry_count(), 0);
    }
}

#[derive(Default)]
struct StalledConnection(AtomicBool);

impl Connection for StalledConnection {
    fn bytes_sent(&self) -> u64 {
        0
    }

    fn abort(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn documents_of_retired_views_beyond_the_bound_abort_the_slowest_responses() {
    let cache = cache(1 << 20, 2);
    let mut responses = Vec::new();
    for id in 1..=5 {
        let view = view(id);
        cache.retire_before(id).await;
        let ask = cache.get_or_render(&view, DOCUMENT, Coding::Identity, in_a_second(), || {
            vec![b'x'; 400_000]
        });
        let connection = Arc::new(StalledConnection::default());
        let handle = Arc::clone(&connection) as Arc<dyn Connection>;
        let body = cache.response_bytes(&ask.await.unwrap(), Some(handle));
        responses.push((connection, body));
    }
    cache.retire_before(6).await;
    for _ in 0..50 {
        advance(Duration::from_millis(100)).await;
        yield_now().await;
        responses.retain(|(connection, _)| !connection.0.load(Ordering::Relaxed));
    }
    assert_eq!(responses.len(), 2);
    assert!(cache.used_bytes() <= 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_response_that_is_not_read_is_aborted_when_another_body_needs_its_memory() {
    let (cache, view) = (cache(1 << 20, 1), view(1));
    let render = || vec![b'x'; 900_000];
    let first =
        cache.get_or_render(&view, filtered("a"), Coding::Identity, in_a_second(), render).await;
    let connection = Arc::new(StalledConnection::default());
    let handle = Arc::clone(&connection) as Arc<dyn Connection>;
    let body = cache.response_bytes(&first.unwrap(), Some(handle));
    let close = async {
        while !connection.0.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(10)).await;
        }
        drop(body);
    };
    let second = cache.get_or_render(&view, filtered("b"), Coding::Identity, in_a_second(), render);
    let (second, ()) = tokio::join!(second, close);
    assert!(second.is_ok());
}
