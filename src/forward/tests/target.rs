//! A scripted receiver.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use crate::config::Forward;
use crate::forward::settings::Destination;
use crate::forward::{Accepted, Batch, ItemStatus, Reply};
use crate::store::{HistoryRow, StableId};

/// How the receiver answers a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It takes the batch, or blames it if there is poison in it.
    Honest,
    /// It takes the batch, and the answer is lost.
    Lost,
    /// The request fails, with `Retry-After` in seconds.
    Failed(Option<u64>),
    /// It refuses what has more records than this.
    TooLarge(usize),
    /// It answers nothing to what has more records than this.
    Overwhelmed(usize),
    /// It takes the request and answers nothing until the client gives up.
    Hang,
    /// It answers for each record; the status of the others is 201.
    Items(Vec<(i64, u16)>),
    /// It answers for so many records more than there are.
    WrongItems(usize),
}

/// Makes random answers for the records with these numbers.
pub(super) type RandomAnswers = (fastrand::Rng, fn(&mut fastrand::Rng, &[i64]) -> Answer);

/// A request, with the numbers of its records.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) at: Instant,
    pub(super) numbers: Vec<i64>,
}

#[derive(Debug, Default)]
struct Log {
    requests: Vec<Request>,
    /// The numbers of the records that were taken, in this order.
    taken: Vec<i64>,
    answers: VecDeque<Answer>,
    poison: BTreeSet<i64>,
    delay: Duration,
    in_flight: usize,
    /// Makes random answers when there are no others.
    random: Option<RandomAnswers>,
}

/// What a receiver got and how it answers. Processes share it.
#[derive(Debug, Default)]
pub(super) struct Target(Mutex<Log>);

impl Target {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("nothing panics")
    }

    /// Sets the next answers; those that follow are honest.
    pub(super) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.log().answers = answers.into_iter().collect();
    }

    /// Sets how requests are answered from now on.
    pub(super) fn randomize(&self, random: Option<RandomAnswers>) {
        self.log().random = random;
    }

    /// Sets which records are refused for good.
    pub(super) fn poison(&self, numbers: impl IntoIterator<Item = i64>) {
        self.log().poison.extend(numbers);
    }

    pub(super) fn poisoned(&self) -> BTreeSet<i64> {
        self.log().poison.clone()
    }

    /// Sets how long each answer takes.
    pub(super) fn delay(&self, delay: Duration) {
        self.log().delay = delay;
    }

    pub(super) fn requests(&self) -> Vec<Request> {
        self.log().requests.clone()
    }

    /// The numbers of the records of each request.
    pub(super) fn batches(&self) -> Vec<Vec<i64>> {
        self.log().requests.iter().map(|request| request.numbers.clone()).collect()
    }

    /// The numbers of the records that were taken, in this order.
    pub(super) fn taken(&self) -> Vec<i64> {
        self.log().taken.clone()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.log().in_flight
    }

    async fn answer(&self, numbers: Vec<i64>, timeout: Duration) -> Reply {
        let (delay, answer) = {
            let mut log = self.log();
            log.requests.push(Request { at: Instant::now(), numbers: numbers.clone() });
            let scripted = log.answers.pop_front();
            let random = match &mut log.random {
                Some((random, answer)) if scripted.is_none() => Some(answer(random, &numbers)),
                _ => None,
            };
            (log.delay, scripted.or(random).unwrap_or(Answer::Honest))
        };
        sleep(delay).await;
        let unanswered = |detail: &str| Reply::Failed {
            detail: detail.to_owned(),
            retry_after: None,
            is_unanswered: true,
        };
        let blamed = |status| Reply::Blamed { status, answer: "no".to_owned() };
        match answer {
            Answer::Failed(seconds) => Reply::Failed {
                detail: "the receiver answered 503".to_owned(),
                retry_after: seconds.map(Duration::from_secs),
                is_unanswered: false,
            },
            Answer::TooLarge(most) if numbers.len() > most => blamed(413),
            Answer::Overwhelmed(most) if numbers.len() > most => {
                unanswered("the connection was closed")
            }
            Answer::Hang => {
                sleep(timeout.saturating_sub(delay)).await;
                unanswered("the receiver does not answer")
            }
            Answer::WrongItems(items) => {
                let item = ItemStatus { status: 201, error: String::new() };
                Reply::Done(Accepted::Items(vec![item; numbers.len() + items]))
            }
            Answer::Items(statuses) => {
                let mut log = self.log();
                let status = |number: &i64| {
                    let found = statuses.iter().find(|(of, _)| of == number);
                    let poison = log.poison.contains(number).then_some(400);
                    poison.or(found.map(|(_, status)| *status)).unwrap_or(201)
                };
                let statuses: Vec<u16> = numbers.iter().map(status).collect();
                let taken = numbers.iter().zip(&statuses).filter(|(_, status)| **status == 201);
                log.taken.extend(taken.map(|(number, _)| *number));
                let item = |status| ItemStatus { status, error: "item".to_owned() };
                Reply::Done(Accepted::Items(statuses.into_iter().map(item).collect()))
            }
            Answer::Honest | Answer::Lost | Answer::TooLarge(_) | Answer::Overwhelmed(_) => {
                let mut log = self.log();
                if numbers.iter().any(|number| log.poison.contains(number)) {
                    return blamed(400);
                }
                log.taken.extend(numbers);
                match answer {
                    Answer::Lost => unanswered("the connection was closed"),
                    _ => Reply::Done(Accepted::All),
                }
            }
        }
    }
}

/// What a process sends to a receiver.
#[derive(Debug)]
pub(super) struct Outlet {
    pub(super) forward: Forward,
    target: Arc<Target>,
    in_flight: Mutex<usize>,
}

impl Outlet {
    pub(super) fn new(forward: Forward, target: &Arc<Target>) -> Arc<Self> {
        Arc::new(Self { forward, target: Arc::clone(target), in_flight: Mutex::new(0) })
    }
}

impl Destination for Outlet {
    fn config(&self) -> &Forward {
        &self.forward
    }

    fn is_like(&self, other: &Self) -> bool {
        self.forward == other.forward
    }

    /// A body has the numbers of its records.
    fn encode(&self, rows: &[HistoryRow], _: SystemTime) -> Batch {
        assert!(!rows.is_empty() && rows.len() <= self.forward.batch.max_records);
        let mut bytes = 0;
        let fits = |row: &&HistoryRow| {
            bytes += row.bytes.len() + 10;
            bytes <= self.forward.batch.max_bytes
        };
        let records = rows.iter().take_while(fits).count().max(1);
        let numbers = rows[..records].iter().flat_map(|row| row.number.to_le_bytes());
        Batch { body: numbers.collect::<Vec<u8>>().into(), records }
    }

    async fn send(&self, batch: Batch, ids: Vec<StableId>) -> Reply {
        struct InFlight<'a>(&'a Outlet);
        impl Drop for InFlight<'_> {
            fn drop(&mut self) {
                *self.0.in_flight.lock().unwrap() -= 1;
                self.0.target.log().in_flight -= 1;
            }
        }
        let numbers = batch.body.chunks_exact(8).map(|number| number.try_into().unwrap());
        let numbers: Vec<i64> = numbers.map(i64::from_le_bytes).collect();
        assert_eq!((numbers.len(), ids.len()), (batch.records, batch.records));
        {
            let mut in_flight = self.in_flight.lock().unwrap();
            *in_flight += 1;
            assert_eq!(*in_flight, 1, "one request is in flight");
        }
        self.target.log().in_flight += 1;
        let _in_flight = InFlight(self);
        self.target.answer(numbers, self.forward.timeout).await
    }
}
