//! Incidents over time, by priority, as a few dozen bars.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::display::{DisplayTime, count, duration};
use super::links;
use crate::decode::Priority;
use crate::render::Filter;

/// The most bars of a chart.
const MAX_BARS: usize = 60;

/// The height of the highest bar, in percent of the height of the chart.
const MAX_BAR_HEIGHT: f64 = 94.0;

/// The least height of a bar's part, in percent, so that a single incident is visible next to
/// thousands. [`MAX_BAR_HEIGHT`] leaves space for four such parts.
const MIN_PART_HEIGHT: f64 = 1.5;

/// Bars have no links if the filter's query is longer than this, because each link repeats it.
const MAX_LINKED_QUERY_BYTES: usize = 2_048;

/// The possible durations of a bar, in seconds.
const STEPS_SECONDS: [f64; 20] = [
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

/// The share of the incidents that may be omitted from the chart because they are much older than
/// the rest.
const OUTLIER_SHARE: f64 = 0.005;

/// Incidents further in the future than this are omitted: their time must be wrong.
const MAX_FUTURE_SECONDS: f64 = 86_400.0;

/// The number of incidents of each priority in each interval of time.
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
        let Some((low, high)) = bounds(incidents, now + MAX_FUTURE_SECONDS) else {
            return Self { outside: incidents.len(), ..Self::default() };
        };
        let fits = |step: &f64| (high / step).floor() - (low / step).floor() < MAX_BARS as f64;
        let step = STEPS_SECONDS
            .into_iter()
            .find(|step| fits(step))
            .unwrap_or((high - low) / (MAX_BARS - 1) as f64);
        let begin = (low / step).floor() * step;
        let mut timeline = Self { begin, step, bars: Vec::new(), outside: 0 };
        for &(timestamp, priority) in incidents {
            let bar = ((timestamp - begin) / step).floor();
            if timestamp < low || timestamp > high || !(0.0..MAX_BARS as f64).contains(&bar) {
                timeline.outside += 1;
                continue;
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it is within 0..MAX_BARS"
            )]
            let bar = bar as usize;
            if bar >= timeline.bars.len() {
                timeline.bars.resize(bar + 1, [0; 4]);
            }
            timeline.bars[bar][priority as usize] += 1;
        }
        timeline
    }

    /// The chart for a page, whose bars lead to the page with the filter of their interval. A bar
    /// is one unit wide, and the chart is 100 units high.
    pub(super) fn chart(
        &self,
        filter: &Filter,
        names: &[Arc<str>],
        now: SystemTime,
        href: impl Fn(&Filter) -> String,
    ) -> Chart {
        let highest =
            self.bars.iter().map(|bar| bar.iter().sum::<usize>()).max().unwrap_or_default();
        let has_links = links::query(filter, names, 0).len() <= MAX_LINKED_QUERY_BYTES;
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
                        let height = (counts[priority as usize] as f64 / highest as f64
                            * MAX_BAR_HEIGHT)
                            .max(MIN_PART_HEIGHT);
                        top -= height;
                        Part {
                            priority: priority.as_str(),
                            y: format!("{top:.2}"),
                            height: format!("{height:.2}"),
                        }
                    });
                Bar {
                    x: index,
                    time: DisplayTime::new(since, now),
                    href: has_links.then(|| href(&within)),
                    parts: parts.collect(),
                    counts: [3, 2, 1, 0].map(|priority| count(counts[priority])),
                }
            },
        );
        let edge = |bar: usize| DisplayTime::new(self.begin + bar as f64 * self.step, now);
        Chart {
            width: self.bars.len().max(1),
            highest: count(highest),
            step: duration(self.step),
            begin: edge(0),
            end: edge(self.bars.len()),
            outside: self.outside,
            bars: bars.collect(),
        }
    }
}

/// The first and the last time on the chart: those of all incidents up to `latest`. A few of the
/// oldest are omitted if they would squeeze the rest into one bar. The newest never are, since they
/// matter most.
fn bounds(incidents: &[(f64, Priority)], latest: f64) -> Option<(f64, f64)> {
    let mut times: Vec<f64> =
        incidents.iter().map(|(timestamp, _)| *timestamp).filter(|time| *time <= latest).collect();
    let count = times.len();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a count"
    )]
    let outliers = ((count as f64 * OUTLIER_SHARE).ceil() as usize).min(count.checked_sub(1)? / 2);
    let mut nth = |index: usize| *times.select_nth_unstable_by(index, f64::total_cmp).1;
    let (first, low, last) = (nth(0), nth(outliers), nth(count - 1));
    let margin = (last - low) * 0.5;
    Some((if first < low - margin { low } else { first }, last))
}

/// The chart as the template draws it, and lists it in numbers.
pub(super) struct Chart {
    pub(super) width: usize,
    pub(super) highest: String,
    pub(super) step: String,
    pub(super) begin: DisplayTime,
    pub(super) end: DisplayTime,
    pub(super) outside: usize,
    pub(super) bars: Vec<Bar>,
}

pub(super) struct Bar {
    pub(super) x: usize,
    pub(super) time: DisplayTime,
    /// The page of this interval.
    pub(super) href: Option<String>,
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
    fn every_incident_is_counted_in_a_bar_or_as_outside() {
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
            assert!(timeline.bars.len() <= MAX_BARS);
        }
    }

    #[test]
    fn a_few_outliers_do_not_squeeze_the_rest_into_one_bar() {
        let times: Vec<f64> =
            (0..1000).map(|hour| 1.6e9 + f64::from(hour) * 3600.0).chain([0.0, 3e9]).collect();
        let timeline = timeline(&times);
        assert!((2..=10).contains(&timeline.outside), "{}", timeline.outside);
        assert!(timeline.bars.len() > 20);
        assert!((timeline.step - 86_400.0).abs() < 1.0);
    }
}
