//! Units with a length before each, alone or in blocks that have one too.
//!
//! # Format
//!
//! Four bytes. High byte first: two of length, two of zero. Low byte first: two of zero, two of
//! length. A block's word may use 31 bits, with the highest one set: an extended block.

use super::{CutError, Input, Memory, Next, Unit};

/// How lengths are written before units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix {
    /// In which order.
    pub(crate) word: Word,
    /// True where a length counts its own four bytes too, as z/OS writes it.
    pub(crate) includes_itself: bool,
    /// True where units stand in blocks, with a length of their own before each.
    pub(crate) blocked: bool,
}

/// The order of a length's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// `LL LL 00 00`, high byte first.
    Big,
    /// `00 00 LL LL`, low byte first.
    Little,
}

/// What a length is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Block,
    Record,
}

impl std::fmt::Display for Of {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Block => "a block",
            Self::Record => "a record",
        })
    }
}

/// The bytes of a descriptor word.
const WORD: usize = 4;

impl Prefix {
    /// The next unit.
    pub(super) fn next<'a>(self, memory: Memory, input: Input<'a>) -> Result<Next<'a>, CutError> {
        if input.rest.is_empty() && memory.block_left == 0 {
            return Ok(match input.end_of_content {
                true => Next::End { end_of_text: false },
                false => Next::More,
            });
        }
        let (mut skipped, mut block_left) = (0, memory.block_left);
        if self.blocked && block_left == 0 {
            let Some(length) = self.length(input, 0, Of::Block)? else { return Ok(Next::More) };
            (skipped, block_left) = (WORD, length);
        }
        let Some(length) = self.length(input, skipped, Of::Record)? else {
            return Ok(Next::More);
        };
        if length > input.bytes_max {
            let expected = format!("a record of at most {} bytes", input.bytes_max);
            let found = format!("a length of {length}");
            return Err(CutError::new("framing_lost", skipped, expected, found));
        }
        let whole = length.saturating_add(WORD);
        if self.blocked {
            let Some(left) = block_left.checked_sub(whole) else {
                let expected = format!("a record within the {block_left} bytes left of its block");
                let found = format!("one of {whole}");
                return Err(CutError::new("framing_lost", skipped, expected, found));
            };
            block_left = left;
        }
        let from = skipped.saturating_add(WORD);
        let Some(bytes) = input.from(from).get(..length) else {
            return match input.end_of_content {
                true => Err(CutError::truncated(
                    skipped,
                    format!("{length} bytes of a record"),
                    input.from(from).len(),
                )),
                false => Ok(Next::More),
            };
        };
        let after = Memory { begun: true, unseparated: true, block_left };
        Ok(Next::Unit(Unit { bytes, skipped, lines_skipped: 0, length: whole, lines: 0, after }))
    }

    /// The length that stands at `at`, without itself; none where it isn't all there.
    fn length(self, input: Input<'_>, at: usize, of: Of) -> Result<Option<usize>, CutError> {
        let rest = input.from(at);
        let Some(word) = rest.first_chunk::<WORD>() else {
            return match input.end_of_content {
                true => Err(CutError::truncated(at, "4 bytes of a length", rest.len())),
                false => Ok(None),
            };
        };
        let length = match (self.word, *word) {
            (Word::Big, [high, b, c, d]) if of == Of::Block && high & 0x80 != 0 => {
                usize::try_from(u32::from_be_bytes([high & 0x7f, b, c, d])).ok()
            }
            (Word::Big, [high, low, 0, 0]) => Some(usize::from(u16::from_be_bytes([high, low]))),
            (Word::Little, [0, 0, low, high]) => Some(usize::from(u16::from_le_bytes([low, high]))),
            _ => None,
        };
        let Some(length) = length else {
            let expected = match self.word {
                Word::Big => format!("the length of {of} and two bytes of zero"),
                Word::Little => format!("two bytes of zero and the length of {of}"),
            };
            return Err(CutError::new("framing_lost", at, expected, "other bytes"));
        };
        let own = if self.includes_itself { WORD } else { 0 };
        match length.checked_sub(own) {
            Some(payload) if payload > 0 => Ok(Some(payload)),
            _ => {
                let expected = format!("a length of {of} of at least {}", own.saturating_add(1));
                Err(CutError::new("framing_lost", at, expected, length.to_string()))
            }
        }
    }
}
