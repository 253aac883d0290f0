//! Points in time, as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point in time in whole seconds, written as `2026-11-24T22:49:51Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    unix_seconds: u64,
}

impl From<SystemTime> for Timestamp {
    /// Returns the second in which `time` lies; a time before 1970 is 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            unix_seconds: since.as_secs(),
        }
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        UNIX_EPOCH + Duration::from_secs(timestamp.unix_seconds)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, second) = (self.unix_seconds / 86_400, self.unix_seconds % 86_400);
        let (year, month, day) = date_of(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

impl FromStr for Timestamp {
    type Err = ();

    /// Parses what [`Timestamp`] writes; fractions and offsets are not read.
    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Vec<u64> = text
            .strip_suffix('Z')
            .ok_or(())?
            .split(['-', 'T', ':'])
            .map(|number| number.parse().map_err(|_| ()))
            .collect::<Result<_, _>>()?;
        let [year, month, day, hour, minute, second] = numbers[..] else {
            return Err(());
        };
        let is_possible = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && [hour, minute, second].iter().all(|number| *number < 60);
        if !is_possible {
            return Err(());
        }
        let seconds = days_of(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let timestamp = Self {
            unix_seconds: seconds,
        };
        // What does not come out as it went in was no such date or hour.
        (timestamp.to_string() == text)
            .then_some(timestamp)
            .ok_or(())
    }
}

/// Returns year, month and day, for days since 1970-01-01.
///
/// Source: <https://howardhinnant.github.io/date_algorithms.html#civil_from_days>
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Returns the days since 1970-01-01.
///
/// Source: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_of(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        for (unix_seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_795_560_591, "2026-11-24T22:49:51Z"),
        ] {
            let timestamp = Timestamp { unix_seconds };
            assert_eq!(timestamp.to_string(), text);
            assert_eq!(text.parse(), Ok(timestamp));
        }
        for text in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-01-01",
            "0000-01-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T18446744073709551615:00:00Z",
            "2026-01-01T00:00:18446744073709551615Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(()), "{text}");
        }
    }
}
