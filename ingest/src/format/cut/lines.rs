//! Lines of text, by line ends or every so many bytes.

use std::num::NonZeroUsize;

use memchr::{memchr2, memchr3};

use super::fixed::not_a_multiple;
use super::{Blank, CutError, Input, Memory, Next, Unit};
use crate::format::Encoding;

/// The byte by which DOS ends a text.
const END_OF_TEXT: u8 = 0x1a;

/// The bytes that end a page's lines, and its blank.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// LF. In EBCDIC 25, whatever the page: the pages give it to LF or NEL, and both end a line.
    feed: u8,
    /// NEL, which ends lines in EBCDIC only; else as LF.
    new_line: u8,
    pub(super) blank: u8,
}

/// A line's text, and its length with its end.
pub(super) type Line<'a> = (&'a [u8], usize);

impl Ends {
    pub(super) fn of(encoding: Encoding) -> Self {
        if encoding.is_ebcdic() {
            Self { feed: 0x25, new_line: 0x15, blank: 0x40 }
        } else {
            Self { feed: b'\n', new_line: b'\n', blank: b' ' }
        }
    }

    /// The first line end.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        if self.feed == self.new_line {
            memchr2(b'\r', self.feed, bytes)
        } else {
            memchr3(b'\r', self.feed, self.new_line, bytes)
        }
    }

    pub(super) fn is_end(&self, byte: u8) -> bool {
        byte == b'\r' || byte == self.feed || byte == self.new_line
    }

    /// How long the line end is that stands at the beginning; none where that isn't told yet.
    pub(super) fn length(&self, rest: &[u8], end_of_content: bool) -> Option<usize> {
        match rest {
            [b'\r', next, ..] if *next == self.feed => Some(2),
            // The line feed of this carriage return may be still to come.
            [b'\r'] if !end_of_content => None,
            _ => Some(1),
        }
    }

    /// True where nothing but blanks is there.
    pub(super) fn is_blank(&self, text: &[u8]) -> bool {
        text.iter().all(|byte| *byte == self.blank)
    }

    /// The line that begins at `at`; none where it isn't all there yet.
    fn line<'a>(&self, input: Input<'a>, at: usize) -> Result<Option<Line<'a>>, CutError> {
        let rest = input.from(at);
        match self.find(rest.get(..input.bytes_max).unwrap_or(rest)) {
            Some(end) => {
                let text = rest.get(..end).unwrap_or_default();
                let behind = rest.get(end..).unwrap_or_default();
                let end = self.length(behind, input.end_of_content);
                Ok(end.map(|end| (text, text.len().saturating_add(end))))
            }
            None if rest.len() >= input.bytes_max => Err(too_long(at, input.bytes_max)),
            None if input.end_of_content => Ok(Some((rest, rest.len()))),
            None => Ok(None),
        }
    }
}

fn too_long(at: usize, bytes_max: usize) -> CutError {
    let expected = format!("a line end within {bytes_max} bytes");
    CutError::new("line_too_long", at, expected, "none")
}

/// The next line that isn't blank.
pub(super) fn next<'a>(
    ends: &Ends,
    memory: Memory,
    input: Input<'a>,
) -> Result<Next<'a>, CutError> {
    walk(ends, memory, input, |at| ends.line(input, at))
}

/// The next line that isn't blank, by its end or its length.
pub(super) fn next_or_fixed<'a>(
    ends: &Ends,
    length: NonZeroUsize,
    memory: Memory,
    input: Input<'a>,
) -> Result<Next<'a>, CutError> {
    let unseparated = match memory.begun {
        true => memory.unseparated,
        false => match is_unseparated(ends, length.get(), input) {
            Some(unseparated) => unseparated,
            None => return Ok(Next::More),
        },
    };
    let memory = Memory { unseparated, ..memory };
    if unseparated {
        walk(ends, memory, input, |at| block(ends, length.get(), input, at))
    } else {
        next(ends, memory, input)
    }
}

/// What to say where no unit is found: that blank lines are, if there were any.
pub(super) fn behind_blanks(length: usize, lines: i64, memory: Memory, next: Next<'_>) -> Next<'_> {
    if length == 0 {
        return next;
    }
    Next::Blank(Blank { length, lines, after: Memory { begun: true, ..memory } })
}

/// Steps over blank lines to the next one that isn't, each told by `line`.
fn walk<'a>(
    ends: &Ends,
    memory: Memory,
    input: Input<'a>,
    line: impl Fn(usize) -> Result<Option<Line<'a>>, CutError>,
) -> Result<Next<'a>, CutError> {
    let (mut skipped, mut lines_skipped) = (0_usize, 0_i64);
    loop {
        let without = |next| Ok(behind_blanks(skipped, lines_skipped, memory, next));
        if input.from(skipped).is_empty() {
            return without(match input.end_of_content {
                true => Next::End { end_of_text: false },
                false => Next::More,
            });
        }
        let found = line(skipped).map_err(|error| CutError { lines: lines_skipped, ..error })?;
        let Some((bytes, length)) = found else { return without(Next::More) };
        if ends.is_blank(bytes) {
            skipped = skipped.saturating_add(length);
            lines_skipped = lines_skipped.saturating_add(i64::from(!memory.unseparated));
            continue;
        }
        if let Some(end) = end_of_text(ends, input, skipped) {
            return without(end);
        }
        let lines = i64::from(!memory.unseparated);
        let after = Memory { begun: true, ..memory };
        return Ok(Next::Unit(Unit { bytes, skipped, lines_skipped, length, lines, after }));
    }
}

/// The end of the text, where 1A begins a line, and nothing follows but more of it and blank lines;
/// none where it is a line like others.
pub(super) fn end_of_text<'a>(ends: &Ends, input: Input<'_>, at: usize) -> Option<Next<'a>> {
    let rest = input.from(at);
    let is_over = |byte: &u8| *byte == END_OF_TEXT || *byte == ends.blank || ends.is_end(*byte);
    // Bounded as lines are, so that a 1A within long content doesn't hold all of it back.
    if rest.first() != Some(&END_OF_TEXT) || rest.len() >= input.bytes_max {
        return None;
    }
    if !rest.iter().all(is_over) {
        return None;
    }
    Some(if input.end_of_content { Next::End { end_of_text: true } } else { Next::More })
}

/// Whether text has no line ends, by its first line: where more than blanks stands behind so many
/// characters of it. None where that isn't told yet.
///
/// A byte of a block may look like a line end, where not all of it is text: behind the end of a
/// line there is another one, soon.
fn is_unseparated(ends: &Ends, length: usize, input: Input<'_>) -> Option<bool> {
    let first = input.rest.get(..input.bytes_max).unwrap_or(input.rest);
    let is_all = input.end_of_content || input.rest.len() >= input.bytes_max;
    let (line, behind) = first.split_at_checked(length).unwrap_or((first, &[]));
    if let Some(end) = ends.find(line) {
        let behind = first.get(end.saturating_add(1)..).unwrap_or_default();
        let next = behind.get(..length.saturating_add(2));
        return match (ends.find(next.unwrap_or(behind)), next) {
            (Some(_), _) => Some(false),
            (None, Some(_)) => Some(true),
            (None, None) if is_all => {
                Some(first.len() > length && first.len().checked_rem(length) == Some(0))
            }
            (None, None) => None,
        };
    }
    match behind.iter().find(|byte| **byte != ends.blank) {
        Some(byte) => Some(!ends.is_end(*byte)),
        None if is_all => Some(false),
        None => None,
    }
}

/// The block of text that begins at `at`; line ends between blocks are blank lines.
fn block<'a>(
    ends: &Ends,
    length: usize,
    input: Input<'a>,
    at: usize,
) -> Result<Option<Line<'a>>, CutError> {
    let rest = input.from(at);
    let text = rest.get(..length).unwrap_or(rest);
    let end = ends.find(text).and_then(|end| rest.split_at_checked(end));
    if let Some((line, behind)) = end.filter(|(line, _)| is_over(ends, line)) {
        let end = ends.length(behind, input.end_of_content);
        return Ok(end.map(|end| (line, line.len().saturating_add(end))));
    }
    match () {
        () if text.len() == length => Ok(Some((text, length))),
        () if !input.end_of_content => Ok(None),
        () if is_over(ends, text) => Ok(Some((text, text.len()))),
        () => Err(not_a_multiple(length, at, text.len())),
    }
}

/// True of what may stand behind the last block: blanks, or the byte by which DOS ends a text.
fn is_over(ends: &Ends, text: &[u8]) -> bool {
    text.iter().all(|byte| *byte == END_OF_TEXT || *byte == ends.blank)
}
