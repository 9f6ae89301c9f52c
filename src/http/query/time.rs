//! Times in a query: seconds since the epoch, or RFC 3339.

use jiff::civil::{DateTime, date};

const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// Parses seconds since the epoch (`1629939474.5`, `1.6e9`) or an RFC 3339 time with any number of
/// fractional digits, to seconds since the epoch. `None` for anything else, infinities and NaN
/// included.
///
/// A `+` that the caller did not percent-encode arrives as a space, so a space is accepted in its
/// place.
pub(super) fn parse(value: &str) -> Option<f64> {
    epoch_seconds(value).or_else(|| rfc3339(value))
}

fn epoch_seconds(value: &str) -> Option<f64> {
    // Rust's parser would take `inf` and `nan` too.
    let is_number = |byte| matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b' ' | b'e' | b'E');
    if !value.bytes().all(is_number) {
        return None;
    }
    let seconds: f64 = value.replace(' ', "+").parse().ok()?;
    // The sum makes a negative zero positive, so that equal times have one spelling.
    seconds.is_finite().then_some(seconds + 0.0)
}

/// `date-time` of RFC 3339, section 5.6.
fn rfc3339(value: &str) -> Option<f64> {
    const SHAPE: &[u8; 19] = b"0000-00-00T00:00:00";
    let (begin, rest) = value.as_bytes().split_at_checked(SHAPE.len())?;
    let fits = begin.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == shape,
    });
    if !fits {
        return None;
    }
    let (digits, offset) = match rest.strip_prefix(b".") {
        Some(rest) => {
            let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if length == 0 {
                return None;
            }
            rest.split_at(length)
        }
        None => (&b""[..], rest),
    };
    let offset_minutes = match offset {
        b"Z" | b"z" => 0,
        &[sign, h1, h2, b':', m1, m2] => {
            let minutes = two_digits([h1, h2], 23)? * 60 + two_digits([m1, m2], 59)?;
            match sign {
                b'+' | b' ' => minutes,
                b'-' => -minutes,
                _ => return None,
            }
        }
        _ => return None,
    };
    let (date, time) = (str::from_utf8(&begin[..10]).ok()?, str::from_utf8(&begin[11..]).ok()?);
    // Not as a `jiff::Timestamp`: the last of those is a day before the end of the year 9999.
    let local: DateTime = format!("{date}T{time}").parse().ok()?;
    let seconds = local.duration_since(EPOCH).as_secs() - offset_minutes * 60;
    let fraction = format!("0.{}0", str::from_utf8(digits).ok()?);
    if seconds >= 0 {
        // Parsed as one number, so that it is rounded like the same number in a record.
        format!("{seconds}{}", &fraction[1..]).parse().ok()
    } else {
        Some(seconds as f64 + fraction.parse::<f64>().ok()?)
    }
}

/// The number that two digits spell, at most `max`.
fn two_digits(digits: [u8; 2], max: i64) -> Option<i64> {
    let [tens, ones] = digits.map(|digit| digit.is_ascii_digit().then(|| i64::from(digit - b'0')));
    let number = tens? * 10 + ones?;
    (number <= max).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_epoch_seconds_or_rfc_3339() {
        for (value, expected) in [
            ("1629939474.5", 1_629_939_474.5),
            ("-5", -5.0),
            ("+5", 5.0),
            (" 5", 5.0),
            ("1.5e3", 1500.0),
            ("-0", 0.0),
            ("1772445600.123456789123456789123456789", 1_772_445_600.123_456_7),
            ("2021-08-26T00:57:54.25Z", 1_629_939_474.25),
            ("2026-03-02T10:00:00.1234567891Z", 1_772_445_600.123_456_7),
            ("2026-03-02t10:00:00.5z", 1_772_445_600.5),
            ("2026-03-02 10:00:00Z", 1_772_445_600.0),
            ("2026-03-02T12:30:00+02:30", 1_772_445_600.0),
            ("2026-03-02T12:30:00 02:30", 1_772_445_600.0),
            ("2026-03-02T05:00:00.0-05:00", 1_772_445_600.0),
            ("1970-01-01T00:00:00-00:00", 0.0),
            ("1969-12-31T23:59:58.25Z", -1.75),
            ("2016-12-31T23:59:60Z", 1_483_228_799.0),
            ("0000-01-01T00:00:00Z", -62_167_219_200.0),
            ("9999-12-31T23:59:59Z", 253_402_300_799.0),
            ("9999-12-31T23:59:59-23:59", 253_402_387_139.0),
        ] {
            assert_eq!(parse(value), Some(expected), "{value}");
        }
        let many = format!("2026-03-02T10:00:00.5{}Z", "0".repeat(10_000));
        assert_eq!(parse(&many), Some(1_772_445_600.5));
    }

    #[test]
    fn other_values_are_refused() {
        for value in [
            "",
            " ",
            "inf",
            "-Infinity",
            "nan",
            "NaN",
            "1e999",
            "-1e999",
            "0x10",
            "1_000",
            "1,5",
            "2021-08-26",
            "2021-08-26T00:57Z",
            "2021-08-26T00:57:54",
            "2021-08-26T00:57:54.Z",
            "2021-08-26T00:57:54+02",
            "2021-08-26T00:57:54+0200",
            "2021-08-26T00:57:54+24:00",
            "2021-08-26T00:57:54+02:60",
            "2021-08-26T00:57:54++2:00",
            "2021-08-26T00:57:54+02:0é",
            "2021-08-26T00:57:54[UTC]",
            "2021-08-26T00:57:54Z[UTC]",
            "2021-02-30T00:00:00Z",
            "2021-08-26T25:00:00Z",
            "2021-08-26T00:57:54.25é",
            "20210826T005754Z",
        ] {
            assert_eq!(parse(value), None, "{value}");
        }
    }
}
