use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::{advance, timeout};

use super::*;

/// A set of one key, of Ed25519, whose id and content this letter determines.
fn set(letter: char) -> KeySet {
    let x = letter.to_string().repeat(42) + "A";
    let json =
        format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"{letter}","x":"{x}"}}]}}"#);
    KeySet::parse(json.as_bytes()).unwrap()
}

/// An issuer whose fetches take a time and have the result that was set last.
#[derive(Clone)]
struct Issuer {
    letter: Arc<Mutex<Option<char>>>,
    fetches: Arc<AtomicUsize>,
    duration: Duration,
}

impl Issuer {
    fn new(letter: Option<char>, duration: Duration) -> Self {
        Self { letter: Arc::new(Mutex::new(letter)), fetches: Arc::default(), duration }
    }

    fn start(&self) -> KeySource {
        let issuer = self.clone();
        KeySource::start("https://idp.test", move || {
            let issuer = issuer.clone();
            issuer.fetches.fetch_add(1, Ordering::SeqCst);
            async move {
                sleep(issuer.duration).await;
                let letter = *issuer.letter.lock().unwrap();
                letter.map(set).ok_or_else(|| "it is down".to_owned())
            }
        })
    }

    fn set(&self, letter: Option<char>) {
        *self.letter.lock().unwrap() = letter;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

/// Whether the present keys are those of this letter.
fn has(source: &KeySource, letter: char) -> bool {
    source.current().is_some_and(|keys| keys.set == set(letter))
}

const TICK: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_at_once_and_every_ten_minutes() {
    let issuer = Issuer::new(Some('a'), SECOND);
    let source = issuer.start();
    assert!(source.current().is_none());
    source.fetched().await;
    assert!(has(&source, 'a'));
    issuer.set(Some('b'));
    sleep(REFRESH_INTERVAL.saturating_sub(TICK)).await;
    assert_eq!((issuer.fetches(), has(&source, 'a')), (1, true));
    sleep(SECOND + TICK * 2).await;
    assert_eq!((issuer.fetches(), has(&source, 'b')), (2, true));
    sleep(REFRESH_INTERVAL * 10).await;
    assert_eq!(issuer.fetches(), 11);
}

#[tokio::test(start_paused = true)]
async fn requests_fetch_at_most_every_ten_seconds_however_many_there_are() {
    let issuer = Issuer::new(Some('a'), SECOND);
    let source = issuer.start();
    source.fetched().await;
    // The scheduled fetch does not count, so that a new key can be used at once.
    issuer.set(Some('b'));
    for _ in 0..1000 {
        assert!(source.request());
    }
    source.fetched().await;
    assert_eq!((issuer.fetches(), has(&source, 'b')), (2, true));
    for _ in 0..1000 {
        assert!(!source.request());
    }
    sleep(UNKNOWN_KEY_INTERVAL.saturating_sub(SECOND + TICK)).await;
    assert!(!source.request());
    sleep(TICK).await;
    assert!(source.request());
    assert!(source.request());
    source.fetched().await;
    assert_eq!(issuer.fetches(), 3);
    // The next one is due ten minutes after the last.
    sleep(REFRESH_INTERVAL.saturating_sub(TICK)).await;
    assert_eq!(issuer.fetches(), 3);
    sleep(TICK * 2).await;
    assert_eq!(issuer.fetches(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_last_keys_stand_while_the_issuer_is_down() {
    let issuer = Issuer::new(Some('a'), Duration::ZERO);
    let source = issuer.start();
    source.fetched().await;
    issuer.set(None);
    sleep(Duration::from_hours(100)).await;
    assert!(has(&source, 'a'));
    issuer.set(Some('b'));
    sleep(MAX_RETRY_DELAY + TICK).await;
    assert!(has(&source, 'b'));
}

#[tokio::test(start_paused = true)]
async fn failed_fetches_are_repeated_with_growing_waits() {
    let issuer = Issuer::new(None, Duration::ZERO);
    let source = issuer.start();
    source.fetched().await;
    assert!(source.current().is_none());
    for (fetches, wait) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10)] {
        sleep((SECOND * wait).saturating_sub(TICK)).await;
        assert_eq!(issuer.fetches(), fetches, "before a wait of {wait} s is over");
        sleep(TICK).await;
    }
    issuer.set(Some('a'));
    sleep(MAX_RETRY_DELAY + TICK).await;
    assert!(has(&source, 'a'));
    let fetches = issuer.fetches();
    sleep(REFRESH_INTERVAL.saturating_sub(SECOND * 20)).await;
    assert_eq!(issuer.fetches(), fetches);
}

#[tokio::test(start_paused = true)]
async fn the_same_keys_keep_what_they_have_verified() {
    let issuer = Issuer::new(Some('a'), Duration::ZERO);
    let source = issuer.start();
    source.fetched().await;
    let first = source.current().unwrap();
    sleep(REFRESH_INTERVAL + TICK).await;
    assert!(issuer.fetches() == 2 && Arc::ptr_eq(&first, &source.current().unwrap()));
    issuer.set(Some('b'));
    sleep(REFRESH_INTERVAL + TICK).await;
    assert!(!Arc::ptr_eq(&first, &source.current().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_fetch_can_be_given_up() {
    let issuer = Issuer::new(Some('a'), Duration::from_hours(1));
    let source = issuer.start();
    assert!(timeout(SECOND, source.fetched()).await.is_err());
    advance(Duration::from_hours(1)).await;
    source.fetched().await;
    assert!(has(&source, 'a'));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_when_the_source_is_dropped() {
    let issuer = Issuer::new(Some('a'), Duration::ZERO);
    let source = issuer.start();
    source.fetched().await;
    drop(source);
    sleep(REFRESH_INTERVAL * 3).await;
    assert_eq!(issuer.fetches(), 1);
    assert_eq!(Arc::strong_count(&issuer.fetches), 1, "the task holds nothing any more");
}
