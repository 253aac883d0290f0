//! Points in time as `BuildKit` writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When a result was made: RFC 3339, kept in UTC, to the nanosecond.
///
/// Go refuses a whole cache config for one time that it cannot read, so we do not let one through.
///
/// Source: <https://pkg.go.dev/time#Time.UnmarshalJSON>
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreatedAt {
    /// Seconds since 1970 in UTC.
    seconds: i64,
    nanoseconds: u32,
}

/// Why a text is not a point in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedAtError {
    text: String,
}

const SECONDS_PER_DAY: i64 = 86_400;

impl CreatedAt {
    /// Go's zero time: what an absent field means.
    pub const ZERO: Self = Self {
        seconds: -719_162 * SECONDS_PER_DAY,
        nanoseconds: 0,
    };

    /// Returns how far apart two points are, in nanoseconds.
    pub(super) fn distance(self, other: Self) -> u128 {
        let of = |at: Self| i128::from(at.seconds) * 1_000_000_000 + i128::from(at.nanoseconds);
        of(self).abs_diff(of(other))
    }
}

impl Default for CreatedAt {
    fn default() -> Self {
        Self::ZERO
    }
}

impl FromStr for CreatedAt {
    type Err = CreatedAtError;

    fn from_str(text: &str) -> Result<Self, CreatedAtError> {
        read(text.as_bytes()).ok_or_else(|| CreatedAtError {
            text: text.to_owned(),
        })
    }
}

fn read(text: &[u8]) -> Option<CreatedAt> {
    let (head, mut rest) = text.split_at_checked(19)?;
    if [head[4], head[7], head[10], head[13], head[16]] != *b"--T::" {
        return None;
    }
    let (year, month, day) = (
        number(&head[0..4])?,
        number(&head[5..7])?,
        number(&head[8..10])?,
    );
    let (hour, minute, second) = (
        number(&head[11..13])?,
        number(&head[14..16])?,
        number(&head[17..19])?,
    );
    if !(1..=12).contains(&month)
        || !(1..=days_in_month(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 59
    {
        return None;
    }
    let mut nanoseconds = 0;
    if let [b'.', fraction @ ..] = rest {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(9);
        nanoseconds = u32::try_from(number(&fraction[..kept])?).ok()?
            * 10_u32.pow(9 - u32::try_from(kept).ok()?);
        rest = &fraction[digits..];
    }
    let offset_minutes = match rest {
        b"Z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let offset = hours * 60 + minutes;
            if *sign == b'-' { -offset } else { offset }
        }
        _ => return None,
    };
    let seconds =
        days_since_1970(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second
            - offset_minutes * 60;
    let (year, _, _) = date(seconds.div_euclid(SECONDS_PER_DAY));
    (0..=9999).contains(&year).then_some(CreatedAt {
        seconds,
        nanoseconds,
    })
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, b| {
        b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'))
    })
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March.
///
/// Source: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for CreatedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.seconds.div_euclid(SECONDS_PER_DAY));
        let second = self.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if self.nanoseconds > 0 {
            let fraction = format!("{:09}", self.nanoseconds);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str("Z")
    }
}

impl TryFrom<String> for CreatedAt {
    type Error = CreatedAtError;

    fn try_from(text: String) -> Result<Self, CreatedAtError> {
        text.parse()
    }
}

impl From<CreatedAt> for String {
    fn from(created_at: CreatedAt) -> Self {
        created_at.to_string()
    }
}

impl fmt::Display for CreatedAtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a time such as `2026-01-31T12:00:00.5Z`",
            self.text
        )
    }
}

impl std::error::Error for CreatedAtError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_writes() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            (
                "2026-11-24T22:50:54.4122884Z",
                "2026-11-24T22:50:54.4122884Z",
            ),
            ("2026-11-24T22:50:54.400Z", "2026-11-24T22:50:54.4Z"),
            ("2024-02-29T23:30:00-02:30", "2024-03-01T02:00:00Z"),
            ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00Z"),
        ] {
            let created_at: CreatedAt = text.parse().expect(text);
            assert_eq!(created_at.to_string(), expected, "{text}");
        }
        assert_eq!(CreatedAt::ZERO.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn orders_by_time_not_by_text() {
        let at = |text: &str| text.parse::<CreatedAt>().expect("valid");
        assert!(at("2026-11-24T22:50:54.5Z") > at("2026-11-24T22:50:54.41Z"));
        assert!(at("2026-11-24T22:50:54Z") < at("2026-11-24T22:50:54.1Z"));
        assert_eq!(at("2026-01-01T01:00:00+01:00"), at("2026-01-01T00:00:00Z"));
    }

    #[test]
    fn refuses_what_go_refuses() {
        for text in [
            "",
            "now",
            "2026-11-24",
            "2026-11-24 22:50:54Z",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+24:00",
            "0000-01-01T00:00:00+01:00",
            "9999-12-31T23:59:59-01:00",
            "2026-01-01T00:00:00Zé",
        ] {
            assert!(text.parse::<CreatedAt>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn writes_what_it_reads(seconds in -62_135_596_800_i64..253_402_300_800, nanoseconds in 0_u32..1_000_000_000) {
            let created_at = CreatedAt { seconds, nanoseconds };
            proptest::prop_assert_eq!(created_at.to_string().parse::<CreatedAt>(), Ok(created_at));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = text.parse::<CreatedAt>();
        }
    }
}
