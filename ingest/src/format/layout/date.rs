//! Dates and times in the forms that layouts give them.

use std::fmt;

use schemas::{Date, LocalTime};

use super::field::LONG;
use super::model::{DateForm, DatePart};
use crate::format::columns::number;

/// What a field says of when: a date, a time of day, or both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) date: Option<Date>,
    pub(super) time: Option<(i8, i8, i8)>,
}

impl Moment {
    /// This date at this time of day, or at the one of another field; midnight where neither has
    /// one.
    pub(super) fn with(self, other: Option<Self>) -> Option<LocalTime> {
        let (hour, minute, second) =
            self.time.or(other.and_then(|other| other.time)).unwrap_or_default();
        LocalTime::new(self.date?, hour, minute, second)
    }
}

impl fmt::Display for Moment {
    /// As ISO 8601 writes it: the date, the time, or both.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(date) = self.date {
            write!(f, "{date}")?;
        }
        let Some((hour, minute, second)) = self.time else { return Ok(()) };
        let between = if self.date.is_some() { "T" } else { "" };
        write!(f, "{between}{hour:02}:{minute:02}:{second:02}")
    }
}

/// The parts of a date as they are written.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    year: Option<i64>,
    /// Of a year, only the remainder by this is known.
    modulus: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    hour: Option<i64>,
    minute: Option<i64>,
    second: Option<i64>,
}

/// The date and time that these characters write; none where they write none, or one that the
/// calendar has not.
///
/// A year of two digits is 1970 to 2069, unless there is a date that it is near to. Without any
/// year, the date is the one that is nearest to that date; or, where it is of what was before, the
/// last one that is at most a day behind it, as clocks of two places may differ by one.
pub(super) fn read(form: &DateForm, text: &[u8], near: Option<Date>) -> Option<Moment> {
    let mut parts = Parts::default();
    let mut rest = text;
    for part in &form.parts {
        let (digits, behind) = rest.split_at_checked(part.width())?;
        rest = behind;
        if let DatePart::Literal(expected) = part {
            if digits != [*expected] {
                return None;
            }
            continue;
        }
        if *part == DatePart::Any {
            continue;
        }
        let value = number(digits)?;
        match part {
            DatePart::Year => parts.year = Some(value),
            DatePart::YearOfCentury => (parts.year, parts.modulus) = (Some(value), Some(100)),
            DatePart::YearOfDecade => (parts.year, parts.modulus) = (Some(value), Some(10)),
            DatePart::Month => parts.month = Some(value),
            DatePart::Day => parts.day = Some(value),
            DatePart::DayOfYear => parts.day_of_year = Some(value),
            DatePart::Hour => parts.hour = Some(value),
            DatePart::Minute => parts.minute = Some(value),
            DatePart::Second => parts.second = Some(value),
            DatePart::Literal(_) | DatePart::Any => (),
        }
    }
    // Of a cell, which is as wide as what stands in it.
    if rest.iter().any(|byte| *byte != b' ') {
        return None;
    }
    let has_date = parts.day.is_some() || parts.day_of_year.is_some();
    let date = if has_date { Some(date(parts, near, form.is_past)?) } else { None };
    Some(Moment { date, time: time(parts)? })
}

/// The time of day, checked; inside it none where none is written.
fn time(parts: Parts) -> Option<Option<(i8, i8, i8)>> {
    let Some(hour) = parts.hour else { return Some(None) };
    let part = |value: Option<i64>, end: i64| {
        let value = value.unwrap_or_default();
        (value < end).then(|| i8::try_from(value).ok()).flatten()
    };
    Some(Some((part(Some(hour), 24)?, part(parts.minute, 60)?, part(parts.second, 60)?)))
}

fn date(parts: Parts, near: Option<Date>, is_past: bool) -> Option<Date> {
    let (year, modulus) = match (parts.year, parts.modulus, near) {
        (Some(year), None, _) => return in_year(parts, year),
        (Some(year), Some(100), None) => {
            let century = if year < 70 { 2_000 } else { 1_900 };
            return in_year(parts, year.checked_add(century)?);
        }
        (Some(year), Some(modulus), Some(_)) => (year, modulus),
        (None, _, Some(_)) => (0, 1),
        (_, _, None) => return None,
    };
    let near = near?;
    // Four years are 1461 days: right to a year, and its neighbours are looked at too.
    let base = i64::from(near.days()).checked_mul(4)?.div_euclid(1_461).checked_add(1_970)?;
    let behind = base.checked_sub(year)?.checked_rem_euclid(modulus)?;
    let last = base.checked_sub(behind)?;
    let years = [last.checked_sub(modulus)?, last, last.checked_add(modulus)?];
    let end = near.days().saturating_add(1);
    years
        .into_iter()
        .filter_map(|year| in_year(parts, year))
        .filter(|date| !is_past || date.days() <= end)
        .min_by_key(|date| date.days().abs_diff(near.days()))
}

fn in_year(parts: Parts, year: i64) -> Option<Date> {
    let year = i16::try_from(year).ok()?;
    if let Some(day) = parts.day_of_year {
        let first = Date::new(year, 1, 1)?;
        let last = Date::new(year, 12, 31)?;
        let days = i64::from(first.days()).checked_add(day.checked_sub(1)?)?;
        let is_in_year = day >= 1 && days <= i64::from(last.days());
        return is_in_year.then(|| day_of(year, day)).flatten();
    }
    let (month, day) = (i8::try_from(parts.month?).ok()?, i8::try_from(parts.day?).ok()?);
    Date::new(year, month, day)
}

/// A day of a year, counted from 1.
fn day_of(year: i16, day: i64) -> Option<Date> {
    let mut left = day;
    for month in 1..=12_i8 {
        let length = (28..=31_i8).rev().find(|day| Date::new(year, month, *day).is_some())?;
        if left <= i64::from(length) {
            return Date::new(year, month, i8::try_from(left).ok()?);
        }
        left = left.checked_sub(i64::from(length))?;
    }
    None
}

/// True where a text may be told, though it is no date: of the form's digits and marks, or of fewer
/// digits than an account's number has and what else stands in dates.
pub(super) fn is_shown(form: &DateForm, text: &[u8]) -> bool {
    let has_marks = form.parts.iter().any(|part| matches!(part, DatePart::Literal(_)));
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let is_of_dates = |byte: &u8| byte.is_ascii_digit() || b"-/.: ".contains(byte);
    let width: usize = form.parts.iter().map(|part| part.width()).sum();
    let is_short = text.len() <= width.saturating_add(2);
    has_marks && is_of_form(form, text)
        || (1..LONG).contains(&digits) && is_short && text.iter().all(is_of_dates)
}

/// True where digits and marks stand where the form has them, whatever the calendar says.
fn is_of_form(form: &DateForm, text: &[u8]) -> bool {
    let mut rest = text;
    for part in &form.parts {
        let Some((found, behind)) = rest.split_at_checked(part.width()) else { return false };
        rest = behind;
        let fits = match part {
            DatePart::Literal(mark) => found == [*mark],
            DatePart::Any => found.iter().all(|byte| (b' '..=b'~').contains(byte)),
            _ => found.iter().all(u8::is_ascii_digit),
        };
        if !fits {
            return false;
        }
    }
    rest.is_empty()
}

/// The form as its layout writes it.
pub(super) fn pattern(form: &DateForm) -> String {
    let mut pattern = String::new();
    for part in &form.parts {
        match part {
            DatePart::Year => pattern.push_str("YYYY"),
            DatePart::YearOfCentury => pattern.push_str("YY"),
            DatePart::YearOfDecade => pattern.push('Y'),
            DatePart::Month => pattern.push_str("MM"),
            DatePart::Day => pattern.push_str("DD"),
            DatePart::DayOfYear => pattern.push_str("DDD"),
            DatePart::Hour => pattern.push_str("HH"),
            DatePart::Minute => pattern.push_str("mm"),
            DatePart::Second => pattern.push_str("ss"),
            DatePart::Literal(character) => pattern.push(char::from(*character)),
            DatePart::Any => pattern.push('?'),
        }
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    use DatePart::{Day, DayOfYear, Month, Year, YearOfCentury, YearOfDecade};

    fn found(parts: &[DatePart], text: &str, near: Option<(i16, i8, i8)>) -> Option<String> {
        let form = DateForm { parts: parts.to_vec(), near: None, is_past: false };
        let near = near.and_then(|(year, month, day)| Date::new(year, month, day));
        let moment = read(&form, text.as_bytes(), near)?;
        moment.date.map(|date| date.to_string())
    }

    #[test]
    fn a_date_is_one_of_the_calendar_or_none() {
        for (parts, text, near, expected) in [
            (&[Day, Month, Year][..], "29022024", None, Some("2024-02-29")),
            (&[Day, Month, Year], "29022023", None, None),
            (&[Day, Month, Year], "00000000", None, None),
            (&[Day, Month, Year], "2902202X", None, None),
            (&[Day, Month, YearOfCentury], "200513", None, Some("2013-05-20")),
            (&[Day, Month, YearOfCentury], "311270", None, Some("1970-12-31")),
            (&[Day, Month, YearOfCentury], "311269", None, Some("2069-12-31")),
            (&[YearOfCentury, DayOfYear], "24366", None, Some("2024-12-31")),
            (&[YearOfCentury, DayOfYear], "23366", None, None),
            (&[YearOfCentury, DayOfYear], "23000", None, None),
            (&[YearOfDecade, DayOfYear], "6001", Some((2025, 12, 31)), Some("2026-01-01")),
            (&[YearOfDecade, DayOfYear], "9365", Some((2030, 1, 2)), Some("2029-12-31")),
            (&[YearOfDecade, DayOfYear], "6001", None, None),
            (&[Month, Day], "1231", Some((2026, 1, 2)), Some("2025-12-31")),
            (&[Month, Day], "0102", Some((2025, 12, 31)), Some("2026-01-02")),
            (&[Month, Day], "0229", Some((2027, 12, 31)), Some("2028-02-29")),
            (&[Month, Day], "0229", Some((2026, 3, 1)), None),
            (&[Month, Day], "1301", Some((2026, 3, 1)), None),
            (&[Day, Month, YearOfCentury], "220726  ", None, Some("2026-07-22")),
            (&[Day, Month, YearOfCentury], "22072026", None, None),
            (&[Day, Month, YearOfCentury], "220726x", None, None),
        ] {
            assert_eq!(found(parts, text, near).as_deref(), expected, "{text} near {near:?}");
        }
    }

    #[test]
    fn what_is_no_date_is_told_where_it_can_be_no_account() {
        use DatePart::{Any, Hour, Literal, Minute, Second};
        let day = [Year, Literal(b'-'), Month, Literal(b'-'), Day];
        let time = [Literal(b' '), Hour, Literal(b':'), Minute, Literal(b':'), Second];
        let moment = [&day[..], &time, &[Any; 6]].concat();
        let plain = vec![Year, Month, Day, Hour, Minute, Second];
        for (parts, text, expected) in [
            (&moment, "2026-02-31 25:00:00 -0700", true),
            (&moment, "2026-02-31", true),
            (&moment, "4111111111111111", false),
            (&moment, "4111-11-11 11:11:11 -070", false),
            (&plain, "20260231250000", false),
            (&plain, "31/02/2026", true),
            (&plain, "3l/02/2026", false),
            (&plain, "", false),
            (&day.to_vec(), "1------------", false),
        ] {
            let form = DateForm { parts: parts.clone(), near: None, is_past: false };
            assert_eq!(is_shown(&form, text.as_bytes()), expected, "{text}");
        }
    }

    /// Five, seven and eleven months ago, today, tomorrow as another place has it; and later.
    #[test]
    fn a_date_before_another_one_is_never_much_behind_it() {
        let form = DateForm { parts: vec![Month, Day], near: None, is_past: true };
        let near = Date::new(2026, 7, 22);
        for (text, expected) in [
            ("0222", Some("2026-02-22")),
            ("1201", Some("2025-12-01")),
            ("0822", Some("2025-08-22")),
            ("0722", Some("2026-07-22")),
            ("0723", Some("2026-07-23")),
            ("0724", Some("2025-07-24")),
            ("0229", None),
        ] {
            let found = read(&form, text.as_bytes(), near).map(|moment| moment.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_time_is_one_of_the_clock_or_none() {
        use DatePart::{Hour, Literal, Minute, Second};
        let parts = vec![Hour, Literal(b':'), Minute, Literal(b':'), Second];
        let form = DateForm { parts, near: None, is_past: false };
        let time = |text: &str| read(&form, text.as_bytes(), None).and_then(|moment| moment.time);
        assert_eq!(time("23:59:58"), Some((23, 59, 58)));
        assert_eq!(time("24:00:00"), None);
        assert_eq!(time("23.59.58"), None);
        assert_eq!(pattern(&form), "HH:mm:ss");
    }
}
