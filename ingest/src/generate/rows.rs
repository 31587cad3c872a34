//! Rows of separated cells on their way out.

use std::io::{self, Write};

use super::{Draw, Page, Plan, Sink};

/// A file of rows under way, and the row that is being written.
pub(super) struct Rows<'a, W: Write> {
    sink: Sink<'a, W>,
    page: Page,
    separator: u8,
    line_end: u8,
    /// Each cell with a separator behind it.
    row: Vec<u8>,
}

impl<'a, W: Write> Rows<'a, W> {
    pub(super) fn new(plan: &Plan, out: &'a mut W, separator: u8) -> Self {
        Self {
            sink: Sink::new(out),
            page: Page::new(plan.encoding),
            separator,
            line_end: if plan.encoding.is_ebcdic() { 0x25 } else { b'\n' },
            row: Vec::new(),
        }
    }

    /// A cell, in quotes where it holds what else would end it.
    pub(super) fn cell(&mut self, text: &str) -> &mut Self {
        if text.bytes().any(|byte| byte == self.separator || byte == b'"') {
            return self.quoted(text);
        }
        self.row.extend_from_slice(text.as_bytes());
        self.row.push(self.separator);
        self
    }

    /// A cell in quotes; each one within it is written twice.
    pub(super) fn quoted(&mut self, text: &str) -> &mut Self {
        self.row.push(b'"');
        self.row.extend_from_slice(text.replace('"', "\"\"").as_bytes());
        self.row.extend_from_slice(&[b'"', self.separator]);
        self
    }

    /// Several cells.
    pub(super) fn cells(&mut self, texts: &[&str]) -> &mut Self {
        for text in texts {
            self.cell(text);
        }
        self
    }

    /// Ends the row.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.row.pop();
        self.page.encode(&mut self.row);
        self.row.push(self.line_end);
        self.sink.push(&self.row)?;
        self.row.clear();
        Ok(())
    }

    /// Ends the file; gives its bytes.
    pub(super) fn close(mut self) -> io::Result<u64> {
        self.sink.flush()?;
        Ok(self.sink.bytes)
    }
}

/// An amount of a currency with cents as decimal text, perhaps with groups of three digits.
pub(super) fn decimal(minor: u64, point: char, group: Option<char>) -> String {
    let whole = (minor / 100).to_string();
    let mut text = String::with_capacity(whole.len() + 6);
    for (at, digit) in whole.char_indices() {
        let is_group = at > 0 && (whole.len() - at).is_multiple_of(3);
        text.extend(group.filter(|_| is_group));
        text.push(digit);
    }
    text.push(point);
    text.push_str(&format!("{:02}", minor % 100));
    text
}

/// A time of day as `HH:mm:ss`; another one for each number below 86,400.
pub(super) fn time_of_day(number: u64) -> String {
    let second = number % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60)
}

/// What is wrong with a row that can't be read, and yet adds to the totals what can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// A day that no calendar has.
    Date,
    /// A currency that isn't one.
    Currency,
    /// A field that must not be blank, and is.
    Blank,
}

impl Bad {
    /// What is wrong with the next row; most often nothing.
    pub(super) fn drawn(draw: &mut Draw, plan: &Plan) -> Option<Self> {
        let is_bad = draw.below(1_000_000) < u64::from(plan.bad_per_million);
        is_bad.then(|| *draw.one_of(&[Self::Date, Self::Currency, Self::Blank]))
    }
}

/// Codes of movements, of how many in a hundred each; true where it is a debit.
pub(super) type Mix = &'static [(u64, &'static str, bool)];

/// The next code, and whether it is a debit.
pub(super) fn drawn_of(mix: Mix, draw: &mut Draw) -> (&'static str, bool) {
    let mut drawn = draw.below(100);
    let found = mix.iter().find(|(share, ..)| match drawn.checked_sub(*share) {
        Some(rest) => {
            drawn = rest;
            false
        }
        None => true,
    });
    found.map_or(("", false), |(_, code, is_debit)| (code, *is_debit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_two_digits_behind_the_point_and_groups_before_it() {
        for (minor, expected) in [
            (0, "0,00"),
            (7, "0,07"),
            (99_999, "999,99"),
            (100_000, "1.000,00"),
            (123_456_789, "1.234.567,89"),
        ] {
            assert_eq!(decimal(minor, ',', Some('.')), expected);
        }
        assert_eq!(decimal(123_456_789, '.', None), "1234567.89");
    }
}
