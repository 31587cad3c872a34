//! Rows of separated fields.
//!
//! # Format
//!
//! Fields stand between separators, rows between line ends. A field that begins with a quote ends
//! with one, may hold separators and line ends, and two quotes in it are one. That is RFC 4180, and
//! what is written otherwise is refused: behind a quote that is misplaced, nobody can tell where
//! the rows are.

use memchr::memchr;

use super::lines::{Ends, behind_blanks, end_of_text};
use super::{CutError, Input, Memory, Next, Unit};
use crate::format::Encoding;

/// How fields are separated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Separated {
    /// What stands between two fields: an ASCII character.
    pub(crate) separator: u8,
    /// What stands around a field that holds others: an ASCII character; none where quotes are
    /// characters like others.
    pub(crate) quote: Option<u8>,
}

/// A row's fields, without their quotes. Used again for each row, so that its buffers are kept.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A field, counted from 0; none where the row has fewer.
    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        let to = *self.ends.get(index)?;
        let before = index.checked_sub(1).and_then(|before| self.ends.get(before));
        self.text.get(before.copied().unwrap_or_default()..to)
    }

    /// Translates all of them by a page.
    pub(crate) fn translate(&mut self, page: &[u8; 256]) {
        for byte in &mut self.text {
            *byte = page.get(usize::from(*byte)).copied().unwrap_or(*byte);
        }
    }

    /// Makes all of a unit the only field.
    pub(super) fn whole(&mut self, unit: &[u8]) {
        self.clear();
        self.text.extend_from_slice(unit);
        self.close();
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    fn close(&mut self) {
        self.ends.push(self.text.len());
    }
}

/// Where a row ends.
enum End {
    /// Behind so many bytes, this many line ends within quotes among them.
    At(usize, i64),
    /// Not within what is there.
    More,
}

impl Separated {
    /// The same characters, as a page writes them.
    pub(super) fn written_in(self, encoding: Encoding) -> Self {
        Self {
            separator: encoding.byte(self.separator),
            quote: self.quote.map(|quote| encoding.byte(quote)),
        }
    }

    /// The next row that isn't blank.
    pub(super) fn next<'a>(
        self,
        ends: &Ends,
        memory: Memory,
        input: Input<'a>,
    ) -> Result<Next<'a>, CutError> {
        let (mut skipped, mut lines_skipped) = (0_usize, 0_i64);
        loop {
            let rest = input.from(skipped);
            let without = |next| Ok(behind_blanks(skipped, lines_skipped, memory, next));
            if rest.is_empty() {
                return without(match input.end_of_content {
                    true => Next::End { end_of_text: false },
                    false => Next::More,
                });
            }
            let found = self.end(ends, Input { rest, ..input }).map_err(|error| CutError {
                at: skipped.saturating_add(error.at),
                lines: lines_skipped.saturating_add(error.lines),
                ..error
            })?;
            let End::At(end, inside) = found else { return without(Next::More) };
            let bytes = rest.get(..end).unwrap_or_default();
            let behind = rest.get(end..).unwrap_or_default();
            let Some(line_end) = line_end(ends, behind, input.end_of_content) else {
                return without(Next::More);
            };
            let (length, lines) = (end.saturating_add(line_end), inside.saturating_add(1));
            if ends.is_blank(bytes) {
                skipped = skipped.saturating_add(length);
                lines_skipped = lines_skipped.saturating_add(lines);
                continue;
            }
            if let Some(end) = end_of_text(ends, input, skipped) {
                return without(end);
            }
            let after = Memory { begun: true, ..memory };
            return Ok(Next::Unit(Unit { bytes, skipped, lines_skipped, length, lines, after }));
        }
    }

    /// Where the row ends that begins here.
    fn end(self, ends: &Ends, input: Input<'_>) -> Result<End, CutError> {
        let window = input.rest.get(..input.bytes_max).unwrap_or(input.rest);
        let line_end = ends.find(window);
        let line = window.get(..line_end.unwrap_or(window.len())).unwrap_or_default();
        // Most rows have no quotes, and end with their line.
        let quote = self.quote.filter(|quote| memchr(*quote, line).is_some());
        match (quote, line_end) {
            (None, Some(at)) => Ok(End::At(at, 0)),
            (None, None) => self.unended(input, window.len(), 0, None),
            (Some(quote), _) => self.quoted_end(ends, quote, input, window),
        }
    }

    /// The same, of a row that has quotes.
    fn quoted_end(
        self,
        ends: &Ends,
        quote: u8,
        input: Input<'_>,
        window: &[u8],
    ) -> Result<End, CutError> {
        let (mut at, mut lines) = (0_usize, 0_i64);
        loop {
            let field = window.get(at..).unwrap_or_default();
            if field.first() == Some(&quote) {
                let Some(closed) = closing(quote, field) else {
                    return self.unended(input, window.len(), lines, Some(at));
                };
                let inside = field.get(..closed).unwrap_or_default();
                lines = lines.saturating_add(count_lines(ends, inside));
                at = at.saturating_add(closed);
            } else {
                let is_end =
                    |byte: &u8| *byte == self.separator || *byte == quote || ends.is_end(*byte);
                at = at.saturating_add(field.iter().position(is_end).unwrap_or(field.len()));
            }
            match window.get(at) {
                Some(byte) if *byte == self.separator => at = at.saturating_add(1),
                Some(byte) if ends.is_end(*byte) => return Ok(End::At(at, lines)),
                // After the last quote another may follow that makes one of both.
                None => return self.unended(input, window.len(), lines, None),
                Some(_) => {
                    let expected = "quotes around a whole field, and two for one within it";
                    let found = "another character beside a quote";
                    let error = CutError::new("quoting", at, expected, found);
                    return Err(CutError { lines, ..error });
                }
            }
        }
    }

    /// What a row is that doesn't end in the first `length` bytes; `open` is where a field begins
    /// whose closing quote isn't there.
    fn unended(
        self,
        input: Input<'_>,
        length: usize,
        lines: i64,
        open: Option<usize>,
    ) -> Result<End, CutError> {
        let is_cut = length >= input.bytes_max;
        match open {
            _ if !is_cut && !input.end_of_content => Ok(End::More),
            Some(at) => {
                let expected = format!("a closing quote within {} bytes", input.bytes_max);
                let error = CutError::new("quoting", at, expected, "none");
                Err(CutError { lines, ..error })
            }
            None if is_cut => {
                let expected = format!("the end of a row within {} bytes", input.bytes_max);
                Err(CutError::new("row_too_long", 0, expected, "none"))
            }
            None => Ok(End::At(length, lines)),
        }
    }

    /// Takes a well quoted row apart.
    pub(super) fn split(self, row: &[u8], into: &mut Fields) {
        into.clear();
        let mut rest = row;
        loop {
            let behind = match (self.quote, rest.first()) {
                (Some(quote), Some(first)) if *first == quote => {
                    let end = closing(quote, rest).unwrap_or(rest.len());
                    let inner = rest.get(1..end.saturating_sub(1)).unwrap_or_default();
                    unquote(quote, inner, &mut into.text);
                    rest.get(end..).unwrap_or_default()
                }
                _ => {
                    let end = memchr(self.separator, rest).unwrap_or(rest.len());
                    let (field, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                    into.text.extend_from_slice(field);
                    behind
                }
            };
            into.close();
            match behind.split_first() {
                Some((_, behind)) => rest = behind,
                None => return,
            }
        }
    }
}

/// The length of the line end, 0 at the end of the content; none where it isn't told yet.
fn line_end(ends: &Ends, behind: &[u8], end_of_content: bool) -> Option<usize> {
    if behind.is_empty() { Some(0) } else { ends.length(behind, end_of_content) }
}

/// How many bytes a quoted field has, both quotes included; none where the last one is missing.
fn closing(quote: u8, field: &[u8]) -> Option<usize> {
    let mut at = 1_usize;
    loop {
        at = at.saturating_add(memchr(quote, field.get(at..)?)?).saturating_add(1);
        if field.get(at) != Some(&quote) {
            return Some(at);
        }
        at = at.saturating_add(1);
    }
}

/// Adds what stands within the quotes of a field: of two quotes, one.
fn unquote(quote: u8, inner: &[u8], into: &mut Vec<u8>) {
    let mut rest = inner;
    while let Some(at) = memchr(quote, rest) {
        let one = at.saturating_add(1);
        into.extend_from_slice(rest.get(..one).unwrap_or_default());
        rest = rest.get(one.saturating_add(1)..).unwrap_or_default();
    }
    into.extend_from_slice(rest);
}

/// Line ends within a quoted field; CR and LF together are one.
fn count_lines(ends: &Ends, field: &[u8]) -> i64 {
    let mut rest = field;
    let mut count = 0_i64;
    while let Some(at) = ends.find(rest) {
        let end = rest.get(at..).unwrap_or_default();
        let length = ends.length(end, true).unwrap_or(1);
        rest = end.get(length..).unwrap_or_default();
        count = count.saturating_add(1);
    }
    count
}
