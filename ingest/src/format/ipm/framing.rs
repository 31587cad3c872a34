//! From bytes to messages: lengths before each, and blocks around them.
//!
//! # Format
//!
//! - VBS: four bytes of length (big-endian, itself not included), then the message. Length 0 ends
//!   the file; filler of 0x40 follows.
//! - Blocked: a VBS stream, cut every 1012 bytes, with 0x40 0x40 after each piece.
//! - RDW: two bytes of length, the four bytes of the descriptor included, then 00 00.

use schemas::arrival::Reason;

use super::elements::HEAD;
use crate::format::{Encoding, Framing, Refusal};

/// Payload of a block.
const PAYLOAD: usize = 1_012;
/// A block: its payload and two bytes of filler.
const BLOCK: usize = 1_014;
const FILLER: u8 = 0x40;
/// What a length reads as where filler stands and the terminator is missing.
const FILLER_LENGTH: u32 = 0x4040_4040;

/// What is at the beginning of the rest of the content.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// More bytes are needed to tell.
    More,
    /// The end of the messages; this many bytes tell so. Filler may follow.
    End {
        /// How many bytes.
        used: usize,
        /// False where the content ends, or filler begins, without a terminator.
        terminated: bool,
    },
    /// A message.
    Message {
        /// Bytes of filler before it.
        skipped: usize,
        /// Its own bytes in the content: length, message, and the filler of blocks within.
        length: usize,
    },
}

/// Takes the next message of `input`, which begins at `offset` of the content, into `message`.
///
/// # Errors
///
/// Where the framing is lost: nothing after that can be told.
pub(super) fn next(
    framing: Framing,
    bytes_max: usize,
    offset: i64,
    input: &[u8],
    end_of_content: bool,
    message: &mut Vec<u8>,
) -> Result<Next, Refusal> {
    let mut take = Take { framing, input, at: 0, column: column(framing, offset) };
    let skipped = take.skip_filler()?;
    message.clear();
    if !take.take(4, message)? {
        return if end_of_content { tail(framing, input, message) } else { Ok(Next::More) };
    }
    let word: [u8; 4] = message.as_slice().try_into().unwrap_or_default();
    message.clear();
    let length = match framing {
        Framing::Rdw => {
            let [high, low, zero, zero_2] = word;
            let length = u16::from_be_bytes([high, low]).checked_sub(4);
            match length {
                Some(length) if zero == 0 && zero_2 == 0 => usize::from(length),
                _ => return Err(lost("a record descriptor word")),
            }
        }
        Framing::Vbs | Framing::Blocked | Framing::Auto => match u32::from_be_bytes(word) {
            0 => return Ok(Next::End { used: take.at, terminated: true }),
            FILLER_LENGTH => return Ok(Next::End { used: take.at, terminated: false }),
            length => usize::try_from(length).unwrap_or(usize::MAX),
        },
    };
    if length < HEAD || length > bytes_max {
        return Err(lost(&format!("a length of {HEAD} to {bytes_max}")));
    }
    if take.take(length, message)? {
        return Ok(Next::Message { skipped, length: take.at.saturating_sub(skipped) });
    }
    if !end_of_content {
        return Ok(Next::More);
    }
    let expected = format!("{length} bytes of a message");
    let found = format!("the end of the content after {}", message.len());
    Err(Refusal::new(Reason::new("truncated").expected_found(expected, found)))
}

/// Fewer than four bytes are left.
fn tail(framing: Framing, input: &[u8], left: &[u8]) -> Result<Next, Refusal> {
    let is_filler = left.iter().all(|byte| *byte == FILLER) || left.iter().all(|byte| *byte == 0);
    if !is_filler {
        let found = format!("the end of the content after {}", left.len());
        let expected = "4 bytes of a length";
        return Err(Refusal::new(Reason::new("truncated").expected_found(expected, found)));
    }
    // A descriptor word has no terminator: the end of the content is the end.
    Ok(Next::End { used: input.len(), terminated: framing == Framing::Rdw && left.is_empty() })
}

/// How many of these bytes may stand behind the terminator: those before the first that may not.
pub(super) fn filler(bytes: &[u8]) -> usize {
    let odd = bytes.iter().position(|byte| *byte != FILLER && *byte != 0);
    odd.unwrap_or(bytes.len())
}

fn lost(expected: &str) -> Refusal {
    Refusal::new(Reason::new("framing_lost").expected_found(expected, "another value"))
}

/// Where in its block an offset stands; 0 in content that has no blocks.
fn column(framing: Framing, offset: i64) -> usize {
    match framing {
        Framing::Blocked => usize::try_from(offset)
            .ok()
            .and_then(|offset| offset.checked_rem(BLOCK))
            .unwrap_or_default(),
        Framing::Vbs | Framing::Rdw | Framing::Auto => 0,
    }
}

/// Takes payload out of blocks.
struct Take<'a> {
    framing: Framing,
    input: &'a [u8],
    at: usize,
    column: usize,
}

impl Take<'_> {
    /// Adds the next `length` bytes of payload to `into`; false where they aren't all there: then
    /// those that are were added.
    fn take(&mut self, length: usize, into: &mut Vec<u8>) -> Result<bool, Refusal> {
        let mut left = length;
        while left > 0 {
            self.skip_filler()?;
            let in_block = match self.framing {
                Framing::Blocked => PAYLOAD.saturating_sub(self.column),
                Framing::Vbs | Framing::Rdw | Framing::Auto => left,
            };
            let rest = self.input.get(self.at..).unwrap_or_default();
            let piece = rest.get(..in_block.min(left)).unwrap_or(rest);
            if piece.is_empty() {
                return Ok(false);
            }
            into.extend_from_slice(piece);
            left = left.saturating_sub(piece.len());
            self.at = self.at.saturating_add(piece.len());
            self.column = self.column.saturating_add(piece.len());
        }
        Ok(true)
    }

    /// Steps over the filler at the end of a block; says how many bytes that were.
    fn skip_filler(&mut self) -> Result<usize, Refusal> {
        if self.framing != Framing::Blocked {
            return Ok(0);
        }
        let mut skipped = 0_usize;
        while self.column >= PAYLOAD {
            let Some(byte) = self.input.get(self.at) else { break };
            if *byte != FILLER {
                return Err(Refusal::new(
                    Reason::new("block_filler")
                        .expected_found("40 40 at the end of a block of 1014 bytes", "other bytes"),
                ));
            }
            self.at = self.at.saturating_add(1);
            self.column = self.column.saturating_add(1);
            skipped = skipped.saturating_add(1);
            if self.column == BLOCK {
                self.column = 0;
            }
        }
        Ok(skipped)
    }
}

/// How far content reads under a framing and page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Walked {
    /// True where nothing in the first bytes speaks against it.
    pub(super) holds: bool,
    /// Messages that look like messages.
    pub(super) count: usize,
}

/// Walks over the messages in the content's first bytes.
pub(super) fn walk(framing: Framing, encoding: Encoding, first: &[u8]) -> Walked {
    let mut message = Vec::new();
    let mut at = 0_usize;
    let mut count = 0_usize;
    loop {
        let rest = first.get(at..).unwrap_or_default();
        let offset = i64::try_from(at).unwrap_or(i64::MAX);
        match next(framing, WALK_BYTES_MAX, offset, rest, false, &mut message) {
            Ok(Next::More | Next::End { .. }) => return Walked { holds: true, count },
            Err(_) => return Walked { holds: false, count },
            Ok(Next::Message { skipped, length }) => {
                if !is_message(encoding, &message) {
                    return Walked { holds: false, count };
                }
                at = at.saturating_add(skipped).saturating_add(length);
                count = count.saturating_add(1);
            }
        }
    }
}

/// Longer messages are not seen in clearing files, whatever a feed allows.
const WALK_BYTES_MAX: usize = 6_000;

/// True where a message begins with an MTI of version 1 and has a secondary bitmap.
fn is_message(encoding: Encoding, message: &[u8]) -> bool {
    let [one, rest @ ..] = message.get(..4).unwrap_or_default() else { return false };
    let zone = encoding.byte(b'0');
    let is_digit = |byte: &u8| matches!(byte.checked_sub(zone), Some(0..=9));
    *one == encoding.byte(b'1')
        && rest.iter().all(is_digit)
        && message.get(4).is_some_and(|byte| byte & 0x80 != 0)
}

/// True for the container of pre-edit files: a header of 128 bytes, then lengths whose first byte
/// is 0x40.
pub(super) fn is_pre_edit(first: &[u8]) -> bool {
    let Some([FILLER, zero, high, low]) = first.get(128..132) else { return false };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let message = first.get(132..).unwrap_or_default();
    *zero == 0
        && (HEAD..=WALK_BYTES_MAX).contains(&length)
        && [Encoding::Ascii, Encoding::Cp500].iter().any(|page| is_message(*page, message))
}
