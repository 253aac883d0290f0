//! When to try again, and how long to wait before.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest that a `Retry-After` makes us wait: longer ones are the caller's to show.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The longest wait without a `Retry-After`.
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);

/// Returns how long to wait before attempt `attempt` (the first repetition is 1), or `None` when
/// the registry asks for more patience than we have.
///
/// Without `Retry-After`: exponential, the upper half of it random (`random` in `0.0..1.0`), so
/// that a hundred CI jobs that failed together do not come back together.
pub(super) fn wait_before(
    attempt: u32,
    retry_after: Option<Duration>,
    first: Duration,
    random: f64,
) -> Option<Duration> {
    match retry_after {
        Some(wait) if wait > LONGEST_WAIT => None,
        Some(wait) => Some(wait),
        None => {
            let full = first
                .saturating_mul(
                    1u32.checked_shl(attempt.saturating_sub(1))
                        .unwrap_or(u32::MAX),
                )
                .min(LONGEST_BACKOFF);
            Some(full.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0))
        }
    }
}

/// Parses the value of a `Retry-After` header: seconds, or an HTTP date.
///
/// Source: <https://www.rfc-editor.org/rfc/rfc9110.html#section-10.2.3>
pub(super) fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(parse_http_date(value)?))?;
    Some(at.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Returns a number in `0.0..1.0` that differs between processes and calls: for jitter only.
pub(super) fn random() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    let bits = RandomState::new().hash_one(0u8) >> 32;
    f64::from(u32::try_from(bits).expect("32 bits are left")) / f64::from(u32::MAX)
}

/// Parses `Sun, 06 Nov 1994 08:49:37 GMT` to seconds since 1970.
///
/// The two obsolete forms of the RFC are not read: no registry sends them.
fn parse_http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (_weekday, date) = text.split_once(", ")?;
    let mut parts = date.split(' ');
    let day: u64 = parts.next()?.parse().ok()?;
    let month_name = parts.next()?;
    let month = MONTHS.iter().position(|name| *name == month_name)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok()?;
    let mut clock = parts.next()?.split(':').map(str::parse::<u64>);
    let (hour, minute, second) = (
        clock.next()?.ok()?,
        clock.next()?.ok()?,
        clock.next()?.ok()?,
    );
    let in_range = parts.next() == Some("GMT")
        && (1970..=9999).contains(&year)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    in_range
        .then(|| days_since_1970(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second)
}

/// Source: <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year / 400;
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (value, expected_seconds) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", Some(0)),
            (
                "Thu, 29 Feb 1996 00:00:00 GMT",
                Some(825_552_000 - 784_111_777),
            ),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(
                parse_retry_after(value, now),
                expected_seconds.map(Duration::from_secs),
                "{value}"
            );
        }
    }

    #[test]
    fn waits() {
        let first = Duration::from_millis(200);
        for (attempt, retry_after, random, expected_ms) in [
            (1, None, 0.0, Some(100)),
            (1, None, 1.0, Some(200)),
            (3, None, 1.0, Some(800)),
            (60, None, 1.0, Some(8000)),
            (1, Some(3), 0.0, Some(3000)),
            (1, Some(30), 0.0, Some(30_000)),
            (1, Some(31), 0.0, None),
        ] {
            let got = wait_before(attempt, retry_after.map(Duration::from_secs), first, random);
            assert_eq!(
                got,
                expected_ms.map(Duration::from_millis),
                "attempt {attempt}, {retry_after:?}, {random}"
            );
        }
    }
}
