//! How a date is written: `as = "DDMMYYYY"`.

use super::names::Within;
use super::value::{Table, Value};
use crate::format::layout::model::{DateForm, DatePart};

/// Reads `as`, `near` and `year`.
pub(super) fn read<'a>(table: Table<'a>, within: &Within<'_, 'a>) -> Option<DateForm> {
    let value = table.require("as")?;
    let parts = parts(value)?;
    let near = match table.get("near") {
        Some(value) => Some(within.named(value)?),
        None => None,
    };
    let year = table.get("year");
    let is_past = year.map_or(Some(false), |value| value.word(&[("before", true)]))?;
    let form = DateForm { parts, near, is_past };
    check(&form, value, table).then_some(form)
}

/// The parts: runs of the same letter, and what stands between them.
fn parts(value: Value<'_>) -> Option<Vec<DatePart>> {
    let text = value.some_text()?;
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let run = rest.len().saturating_sub(rest.trim_start_matches(first).len());
        let (part, width) = match (first, run) {
            ('Y', 4) => (DatePart::Year, 4),
            ('Y', 2) => (DatePart::YearOfCentury, 2),
            ('Y', 1) => (DatePart::YearOfDecade, 1),
            ('M', 2) => (DatePart::Month, 2),
            ('D', 3) => (DatePart::DayOfYear, 3),
            ('D', 2) => (DatePart::Day, 2),
            ('H', 2) => (DatePart::Hour, 2),
            ('m', 2) => (DatePart::Minute, 2),
            ('s', 2) => (DatePart::Second, 2),
            ('Y' | 'M' | 'D' | 'H' | 'm' | 's', _) => {
                let expected = "YYYY, YY, Y, MM, DD, DDD, HH, mm or ss";
                value.mistake(expected, format!("{:?}", rest.get(..run).unwrap_or(rest)));
                return None;
            }
            ('?', _) => (DatePart::Any, 1),
            (' '..='~', _) => (DatePart::Literal(u8::try_from(first).ok()?), 1),
            _ => {
                value.mistake("ASCII characters", format!("{first:?}"));
                return None;
            }
        };
        parts.push(part);
        rest = rest.get(width..).unwrap_or_default();
    }
    Some(parts)
}

/// True where the parts make a date, a time, or both; else a mistake.
fn check(form: &DateForm, value: Value<'_>, table: Table<'_>) -> bool {
    let count = |parts: &[DatePart]| form.parts.iter().filter(|part| parts.contains(part)).count();
    let years = count(&[DatePart::Year, DatePart::YearOfCentury, DatePart::YearOfDecade]);
    let has_year = years == 1;
    let is_short = count(&[DatePart::YearOfDecade]) == 1 || years == 0;
    let days = (count(&[DatePart::Month]), count(&[DatePart::Day]), count(&[DatePart::DayOfYear]));
    let times = (count(&[DatePart::Hour]), count(&[DatePart::Minute]), count(&[DatePart::Second]));
    let is_date = matches!(days, (1, 1, 0) | (0, 0, 1)) && years <= 1;
    let is_no_date = days == (0, 0, 0) && years == 0;
    let is_time = matches!(times, (1, 1, 0 | 1));
    let is_no_time = times == (0, 0, 0);
    let is_whole = match (is_date, is_no_date) {
        (true, _) => is_time || is_no_time,
        (_, true) => is_time,
        _ => false,
    };
    if !is_whole || (days.2 == 1 && !has_year) {
        let expected = "a month and a day (MM, DD) or a year and its day (YY, DDD), \
                        a time (HH, mm), or both";
        value.mistake(expected, value.shown());
        return false;
    }
    if is_date && is_short && form.near.is_none() {
        let remedy = String::from("name a date by which its year is told");
        table.mistake_with("the key near beside a date without a whole year", "none", remedy);
        return false;
    }
    if let Some(year) = table.get("year").filter(|_| form.near.is_none() || !is_date || years > 0) {
        year.mistake("this key beside near, of a date without any year", year.shown());
        return false;
    }
    true
}
