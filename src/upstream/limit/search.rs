//! Which limit to try next: a hill climb on throughput, one step at a time. Pure; knows no clock.
//!
//! **What is compared.** By Little's law, calls in flight ÷ latency is throughput. If calls did not
//! slow each other, a step from `n` to `n + 1` would bring `1/n` more of it; a step is *worth it*
//! when it brings at least [`WORTH`] of that. Each source is compared with itself, since sources
//! differ far more from each other than from one limit to the next, and a refresh has only a
//! handful of calls.
//!
//! **How it moves.** Up while the step was worth it; where it was not, back, and there it settles.
//! A level is only settled on once the step *into* it was found worth it; otherwise the search goes
//! down until one is. While settled, it looks again after some calls, upward and downward in turn,
//! ever more rarely; and at once when latency has moved away from what it was. Congestion lowers
//! the limit whatever the figures say: calls that all time out are wonderfully alike, and to any
//! statistic of latencies look like calm.

use std::collections::BTreeMap;

/// The part of what a step would bring at best that makes it worth taking.
///
/// With the latency that users report (alone 1.5 s, seven at once 4 s) growing with the square of
/// the calls beside, the step from 3 to 4 brings 38 % and the one to 5 8 %; growing linearly, the
/// step from 7 to 8 still brings 26 %.
const WORTH: f64 = 0.10;

/// A comparison is taken as it is after so many windows, however noisy.
const PATIENCE: u32 = 3;

/// The weight of a new measurement at a level that has been measured for long.
const ALPHA: f64 = 0.4;

/// Latency that is so many times what it was, or one part in so many, is another upstream: measure
/// anew.
const DRIFT: f64 = 1.25;

/// After so many measurements at a settled level it looks whether a neighbour has become better
/// (about four refreshes); each look in vain doubles it.
const FIRST_HOLD: u32 = 32;
const LONGEST_HOLD: u32 = 256;

/// What was measured at one limit.
#[derive(Clone, Debug, Default)]
struct Level {
    windows: u32,
    sources: BTreeMap<usize, Run>,
}

/// How the calls of one source ran: means of logarithms, since noise and comparisons are ratios.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    calls: u32,
    ln_in_flight: f64,
    ln_latency: f64,
}

impl Run {
    fn add(&mut self, ln_in_flight: f64, ln_latency: f64) {
        self.calls = self.calls.saturating_add(1);
        let weight = f64::from(self.calls).recip().max(ALPHA);
        self.ln_in_flight += (ln_in_flight - self.ln_in_flight) * weight;
        self.ln_latency += (ln_latency - self.ln_latency) * weight;
    }
}

/// The verdict on a step between two levels.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Verdict {
    worth: bool,
    /// Whether noise is unlikely to have made it.
    sure: bool,
}

impl Level {
    /// Whether the step from `self` up to `upper` was worth it; `None` when no source was measured
    /// on both sides.
    fn judge(&self, upper: &Self) -> Option<Verdict> {
        let surplus = self.sources.iter().filter_map(|(source, lower)| {
            let upper = upper.sources.get(source)?;
            let best = upper.ln_in_flight - lower.ln_in_flight;
            let slower = upper.ln_latency - lower.ln_latency;
            Some(best - slower - WORTH * best)
        });
        let (mean, error) = mean_and_error(surplus)?;
        Some(Verdict { worth: mean >= 0.0, sure: mean.abs() >= 2.0 * error })
    }

    /// How latency has moved since `before`: the logarithm of the ratio, averaged over sources.
    fn drift_since(&self, before: &Self) -> Option<f64> {
        let ratios = self.sources.iter().filter_map(|(source, now)| {
            let before = before.sources.get(source)?;
            Some(now.ln_latency - before.ln_latency)
        });
        mean_and_error(ratios).map(|(mean, _)| mean)
    }
}

/// The mean and its standard error; a lone value has an infinite error.
fn mean_and_error(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let off = value - mean;
        mean += off / count;
        squares += off * (value - mean);
    }
    match count {
        0.0 => None,
        1.0 => Some((mean, f64::INFINITY)),
        _ => Some((mean, (squares / (count - 1.0) / count).sqrt())),
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Direction {
    Up,
    Down,
}

#[derive(Debug)]
enum Phase {
    /// Moving; `from` is what was measured where the last step came from, `None` where there was no
    /// step yet.
    Moving { direction: Direction, from: Option<Level> },
    /// At rest; `then` is what was measured here when it came to rest, `left` the measurements
    /// until it looks again.
    Settled { then: Level, left: u32 },
}

/// The search for a limit between 1 and a maximum.
#[derive(Debug)]
pub(super) struct Search {
    limit: usize,
    most: usize,
    /// What has been measured at `limit`.
    here: Level,
    phase: Phase,
    /// Whether the step into `limit` was found worth it.
    proven: bool,
    next_look: Direction,
    hold: u32,
    settled_at: usize,
    measured: u32,
}

impl Search {
    pub(super) fn new(limit: usize, most: usize) -> Self {
        Self {
            limit,
            most,
            here: Level::default(),
            phase: Phase::Moving { direction: Direction::Up, from: None },
            proven: limit == 1,
            next_look: Direction::Up,
            hold: FIRST_HOLD,
            settled_at: 0,
            measured: 0,
        }
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// A call of this source was answered, which ran wholly under the present limit and made use of
    /// it: with so many calls in flight on average, itself included, in so many seconds. Both are
    /// above zero.
    pub(super) fn measured(&mut self, source: usize, in_flight: f64, latency: f64) {
        self.measured += 1;
        self.here.sources.entry(source).or_default().add(in_flight.ln(), latency.ln());
    }

    /// Whether the trouble of this source came with the step up that is being tried: it was
    /// answered before.
    pub(super) fn blames_step(&self, source: usize) -> bool {
        match &self.phase {
            Phase::Moving { direction: Direction::Up, from: Some(from) } => {
                from.sources.contains_key(&source)
            }
            Phase::Moving { .. } | Phase::Settled { .. } => false,
        }
    }

    /// The upstream has too much to do.
    pub(super) fn congested(&mut self) {
        match std::mem::replace(
            &mut self.phase,
            Phase::Moving { direction: Direction::Up, from: None },
        ) {
            Phase::Moving { direction: Direction::Up, from: Some(from) } => {
                self.limit -= 1;
                self.here = from;
                self.settle();
            }
            Phase::Moving { .. } | Phase::Settled { .. } => {
                self.limit = (self.limit * 9 / 10).max(1);
                self.here = Level::default();
                self.proven = self.limit == 1;
            }
        }
        self.measured = 0;
    }

    /// A refresh is over; `waited` says whether any call had to wait for its turn.
    pub(super) fn end_window(&mut self, waited: bool) {
        let measured = std::mem::take(&mut self.measured);
        if measured == 0 {
            return;
        }
        self.here.windows = self.here.windows.saturating_add(1);
        match std::mem::replace(
            &mut self.phase,
            Phase::Moving { direction: Direction::Up, from: None },
        ) {
            Phase::Settled { then, left } => self.rest(then, left.saturating_sub(measured), waited),
            Phase::Moving { direction, from: None } => self.step(direction, waited),
            Phase::Moving { direction, from: Some(from) } => self.compare(direction, from, waited),
        }
    }

    fn rest(&mut self, then: Level, left: u32, waited: bool) {
        let drift = self.here.drift_since(&then).unwrap_or_default();
        if drift.abs() > DRIFT.ln() {
            self.here = Level::default();
            self.hold = FIRST_HOLD;
            let direction = if drift > 0.0 { Direction::Down } else { Direction::Up };
            self.phase = Phase::Moving { direction, from: None };
        } else if left == 0 {
            let look = self.next_look;
            self.next_look = if look == Direction::Up { Direction::Down } else { Direction::Up };
            self.step(look, waited);
        } else {
            self.phase = Phase::Settled { then, left };
        }
    }

    fn compare(&mut self, direction: Direction, from: Level, waited: bool) {
        let (lower, upper) = match direction {
            Direction::Up => (&from, &self.here),
            Direction::Down => (&self.here, &from),
        };
        let verdict = lower.judge(upper);
        let patient = self.here.windows < PATIENCE;
        let Some(verdict) = verdict.filter(|verdict| verdict.sure || !patient).or_else(|| {
            // Nothing to go by after all that time: a step that cannot be shown to be worth it is
            // not.
            (!patient).then_some(Verdict { worth: false, sure: false })
        }) else {
            self.phase = Phase::Moving { direction, from: Some(from) };
            return;
        };
        match (direction, verdict.worth) {
            (Direction::Up, true) => {
                self.proven = true;
                self.step(Direction::Up, waited);
            }
            (Direction::Up, false) => {
                self.limit -= 1;
                self.here = from;
                if self.proven { self.settle() } else { self.step(Direction::Down, waited) }
            }
            (Direction::Down, true) => {
                self.limit += 1;
                self.here = from;
                self.settle();
            }
            (Direction::Down, false) => self.step(Direction::Down, waited),
        }
    }

    /// Takes a step, or settles where there is none to take.
    fn step(&mut self, direction: Direction, waited: bool) {
        let to = match direction {
            // Where nobody waits, a higher limit would not be used, and nothing could be learnt of
            // it.
            Direction::Up if waited && self.limit < self.most => self.limit + 1,
            Direction::Down if self.limit > 1 => self.limit - 1,
            Direction::Up | Direction::Down => return self.settle(),
        };
        self.limit = to;
        self.phase = Phase::Moving { direction, from: Some(std::mem::take(&mut self.here)) };
    }

    fn settle(&mut self) {
        self.hold = if self.settled_at == self.limit {
            (self.hold * 2).min(LONGEST_HOLD)
        } else {
            FIRST_HOLD
        };
        self.settled_at = self.limit;
        self.proven = true;
        self.phase = Phase::Settled { then: self.here.clone(), left: self.hold };
    }
}

#[cfg(test)]
mod tests;
