//! Dates and times as files state them, and the clock's own.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A civil date: days since 1970-01-01, as Avro's logical type `date` counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Date(i32);

impl Date {
    /// The date with this year, month (1–12) and day (1–31); none where the calendar has none such.
    pub fn new(year: i16, month: i8, day: i8) -> Option<Self> {
        let date = jiff::civil::Date::new(year, month, day).ok()?;
        Some(Self(days_since_epoch(date)))
    }

    /// Days since 1970-01-01.
    pub fn days(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_second(i64::from(self.0).saturating_mul(86_400));
        match moment {
            Ok(moment) => write!(f, "{}", moment.to_zoned(jiff::tz::TimeZone::UTC).date()),
            Err(_) => write!(f, "day {}", self.0),
        }
    }
}

/// A local date and time without a zone: milliseconds since 1970-01-01T00:00:00 on that clock,
/// as Avro's logical type `local-timestamp-millis` counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalTime(i64);

impl LocalTime {
    /// The moment at this time of this date; none where the clock shows none such.
    pub fn new(date: Date, hour: i8, minute: i8, second: i8) -> Option<Self> {
        let time = jiff::civil::Time::new(hour, minute, second, 0).ok()?;
        let seconds = i64::from(time.hour())
            .checked_mul(3_600)?
            .checked_add(i64::from(time.minute()).checked_mul(60)?)?
            .checked_add(i64::from(time.second()))?;
        let days = i64::from(date.0).checked_mul(86_400)?;
        Some(Self(days.checked_add(seconds)?.checked_mul(1_000)?))
    }

    /// Milliseconds since 1970-01-01T00:00:00 on the same clock.
    pub fn millis(self) -> i64 {
        self.0
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{}", moment.to_zoned(jiff::tz::TimeZone::UTC).datetime()),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

/// A moment of the clock: milliseconds since 1970-01-01T00:00:00Z.
///
/// The clock is read in one place, by the binary, and passed down.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment}"),
            Err(_) => write!(f, "{} ms", self.0),
        }
    }
}

fn days_since_epoch(date: jiff::civil::Date) -> i32 {
    jiff::civil::Date::constant(1970, 1, 1)
        .until((jiff::Unit::Day, date))
        .map(|span| span.get_days())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_count_days_and_print_as_iso() {
        for (y, m, d, days, text) in [
            (1970, 1, 1, 0, "1970-01-01"),
            (2000, 2, 29, 11_016, "2000-02-29"),
            (1969, 12, 31, -1, "1969-12-31"),
        ] {
            let date = Date::new(y, m, d).unwrap();
            assert_eq!((date.days(), date.to_string().as_str()), (days, text));
        }
        assert_eq!(Date::new(2025, 2, 29), None);
        assert_eq!(Date::new(2025, 13, 1), None);
    }

    #[test]
    fn local_times_print_without_a_zone() {
        let date = Date::new(2025, 11, 20).unwrap();
        let time = LocalTime::new(date, 10, 11, 12).unwrap();
        assert_eq!(time.to_string(), "2025-11-20T10:11:12");
        assert_eq!(time.millis(), 1_763_633_472_000);
        assert_eq!(LocalTime::new(date, 24, 0, 0), None);
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
    }
}
