//! What commands print: a table for people, or one JSON object a line.

use std::io::{self, IsTerminal as _, Write};

use clap::ValueEnum;
use serde::Serialize;

/// How a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Columns, for people.
    Table,
    /// One JSON object a line.
    Json,
}

/// A row as people see it; as JSON it is its fields.
pub(crate) trait Row: Serialize {
    /// What stands above the columns.
    const COLUMNS: &'static [Column];

    /// What stands in them, as many.
    fn cells(&self) -> Vec<String>;
}

/// A column: its name, and on which side its text stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    name: &'static str,
    is_number: bool,
}

impl Column {
    /// A column of text.
    pub(crate) const fn text(name: &'static str) -> Self {
        Self { name, is_number: false }
    }

    /// A column of numbers.
    pub(crate) const fn number(name: &'static str) -> Self {
        Self { name, is_number: true }
    }
}

/// Prints rows.
///
/// # Errors
///
/// Where standard output can't be written.
pub(crate) fn print_rows<R: Row>(output: Output, rows: &[R]) -> anyhow::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match output {
        Output::Json => {
            for row in rows {
                serde_json::to_writer(&mut out, row)?;
                out.write_all(b"\n")?;
            }
        }
        Output::Table => write_table(&mut out, R::COLUMNS, rows.iter().map(R::cells), bold())?,
    }
    Ok(out.flush()?)
}

/// Whether heads are bold: on a terminal, unless `NO_COLOR` is set.
fn bold() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

/// Writes columns, each as wide as its widest cell.
///
/// # Errors
///
/// Where `out` can't be written.
pub(crate) fn write_table(
    out: &mut impl Write,
    columns: &[Column],
    rows: impl Iterator<Item = Vec<String>>,
    bold: bool,
) -> io::Result<()> {
    let rows: Vec<Vec<String>> = rows.collect();
    let width = |at: usize, column: &Column| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).chain([column.name.len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = columns.iter().enumerate().map(|(at, c)| width(at, c)).collect();
    let head = columns.iter().map(|column| column.name.to_owned()).collect();
    let (on, off) = if bold { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    write_line(out, columns, &widths, &head, on, off)?;
    for row in &rows {
        write_line(out, columns, &widths, row, "", "")?;
    }
    Ok(())
}

fn write_line(
    out: &mut impl Write,
    columns: &[Column],
    widths: &[usize],
    cells: &Vec<String>,
    on: &str,
    off: &str,
) -> io::Result<()> {
    let mut line = String::new();
    for ((column, width), cell) in columns.iter().zip(widths).zip(cells) {
        let space = " ".repeat(width.saturating_sub(cell.chars().count()));
        let (before, after) =
            if column.is_number { (space, String::new()) } else { (String::new(), space) };
        line.push_str(&before);
        line.push_str(cell);
        line.push_str(&after);
        line.push_str("  ");
    }
    writeln!(out, "{on}{}{off}", line.trim_end())
}

/// Text that a user typed, with every card number in it masked: a run of 13 to 19 digits, blanks
/// and hyphens between them allowed, whose last digit is right by Luhn's rule, becomes `****` and
/// its last four digits.
pub(crate) fn masked(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(from) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let (before, run) = rest.split_at(from);
        let is_within = |letter: char| letter.is_ascii_digit() || matches!(letter, ' ' | '-');
        let run_with_blanks = run.split(|letter| !is_within(letter)).next().unwrap_or_default();
        let (run, behind) = run.split_at(run_with_blanks.trim_end_matches([' ', '-']).len());
        let digits: Vec<u8> = run.bytes().filter(u8::is_ascii_digit).collect();
        shown.push_str(before);
        if (13..=19).contains(&digits.len()) && is_right_by_luhn(&digits) {
            shown.push_str("****");
            let last_four = digits.iter().skip(digits.len() - 4);
            shown.extend(last_four.map(|digit| char::from(*digit)));
        } else {
            shown.push_str(run);
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

fn is_right_by_luhn(digits: &[u8]) -> bool {
    let mut sum = 0_u32;
    for (place, digit) in digits.iter().rev().enumerate() {
        let digit = u32::from(digit - b'0');
        sum += match (place % 2, digit) {
            (0, digit) => digit,
            (_, digit) if digit < 5 => digit * 2,
            (_, digit) => digit * 2 - 9,
        };
    }
    sum.is_multiple_of(10)
}

/// Minor units as decimal text with the currency's digits: 12345 with exponent 2 is `123.45`.
pub(crate) fn amount(minor: i128, exponent: i32) -> String {
    let digits = usize::try_from(exponent).unwrap_or_default();
    let sign = if minor < 0 { "-" } else { "" };
    let text = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    let point = if digits == 0 { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// A number of things: `1 record`, `1,000 records`.
pub(crate) fn counted(number: impl ToString, thing: &str) -> String {
    let number = number.to_string();
    let plural = if number == "1" { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(&number))
}

/// A number in groups of three digits.
pub(crate) fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_with_their_currencys_digits() {
        for (minor, exponent, expected) in [
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (-123_456_789, 2, "-1,234,567.89"),
            (1_000, 0, "1,000"),
            (1_500, 3, "1.500"),
        ] {
            assert_eq!(amount(minor, exponent), expected);
        }
    }

    #[test]
    fn one_thing_is_singular() {
        for (number, expected) in [(0, "0 records"), (1, "1 record"), (1_000, "1,000 records")] {
            assert_eq!(counted(number, "record"), expected);
        }
    }

    #[test]
    fn a_card_number_is_masked_however_it_is_typed() {
        for (typed, expected) in [
            ("4111111111111111", "****1111"),
            ("card:4111111111111111 in x", "card:****1111 in x"),
            ("'4111 1111-1111 1111'", "'****1111'"),
            ("4111111111111112", "4111111111111112"),
            ("20260314120001.ach", "20260314120001.ach"),
            ("a-1.ach", "a-1.ach"),
            ("", ""),
        ] {
            assert_eq!(masked(typed), expected);
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut out = Vec::new();
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["bcd".to_owned(), "100".to_owned()]];
        let columns = [Column::text("name"), Column::number("n")];
        write_table(&mut out, &columns, rows.into_iter(), false).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name    n\na       1\nbcd   100\n");
    }
}
