//! The times at which a source's records arrive: a fixed number per day, with more in office hours
//! than at night.

use super::rng::Rng;
use crate::demo::ticks::TICKS_PER_SECOND;

const TICKS_PER_HOUR: u64 = 3_600 * TICKS_PER_SECOND;

pub(super) const TICKS_PER_DAY: u64 = 24 * TICKS_PER_HOUR;

/// The share of a day's records that arrives in each hour (UTC), in thousandths.
const HOURLY_SHARES: [u32; 24] = [
    30, 29, 28, 28, 29, 31, 35, 41, 47, 52, 54, 54, 52, 53, 54, 54, 52, 49, 45, 41, 38, 36, 35, 33,
];

/// The arrivals at one source. Records are numbered from the epoch, so that the time of each
/// follows from its number and is the same in every run of the program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    /// At least 1.
    pub(super) per_day: u64,
    pub(super) seed: u64,
}

impl Arrivals {
    /// The time of the record with this number, in ticks. Times ascend with numbers.
    pub(super) fn time(self, number: u64) -> u64 {
        let (day, of_day) = (number / self.per_day, number % self.per_day);
        let jitter = unit_interval(Rng::new(self.seed, number).next());
        let mut rest = (of_day as f64 + jitter) / self.per_day as f64 * 1_000.0;
        let mut hour = 0;
        for share in HOURLY_SHARES.map(f64::from) {
            if rest < share {
                rest /= share;
                break;
            }
            rest -= share;
            hour += 1;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of an hour, from 0 to 1"
        )]
        let within_hour = (rest * TICKS_PER_HOUR as f64) as u64;
        day * TICKS_PER_DAY + hour * TICKS_PER_HOUR + within_hour
    }

    /// How many records have arrived by `now` (in ticks), which is also the number of the next.
    pub(super) fn count_by(self, now: u64) -> u64 {
        let first_of_day = now / TICKS_PER_DAY * self.per_day;
        let (mut low, mut high) = (first_of_day, first_of_day + self.per_day);
        while low < high {
            let middle = u64::midpoint(low, high);
            if self.time(middle) <= now {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// A number from 0 up to, but not including, 1.
fn unit_interval(random: u64) -> f64 {
    const BITS: u32 = 53;
    (random >> (u64::BITS - BITS)) as f64 / (1_u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hours_make_up_a_day() {
        assert_eq!(HOURLY_SHARES.iter().sum::<u32>(), 1_000);
    }

    #[test]
    fn arrivals_ascend_and_are_counted_until_now() {
        for per_day in [1, 7, 1_000, 123_457] {
            let arrivals = Arrivals { per_day, seed: 5 };
            let day = 20_000;
            let first = day * per_day;
            let mut last = 0;
            for number in first..first + per_day.min(3_000) {
                let time = arrivals.time(number);
                assert!(time > last && time / TICKS_PER_DAY == day, "{number}: {time}");
                assert_eq!(arrivals.count_by(time), number + 1);
                assert_eq!(arrivals.count_by(time - 1), number);
                last = time;
            }
        }
    }

    #[test]
    fn office_hours_are_busier_than_the_night() {
        let arrivals = Arrivals { per_day: 24_000, seed: 5 };
        let at_hour = |hour| arrivals.count_by(20_000 * TICKS_PER_DAY + hour * TICKS_PER_HOUR);
        let (night, noon) = (at_hour(4) - at_hour(3), at_hour(12) - at_hour(11));
        assert!((600..750).contains(&night) && (1_200..1_400).contains(&noon), "{night}, {noon}");
    }
}
