//! Incidents over time, by priority, as a few dozen bars.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::links;
use super::shown::{Moment, count};
use crate::decode::Priority;
use crate::render::Filter;

/// The most bars.
const MOST_BARS: usize = 60;

/// How high the highest bar is, of a hundred, and the least of its parts: a lone incident is seen
/// beside thousands, and four such parts find room above.
const TALLEST: f64 = 94.0;
const LEAST: f64 = 1.5;

/// Lengths of a bar that people think in, in seconds.
const STEPS: [f64; 20] = [
    1.0,
    5.0,
    15.0,
    60.0,
    300.0,
    900.0,
    1_800.0,
    3_600.0,
    10_800.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    604_800.0,
    1_209_600.0,
    2_419_200.0,
    7_862_400.0,
    31_557_600.0,
    157_788_000.0,
    315_576_000.0,
];

/// The share of the oldest incidents that may lie outside of the picture when they lie far outside.
const TAIL: f64 = 0.005;

/// How many seconds after the present an incident may be; what is later has a wrong time, and lies
/// outside.
const SKEW: f64 = 86_400.0;

/// How many incidents of each priority there are in each stretch of time.
#[derive(Default)]
pub(super) struct Timeline {
    begin: f64,
    step: f64,
    bars: Vec<[usize; 4]>,
    outside: usize,
}

impl Timeline {
    pub(super) fn new(incidents: &[(f64, Priority)], now: SystemTime) -> Self {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let Some((low, high)) = bounds(incidents, now + SKEW) else {
            return Self { outside: incidents.len(), ..Self::default() };
        };
        let fits = |step: &f64| (high / step).floor() - (low / step).floor() < MOST_BARS as f64;
        let step = STEPS
            .into_iter()
            .find(|step| fits(step))
            .unwrap_or((high - low) / (MOST_BARS - 1) as f64);
        let begin = (low / step).floor() * step;
        let mut timeline = Self { begin, step, bars: Vec::new(), outside: 0 };
        for &(timestamp, priority) in incidents {
            let place = ((timestamp - begin) / step).floor();
            if timestamp < low || timestamp > high || !(0.0..MOST_BARS as f64).contains(&place) {
                timeline.outside += 1;
                continue;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is within 0..MOST_BARS"
            )]
            let place = place as usize;
            if place >= timeline.bars.len() {
                timeline.bars.resize(place + 1, [0; 4]);
            }
            timeline.bars[place][priority as usize] += 1;
        }
        timeline
    }

    /// As the page draws it: a unit wide a bar, a hundred units high.
    pub(super) fn chart(&self, filter: &Filter, names: &[Arc<str>], now: SystemTime) -> Chart {
        let highest =
            self.bars.iter().map(|bar| bar.iter().sum::<usize>()).max().unwrap_or_default();
        let bars = self.bars.iter().enumerate().filter(|(_, counts)| **counts != [0; 4]).map(
            |(index, counts)| {
                let since = self.begin + index as f64 * self.step;
                let within =
                    Filter { since: Some(since), until: Some(since + self.step), ..filter.clone() };
                let mut top = 100.0;
                let parts = Priority::ALL
                    .into_iter()
                    .rev()
                    .filter(|priority| counts[*priority as usize] > 0)
                    .map(|priority| {
                        let height = (counts[priority as usize] as f64 / highest as f64 * TALLEST)
                            .max(LEAST);
                        top -= height;
                        Part {
                            priority: priority.as_str(),
                            y: format!("{top:.2}"),
                            height: format!("{height:.2}"),
                        }
                    });
                Bar {
                    x: index,
                    moment: Moment::new(since, now),
                    href: format!("/{}", links::query(&within, names, 0)),
                    parts: parts.collect(),
                    counts: [3, 2, 1, 0].map(|priority| count(counts[priority])),
                }
            },
        );
        let edge = |bar: usize| Moment::new(self.begin + bar as f64 * self.step, now);
        Chart {
            width: self.bars.len().max(1),
            highest: count(highest),
            step: super::shown::span(self.step),
            begin: edge(0),
            end: edge(self.bars.len()),
            outside: self.outside,
            bars: bars.collect(),
        }
    }
}

/// Between which times the picture lies: all of them up to `latest`, unless a few are so old that
/// the rest would be one bar. The newest are never left out for that: they matter most.
fn bounds(incidents: &[(f64, Priority)], latest: f64) -> Option<(f64, f64)> {
    let mut times: Vec<f64> =
        incidents.iter().map(|(timestamp, _)| *timestamp).filter(|time| *time <= latest).collect();
    let count = times.len();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    let tail = ((count as f64 * TAIL).ceil() as usize).min(count.checked_sub(1)? / 2);
    let mut nth = |index: usize| *times.select_nth_unstable_by(index, f64::total_cmp).1;
    let (first, low, last) = (nth(0), nth(tail), nth(count - 1));
    let room = (last - low) * 0.5;
    Some((if first < low - room { low } else { first }, last))
}

/// The drawing, with the same in numbers.
pub(super) struct Chart {
    pub(super) width: usize,
    pub(super) highest: String,
    pub(super) step: String,
    pub(super) begin: Moment,
    pub(super) end: Moment,
    pub(super) outside: usize,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) moment: Moment,
    pub(super) href: String,
    pub(super) parts: Vec<Part>,
    /// Critical first.
    pub(super) counts: [String; 4],
}

pub(super) struct Part {
    pub(super) priority: &'static str,
    pub(super) y: String,
    pub(super) height: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(times: &[f64]) -> Timeline {
        let incidents: Vec<_> = times.iter().map(|&time| (time, Priority::Critical)).collect();
        Timeline::new(&incidents, UNIX_EPOCH + std::time::Duration::from_secs(2_000_000_000))
    }

    #[test]
    fn every_incident_is_in_a_bar_or_outside() {
        for times in [
            vec![],
            vec![1e300],
            vec![-1e308, 1e308],
            vec![0.1, 0.2],
            (0..1000).map(f64::from).collect(),
            (0..1000).map(|day| f64::from(day) * 86_400.0).chain([0.0, 1e17, -1e17]).collect(),
            vec![5.0; 9],
        ] {
            let timeline = timeline(&times);
            let drawn: usize = timeline.bars.iter().flatten().sum();
            assert_eq!(drawn + timeline.outside, times.len());
            assert!(timeline.bars.len() <= MOST_BARS);
        }
    }

    #[test]
    fn a_few_stray_times_do_not_squeeze_the_rest() {
        let times: Vec<f64> =
            (0..1000).map(|hour| 1.6e9 + f64::from(hour) * 3600.0).chain([0.0, 3e9]).collect();
        let timeline = timeline(&times);
        assert!((2..=10).contains(&timeline.outside), "{}", timeline.outside);
        assert!(timeline.bars.len() > 20);
        assert!((timeline.step - 86_400.0).abs() < 1.0);
    }
}
