//! From bytes to lines of 94 characters.
//!
//! Lines end by CR, LF or CRLF (in EBCDIC also NEL), or not at all: then the content is cut every
//! 94 bytes. A line may have lost its trailing blanks, or have gained some.

use memchr::memchr3;
use schemas::arrival::Reason;
use serde::{Deserialize, Serialize};

use crate::format::{Encoding, Refusal};

/// The length of a record, in characters.
pub(super) const LENGTH: usize = 94;

/// How the content is cut into lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cut {
    /// By line ends.
    Ended,
    /// Every 94 bytes.
    Fixed,
}

/// A line: 94 characters in ASCII or ISO 8859-1, padded with blanks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    /// The characters.
    pub(super) text: [u8; LENGTH],
    /// Bytes of blank lines before it.
    pub(super) skipped: usize,
    /// Blank lines before it.
    pub(super) lines_skipped: i64,
    /// Its own bytes, line end included.
    pub(super) length: usize,
    /// True where more than blanks stands behind column 94.
    pub(super) overlong: bool,
}

/// What is at the beginning of the rest of the content.
#[derive(Debug)]
pub(super) enum Next {
    /// More bytes are needed to tell.
    More,
    /// Nothing but blank lines.
    End,
    /// A line.
    Line(Line),
}

/// Cuts lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cutter {
    pub(super) cut: Cut,
    pub(super) encoding: Encoding,
    pub(super) bytes_max: usize,
}

impl Cut {
    /// How content is cut, by its first bytes: by 94 where the first line end, if there is one, is
    /// behind more than one record.
    pub(super) fn of(first: &[u8], encoding: Encoding) -> Self {
        let end = memchr3(b'\r', line_feed(encoding), new_line(encoding), first);
        let line = first.get(..end.unwrap_or(first.len())).unwrap_or_default();
        match line.get(LENGTH..) {
            Some(rest) if rest.iter().any(|byte| *byte != blank(encoding)) => Self::Fixed,
            _ => Self::Ended,
        }
    }
}

impl Cutter {
    /// The first character of the next line that isn't blank, if it can be told.
    pub(super) fn peek(&self, rest: &[u8], end_of_content: bool) -> Result<Peek, Refusal> {
        let blank = blank(self.encoding);
        match rest.first() {
            Some(byte) if !self.is_end(*byte) && *byte != blank => {
                Ok(Peek::Character(self.character(*byte)))
            }
            None if end_of_content => Ok(Peek::End),
            None => Ok(Peek::More),
            // Blank lines are rare: look at the whole of the next one.
            Some(_) => Ok(match self.next(rest, end_of_content)? {
                Next::More => Peek::More,
                Next::End => Peek::End,
                Next::Line(line) => Peek::Character(line.text.first().copied().unwrap_or(b' ')),
            }),
        }
    }

    /// The next line that isn't blank.
    pub(super) fn next(&self, rest: &[u8], end_of_content: bool) -> Result<Next, Refusal> {
        let mut skipped = 0_usize;
        let mut lines_skipped = 0_i64;
        loop {
            let rest = rest.get(skipped..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(if end_of_content { Next::End } else { Next::More });
            }
            let Some((text, length)) = self.line(rest, end_of_content)? else {
                return Ok(Next::More);
            };
            let is_blank = text.iter().all(|byte| *byte == blank(self.encoding));
            if !is_blank {
                return Ok(Next::Line(self.translate(text, skipped, lines_skipped, length)));
            }
            skipped = skipped.saturating_add(length);
            lines_skipped = lines_skipped.saturating_add(1);
        }
    }

    /// The bytes of the line that begins here, and its length with its end; none where it isn't
    /// all there yet.
    fn line<'a>(
        &self,
        rest: &'a [u8],
        end_of_content: bool,
    ) -> Result<Option<(&'a [u8], usize)>, Refusal> {
        let end = match self.cut {
            Cut::Fixed => {
                let line = rest.get(..LENGTH).unwrap_or(rest);
                match self.find_end(line) {
                    None if line.len() == LENGTH => return Ok(Some((line, LENGTH))),
                    end => end,
                }
            }
            Cut::Ended => self.find_end(rest.get(..self.bytes_max).unwrap_or(rest)),
        };
        match end {
            Some(at) => {
                let after = at.saturating_add(1);
                let is_return = rest.get(at) == Some(&b'\r');
                let length = match rest.get(after) {
                    Some(byte) if is_return && *byte == line_feed(self.encoding) => {
                        after.saturating_add(1)
                    }
                    // The line feed of this carriage return may be still to come.
                    None if is_return && !end_of_content => return Ok(None),
                    _ => after,
                };
                Ok(Some((rest.get(..at).unwrap_or_default(), length)))
            }
            None if rest.len() >= self.bytes_max => Err(Refusal::new(
                Reason::new("line_too_long")
                    .expected_found(format!("a line end within {} bytes", self.bytes_max), "none"),
            )),
            None if end_of_content => Ok(Some((rest, rest.len()))),
            None => Ok(None),
        }
    }

    fn translate(&self, bytes: &[u8], skipped: usize, lines_skipped: i64, length: usize) -> Line {
        let mut text = [b' '; LENGTH];
        match self.encoding.page() {
            None => {
                let shown = bytes.get(..LENGTH).unwrap_or(bytes);
                if let Some(into) = text.get_mut(..shown.len()) {
                    into.copy_from_slice(shown);
                }
            }
            Some(_) => {
                for (into, byte) in text.iter_mut().zip(bytes) {
                    *into = self.character(*byte);
                }
            }
        }
        let behind = bytes.get(LENGTH..).unwrap_or_default();
        let overlong = behind.iter().any(|byte| *byte != blank(self.encoding));
        Line { text, skipped, lines_skipped, length, overlong }
    }

    fn character(&self, byte: u8) -> u8 {
        match self.encoding.page() {
            None => byte,
            Some(page) => page.get(usize::from(byte)).copied().unwrap_or(byte),
        }
    }

    fn find_end(&self, bytes: &[u8]) -> Option<usize> {
        memchr3(b'\r', line_feed(self.encoding), new_line(self.encoding), bytes)
    }

    fn is_end(&self, byte: u8) -> bool {
        [b'\r', line_feed(self.encoding), new_line(self.encoding)].contains(&byte)
    }
}

/// The first character of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Peek {
    /// More bytes are needed to tell.
    More,
    /// Nothing but blank lines.
    End,
    /// This one.
    Character(u8),
}

/// The byte of LF. In EBCDIC 25, whatever the page: the pages give it to LF or NEL, and both end
/// a line.
fn line_feed(encoding: Encoding) -> u8 {
    if encoding.is_ebcdic() { 0x25 } else { b'\n' }
}

/// The byte of NEL, which ends lines in EBCDIC only.
fn new_line(encoding: Encoding) -> u8 {
    if encoding.is_ebcdic() { 0x15 } else { b'\n' }
}

fn blank(encoding: Encoding) -> u8 {
    if encoding.is_ebcdic() { 0x40 } else { b' ' }
}
