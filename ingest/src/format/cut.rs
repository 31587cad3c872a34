//! From content to units: the lines, blocks or rows that records are made of.
//!
//! A unit is what stands between two line ends, a block of so many bytes, what follows a length, or
//! a row of separated fields. Nothing of it is translated here, and nothing is read twice: the
//! bytes of a unit are a slice of the content.
//!
//! # Format
//!
//! ```text
//! lines            0001…LF 0002…LF              LF, CR or CRLF; in EBCDIC 25, 15 (NEL) or 0D
//! fixed            0001…0002…                   every so many bytes, whatever they are
//! lines or fixed   either of them               told from the first bytes; text in both cases
//! rdw              00 0A 00 00 …6 bytes…        a record descriptor word; here it counts itself
//! rdw_little       00 00 06 00 …6 bytes…        the same, low byte last; here it does not
//! bdw_rdw          00 18 00 00 (00 0A 00 00 …)  a block descriptor word before several of them
//! rows             7;"a ""b""";1,50 LF          quoted fields may hold separators and line ends
//! ```

mod lines;
mod fixed;
mod prefixed;
mod rows;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;

use schemas::arrival::Reason;
use serde::{Deserialize, Serialize};

use super::{Encoding, Refusal};

use self::lines::Ends;
pub(crate) use self::prefixed::{Prefix, Word};
pub(crate) use self::rows::{Fields, Separated};

/// How content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// By line ends.
    Lines,
    /// Every so many bytes, whatever they are.
    Fixed(NonZeroUsize),
    /// Text by line ends or, where the first bytes have none behind so many characters, every so
    /// many bytes.
    LinesOrFixed(NonZeroUsize),
    /// By the length before each unit.
    Prefixed(Prefix),
    /// Rows of separated fields.
    Rows(Separated),
}

/// What of the content before is known where the next unit begins: a plain value, beside the
/// offset all that cutting needs to go on there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// True behind the first bytes: what only they can be or tell, is known.
    begun: bool,
    /// True where text has no line ends.
    unseparated: bool,
    /// How many bytes of the block are left, where blocks have lengths.
    block_left: usize,
}

/// A unit, and what is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unit<'a> {
    /// Its content as it stands: without line end or length, neither padded nor translated.
    pub(crate) bytes: &'a [u8],
    /// Bytes before it that are no part of it: blank lines, a byte order mark, a block's length.
    pub(crate) skipped: usize,
    /// Line ends among those.
    pub(crate) lines_skipped: i64,
    /// Its own bytes, line end or length included.
    pub(crate) length: usize,
    /// Lines that it takes; more than one where quoted fields hold line ends, 0 where no line ends.
    pub(crate) lines: i64,
    /// What is known behind it.
    pub(crate) after: Memory,
}

impl Unit<'_> {
    /// True of a line or row that has its end, and isn't the last one without.
    pub(crate) fn is_ended(&self) -> bool {
        self.length > self.bytes.len()
    }
}

/// What is at the beginning of the rest of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next<'a> {
    /// More bytes are needed to tell. Never at the end of the content.
    More,
    /// Blank lines, with no unit behind them yet: they are used, so that nothing reads them again.
    Blank(Blank),
    /// Nothing more.
    End {
        /// True where the byte 1A stands there, by which DOS ends a text.
        end_of_text: bool,
    },
    /// A unit.
    Unit(Unit<'a>),
}

/// Blank lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Blank {
    /// Their bytes.
    pub(crate) length: usize,
    /// How many of them.
    pub(crate) lines: i64,
    /// What is known behind them.
    pub(crate) after: Memory,
}

/// Content that can't be cut: nothing behind that place can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CutError {
    /// Why; without a place.
    pub(crate) refusal: Refusal,
    /// Where, in bytes from the beginning of the rest.
    pub(crate) at: usize,
    /// Line ends before that.
    pub(crate) lines: i64,
}

impl CutError {
    fn new(code: &str, at: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let reason = Reason::new(code).expected_found(expected, found);
        Self { refusal: Refusal::new(reason), at, lines: 0 }
    }

    /// The content ends within a line or row, where each has its end.
    pub(crate) fn unended(unit: &Unit<'_>) -> Self {
        let error = Self::truncated(unit.skipped, "the end of the line", unit.bytes.len());
        Self { lines: unit.lines_skipped, ..error }
    }

    /// The content ends within something that takes `expected`, after `left` bytes of it.
    fn truncated(at: usize, expected: impl Into<String>, left: usize) -> Self {
        Self::new("truncated", at, expected, format!("the end of the content after {left}"))
    }
}

/// Cuts content into units.
///
/// # Contract
///
/// - `rest` begins at the first byte that no unit has used, and `memory` is what the unit before
///   says of it, or the default at the beginning of the content.
/// - The same bytes give the same units, whatever the lengths of `rest`.
/// - Nothing is allocated but for a refusal.
#[derive(Clone, Debug)]
pub(crate) struct Cutter {
    cut: Cut,
    ends: Ends,
    bytes_max: usize,
}

impl Cutter {
    /// A cutter of content in this page, whose units have at most `bytes_max` bytes.
    pub(crate) fn new(cut: Cut, encoding: Encoding, bytes_max: usize) -> Self {
        let cut = match cut {
            Cut::Rows(separated) => Cut::Rows(separated.written_in(encoding)),
            cut => cut,
        };
        Self { cut, ends: Ends::of(encoding), bytes_max }
    }

    /// The next unit that isn't blank, or blank lines where there is none yet; of blocks and
    /// lengths, the next one.
    ///
    /// # Errors
    ///
    /// Where the framing is lost, the content ends within a unit, or one is too long.
    pub(crate) fn next<'a>(
        &self,
        memory: Memory,
        rest: &'a [u8],
        end_of_content: bool,
    ) -> Result<Next<'a>, CutError> {
        let input = Input { rest, end_of_content, bytes_max: self.bytes_max };
        match self.cut {
            Cut::Fixed(length) => fixed::next(length, input),
            Cut::Prefixed(prefix) => prefix.next(memory, input),
            Cut::Lines => self
                .after_mark(memory, input, |memory, input| lines::next(&self.ends, memory, input)),
            Cut::LinesOrFixed(length) => self.after_mark(memory, input, |memory, input| {
                lines::next_or_fixed(&self.ends, length, memory, input)
            }),
            Cut::Rows(separated) => self.after_mark(memory, input, |memory, input| {
                separated.next(&self.ends, memory, input)
            }),
        }
    }

    /// True where units have line numbers; told once there was one.
    pub(crate) fn has_lines(&self, memory: Memory) -> bool {
        match self.cut {
            Cut::Lines | Cut::Rows(_) => true,
            Cut::LinesOrFixed(_) => !memory.unseparated,
            Cut::Fixed(_) | Cut::Prefixed(_) => false,
        }
    }

    /// Takes the fields of a row apart; of another unit, all of it is one field.
    pub(crate) fn fields(&self, row: &[u8], into: &mut Fields) {
        match self.cut {
            Cut::Rows(separated) => separated.split(row, into),
            _ => into.whole(row),
        }
    }

    /// Steps over a byte order mark at the beginning of the content.
    fn after_mark<'a>(
        &self,
        memory: Memory,
        input: Input<'a>,
        next: impl FnOnce(Memory, Input<'a>) -> Result<Next<'a>, CutError>,
    ) -> Result<Next<'a>, CutError> {
        if memory.begun || self.ends.blank != b' ' {
            return next(memory, input);
        }
        let (first, rest) = input.rest.split_at_checked(BYTE_ORDER_MARK.len()).unwrap_or_default();
        if rest.is_empty() && first.is_empty() && !input.end_of_content {
            return Ok(Next::More);
        }
        if first != BYTE_ORDER_MARK {
            return next(memory, input);
        }
        let marked = |skipped: usize| skipped.saturating_add(BYTE_ORDER_MARK.len());
        match next(memory, Input { rest, ..input }) {
            Ok(Next::Unit(unit)) => Ok(Next::Unit(Unit { skipped: marked(unit.skipped), ..unit })),
            Ok(Next::Blank(blank)) => {
                Ok(Next::Blank(Blank { length: marked(blank.length), ..blank }))
            }
            Err(error) => Err(CutError { at: marked(error.at), ..error }),
            other => other,
        }
    }
}

/// What some editors write in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What there is to be cut.
#[derive(Clone, Copy, Debug)]
struct Input<'a> {
    rest: &'a [u8],
    end_of_content: bool,
    bytes_max: usize,
}

impl<'a> Input<'a> {
    /// The bytes from here on.
    fn from(self, at: usize) -> &'a [u8] {
        self.rest.get(at..).unwrap_or_default()
    }
}
