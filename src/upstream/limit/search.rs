//! Searches for the concurrency limit with the highest throughput, by hill climbing in steps of
//! one. Does no I/O and reads no clock.
//!
//! **Comparison.** By Little's law, throughput is calls in flight ÷ latency. If calls did not slow
//! each other down, a step from `n` to `n + 1` would gain `1/n`; a step counts as a *gain* if it
//! brings at least [`MIN_GAIN`] of that. Each source is compared with itself, because sources
//! differ far more from each other than one limit from the next, and a refresh makes only a few
//! calls.
//!
//! **Movement.** The limit rises while steps are gains. A step that is not a gain is taken back,
//! and the search settles on the limit before it. It settles only on a limit that was itself
//! reached by a gain; otherwise it goes on downward until a limit is. While settled, it probes the
//! neighbouring limits after some calls, upward and downward in turn and ever more rarely, and at
//! once when latency has drifted. Overload lowers the limit whatever the measurements: calls that
//! all time out have equal latencies, which look like a steady state.

use std::collections::BTreeMap;

/// The smallest share of the best possible gain that makes a step worthwhile.
///
/// Users report latencies of 1.5 s for one call and 4 s for seven at once. If latency grows with
/// the square of the number of other calls, the step from 3 to 4 brings 38 % of the best gain and
/// the step from 4 to 5 brings 8 %; if it grows linearly, the step from 7 to 8 still brings 26 %.
const MIN_GAIN: f64 = 0.10;

/// How many windows a comparison takes at most. Then it is decided even if it is not significant.
const MAX_COMPARISON_WINDOWS: u32 = 3;

/// The weight of a new sample once a source has many.
const MIN_SAMPLE_WEIGHT: f64 = 0.4;

/// If latency has changed by this factor, up or down, earlier measurements no longer hold.
const DRIFT_RATIO: f64 = 1.25;

/// How many samples a settled search takes before it probes a neighbouring limit: about four
/// refreshes. Each probe without a gain doubles the number.
const FIRST_HOLD_SAMPLES: u32 = 32;
/// The most samples between two probes.
const MAX_HOLD_SAMPLES: u32 = 256;

/// The measurements at one limit.
#[derive(Clone, Debug, Default)]
struct Level {
    windows: u32,
    sources: BTreeMap<usize, SourceSamples>,
}

/// The measurements of one source: means of logarithms, because noise and comparisons are ratios.
#[derive(Clone, Copy, Debug, Default)]
struct SourceSamples {
    calls: u32,
    ln_in_flight: f64,
    ln_latency: f64,
}

impl SourceSamples {
    fn add(&mut self, ln_in_flight: f64, ln_latency: f64) {
        self.calls = self.calls.saturating_add(1);
        let weight = f64::from(self.calls).recip().max(MIN_SAMPLE_WEIGHT);
        self.ln_in_flight += (ln_in_flight - self.ln_in_flight) * weight;
        self.ln_latency += (ln_latency - self.ln_latency) * weight;
    }
}

/// The result of comparing two neighbouring limits.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Comparison {
    is_gain: bool,
    /// Whether the result is unlikely to be noise.
    is_significant: bool,
}

impl Level {
    /// Whether the step from `self` up to `upper` is a gain; `None` if no source was measured at
    /// both.
    fn compare_with(&self, upper: &Self) -> Option<Comparison> {
        let surplus = self.sources.iter().filter_map(|(source, lower)| {
            let upper = upper.sources.get(source)?;
            let best = upper.ln_in_flight - lower.ln_in_flight;
            let slower = upper.ln_latency - lower.ln_latency;
            Some(best - slower - MIN_GAIN * best)
        });
        let (mean, error) = mean_and_standard_error(surplus)?;
        Some(Comparison { is_gain: mean >= 0.0, is_significant: mean.abs() >= 2.0 * error })
    }

    /// The logarithm of the ratio of the present latency to that of `before`, averaged over
    /// sources.
    fn drift_since(&self, before: &Self) -> Option<f64> {
        let ratios = self.sources.iter().filter_map(|(source, now)| {
            let before = before.sources.get(source)?;
            Some(now.ln_latency - before.ln_latency)
        });
        mean_and_standard_error(ratios).map(|(mean, _)| mean)
    }
}

/// The mean and its standard error, which is infinite for a single value.
fn mean_and_standard_error(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        let deviation = value - mean;
        mean += deviation / count;
        squares += deviation * (value - mean);
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
    /// Trying limits in one direction. `previous` holds the measurements before the last step;
    /// `None` before the first.
    Moving { direction: Direction, previous: Option<Level> },
    /// Staying at a limit. `baseline` holds its measurements at the time of settling,
    /// `samples_left` the samples until the next probe.
    Settled { baseline: Level, samples_left: u32 },
}

impl Phase {
    const START: Self = Self::Moving { direction: Direction::Up, previous: None };
}

/// The search for a limit between 1 and a maximum.
#[derive(Debug)]
pub(super) struct Search {
    limit: usize,
    max_limit: usize,
    /// The measurements at `limit`.
    current: Level,
    phase: Phase,
    /// Whether the step up to `limit` was found to be a gain.
    is_proven: bool,
    next_probe: Direction,
    hold_samples: u32,
    last_settled_limit: usize,
    samples: u32,
}

impl Search {
    pub(super) fn new(limit: usize, max_limit: usize) -> Self {
        Self {
            limit,
            max_limit,
            current: Level::default(),
            phase: Phase::START,
            is_proven: limit == 1,
            next_probe: Direction::Up,
            hold_samples: FIRST_HOLD_SAMPLES,
            last_settled_limit: 0,
            samples: 0,
        }
    }

    /// Goes on from a limit that an earlier search found, within the bounds of this one.
    pub(super) fn adopt(&mut self, limit: usize) {
        let limit = limit.clamp(1, self.max_limit);
        *self = Self { is_proven: true, ..Self::new(limit, self.max_limit) };
    }

    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Records an answered call that ran wholly under the present limit and used it up: the average
    /// number of calls in flight, itself included, and its latency in seconds. Both are above zero.
    pub(super) fn record(&mut self, source: usize, in_flight: f64, latency: f64) {
        self.samples += 1;
        self.current.sources.entry(source).or_default().add(in_flight.ln(), latency.ln());
    }

    /// Whether the step up that is being tried may have caused a failure of this source, because
    /// the source answered before the step.
    pub(super) fn step_may_have_caused(&self, source: usize) -> bool {
        match &self.phase {
            Phase::Moving { direction: Direction::Up, previous: Some(previous) } => {
                previous.sources.contains_key(&source)
            }
            Phase::Moving { .. } | Phase::Settled { .. } => false,
        }
    }

    /// Takes the phase out, and leaves the start of a move up.
    fn take_phase(&mut self) -> Phase {
        std::mem::replace(&mut self.phase, Phase::START)
    }

    /// Lowers the limit, because the upstream is overloaded.
    pub(super) fn back_off(&mut self) {
        match self.take_phase() {
            Phase::Moving { direction: Direction::Up, previous: Some(previous) } => {
                self.limit -= 1;
                self.current = previous;
                self.settle();
            }
            Phase::Moving { .. } | Phase::Settled { .. } => {
                self.limit = (self.limit * 9 / 10).max(1);
                self.current = Level::default();
                self.is_proven = self.limit == 1;
            }
        }
        self.samples = 0;
    }

    /// Ends a window, usually a refresh. `waited` says whether any call had to wait for a permit.
    pub(super) fn end_window(&mut self, waited: bool) {
        let samples = std::mem::take(&mut self.samples);
        if samples == 0 {
            return;
        }
        self.current.windows = self.current.windows.saturating_add(1);
        match self.take_phase() {
            Phase::Settled { baseline, samples_left } => {
                self.check_settled(baseline, samples_left.saturating_sub(samples), waited);
            }
            Phase::Moving { direction, previous: None } => self.take_step(direction, waited),
            Phase::Moving { direction, previous: Some(previous) } => {
                self.compare(direction, previous, waited);
            }
        }
    }

    /// Measures anew if latency has drifted, or probes a neighbour when it is time.
    fn check_settled(&mut self, baseline: Level, samples_left: u32, waited: bool) {
        let drift = self.current.drift_since(&baseline).unwrap_or_default();
        if drift.abs() > DRIFT_RATIO.ln() {
            self.current = Level::default();
            self.hold_samples = FIRST_HOLD_SAMPLES;
            let direction = if drift > 0.0 { Direction::Down } else { Direction::Up };
            self.phase = Phase::Moving { direction, previous: None };
        } else if samples_left == 0 {
            let direction = self.next_probe;
            self.next_probe = match direction {
                Direction::Up => Direction::Down,
                Direction::Down => Direction::Up,
            };
            self.take_step(direction, waited);
        } else {
            self.phase = Phase::Settled { baseline, samples_left };
        }
    }

    /// Decides about the last step, unless more windows may make the comparison significant.
    fn compare(&mut self, direction: Direction, previous: Level, waited: bool) {
        let (lower, upper) = match direction {
            Direction::Up => (&previous, &self.current),
            Direction::Down => (&self.current, &previous),
        };
        let comparison = lower.compare_with(upper);
        let may_wait = self.current.windows < MAX_COMPARISON_WINDOWS;
        let Some(comparison) =
            comparison.filter(|comparison| comparison.is_significant || !may_wait).or_else(|| {
                // After all that time, a step that cannot be shown to be a gain counts as none.
                (!may_wait).then_some(Comparison { is_gain: false, is_significant: false })
            })
        else {
            self.phase = Phase::Moving { direction, previous: Some(previous) };
            return;
        };
        match (direction, comparison.is_gain) {
            (Direction::Up, true) => {
                self.is_proven = true;
                self.take_step(Direction::Up, waited);
            }
            (Direction::Up, false) => {
                self.limit -= 1;
                self.current = previous;
                if self.is_proven { self.settle() } else { self.take_step(Direction::Down, waited) }
            }
            (Direction::Down, true) => {
                self.limit += 1;
                self.current = previous;
                self.settle();
            }
            (Direction::Down, false) => self.take_step(Direction::Down, waited),
        }
    }

    /// Takes a step, or settles if none is possible.
    fn take_step(&mut self, direction: Direction, waited: bool) {
        let to = match direction {
            // If no call waits, a higher limit would not be used, and could not be measured.
            Direction::Up if waited && self.limit < self.max_limit => self.limit + 1,
            Direction::Down if self.limit > 1 => self.limit - 1,
            Direction::Up | Direction::Down => return self.settle(),
        };
        self.limit = to;
        self.phase = Phase::Moving { direction, previous: Some(std::mem::take(&mut self.current)) };
    }

    fn settle(&mut self) {
        self.hold_samples = if self.last_settled_limit == self.limit {
            (self.hold_samples * 2).min(MAX_HOLD_SAMPLES)
        } else {
            FIRST_HOLD_SAMPLES
        };
        self.last_settled_limit = self.limit;
        self.is_proven = true;
        self.phase =
            Phase::Settled { baseline: self.current.clone(), samples_left: self.hold_samples };
    }
}

#[cfg(test)]
mod tests;
