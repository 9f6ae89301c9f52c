//! What a flood of passwords costs those who have signed in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use crate::support::client::Client;
use crate::support::gateway::good_upstream;
use crate::support::process::Process;
use crate::support::protected_gateway::{basic, bearer, loopback, sha256};

/// The usual cost of `htpasswd -B -C 10`.
const COST: u32 = 10;

const ROUNDS: usize = 5;
const REQUESTS_PER_ROUND: usize = 400;

/// How many attackers guess at once, each from one address after another.
const ATTACKERS: usize = 32;

/// Below this a difference of latencies comes from the scheduler.
const LEAST_P99: Duration = Duration::from_micros(300);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The 99th percentile of the latencies of somebody with a token.
async fn p99(process: &Process, token: &str) -> Duration {
    let mut client = Client::connect(process.address).await.unwrap();
    let mut latencies = Vec::new();
    for _ in 0..REQUESTS_PER_ROUND {
        let began = Instant::now();
        let answer = client.get("/summary", &[("Authorization", token)]).await.unwrap();
        latencies.push(began.elapsed());
        assert_eq!(answer.status, 200);
    }
    latencies.sort();
    latencies[REQUESTS_PER_ROUND * 99 / 100]
}

/// The least value, because what else runs on the machine only adds to it.
fn least(values: Vec<Duration>) -> Duration {
    values.into_iter().min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_passwords_does_not_slow_down_those_with_tokens() {
    let upstream = good_upstream().await;
    let files = tempfile::tempdir().unwrap();
    let (users, tokens) = (files.path().join("users"), files.path().join("tokens"));
    std::fs::write(&users, format!("ann:{}\n", bcrypt::hash("right", COST).unwrap())).unwrap();
    std::fs::write(&tokens, format!("ops:{}\n", sha256("token"))).unwrap();
    let process = Process::serve(
        &upstream.base_url(),
        &[
            ("AUTH__USERS_FILE", users.to_str().unwrap()),
            ("AUTH__TOKENS_FILE", tokens.to_str().unwrap()),
        ],
    )
    .await;
    let token = bearer("token");
    p99(&process, &token).await;

    let is_attacking = Arc::new(AtomicBool::new(false));
    let (address, addresses) = (process.address, Arc::new(AtomicU32::new(0)));
    let (guesses, unanswered) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicUsize::new(0)));
    let attackers: Vec<_> = (0..ATTACKERS)
        .map(|_| {
            let (is_attacking, unanswered) = (Arc::clone(&is_attacking), Arc::clone(&unanswered));
            let (addresses, guesses) = (Arc::clone(&addresses), Arc::clone(&guesses));
            tokio::spawn(async move {
                loop {
                    let source = loopback(addresses.fetch_add(1, Ordering::Relaxed));
                    let mut client = Client::connect_from(source, address).await.unwrap();
                    loop {
                        while !is_attacking.load(Ordering::Relaxed) {
                            sleep(POLL_INTERVAL).await;
                        }
                        let guess = guesses.fetch_add(1, Ordering::Relaxed);
                        // Half of them guess names.
                        let name = if guess % 2 == 0 { "ann" } else { "bob" };
                        let guess = basic(name, &guess.to_string());
                        unanswered.fetch_add(1, Ordering::Relaxed);
                        let answer = client.get("/", &[("Authorization", &guess)]).await.unwrap();
                        unanswered.fetch_sub(1, Ordering::Relaxed);
                        match answer.status {
                            401 => {}
                            429 => break,
                            503 => sleep(Duration::from_millis(100)).await,
                            other => panic!("{other}"),
                        }
                    }
                }
            })
        })
        .collect();

    let (mut at_rest, mut attacked) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        at_rest.push(p99(&process, &token).await);
        is_attacking.store(true, Ordering::Relaxed);
        until("the attackers wait", || unanswered.load(Ordering::Relaxed) > ATTACKERS / 2).await;
        attacked.push(p99(&process, &token).await);
        is_attacking.store(false, Ordering::Relaxed);
        until("all have been answered", || unanswered.load(Ordering::Relaxed) == 0).await;
    }
    attackers.iter().for_each(tokio::task::JoinHandle::abort);
    let (at_rest, attacked) = (least(at_rest), least(attacked));
    println!("p99 {attacked:?} under attack, {at_rest:?} at rest");
    assert!(attacked <= 3 * at_rest.max(LEAST_P99), "{attacked:?}, at rest {at_rest:?}");
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(POLL_INTERVAL).await;
        }
    };
    timeout(Duration::from_mins(1), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}
