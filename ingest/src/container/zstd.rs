//! Zstandard (RFC 8878): frames of blocks, one after another.
//!
//! The blocks are found here and unpacked by the library, a whole one at a time: so what is kept is
//! a block of at most 128 KiB, the window that further blocks may copy from, and nothing else,
//! however the object's bytes come.
//!
//! # Format
//!
//! ```text
//! 28 B5 2F FD  descriptor  [window]  [dictionary]  [content size]      the frame's header
//! header of 3 bytes: last block, kind, size; then its bytes            as often as needed
//! checksum of 4 bytes, where the descriptor says so
//!
//! 5? 2A 4D 18  size of 4 bytes, then so many bytes                     a frame to be stepped over
//! ```

use std::fmt;
use std::io::Read as _;

use ruzstd::decoding::errors::FrameDecoderError;
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{DecodeError, OUTPUT_BYTES, wide};

/// The largest window: what RFC 8878 (3.1.1.1.2) asks every decoder to bear, and all that the
/// levels up to 19 use. A frame may ask for 4 TiB.
const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// The largest block, packed or not (RFC 8878, 3.1.1.2.4).
const BLOCK_BYTES_MAX: usize = 128 << 10;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const BLOCK_HEADER_BYTES: usize = 3;
const CHECKSUM_BYTES: usize = 4;

/// Unpacks frames.
pub(super) struct Zstd {
    stage: Stage,
    /// What there is so far of a header or block.
    part: Vec<u8>,
    frame: FrameDecoder,
    has_checksum: bool,
    /// Bytes of content of this frame.
    content: u64,
}

/// Where in a frame the decoder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In a frame's header.
    Header,
    /// In a block, its header included.
    Block,
    /// A block is unpacked, and its content not all given yet. Its last byte is taken once it is.
    Drain,
    /// In a frame that is stepped over: this many bytes are left.
    Skip(u64),
    /// Between frames, or behind the last one.
    Between,
}

/// A part's length, as far as its bytes tell.
enum Length {
    /// So many bytes; once they are there, more may be needed to tell.
    AtLeast(usize),
    /// All of it.
    Whole(usize),
}

impl Zstd {
    pub(super) fn new() -> Self {
        let mut frame = FrameDecoder::new();
        frame.set_max_window_size(WINDOW_BYTES_MAX);
        Self { stage: Stage::Header, part: Vec::new(), frame, has_checksum: false, content: 0 }
    }

    /// Takes some of `packed`, which is at `offset` of the object.
    pub(super) fn push(
        &mut self,
        packed: &[u8],
        offset: u64,
        content: &mut Vec<u8>,
    ) -> Result<usize, DecodeError> {
        match self.stage {
            Stage::Between => {
                if !packed.is_empty() {
                    self.stage = Stage::Header;
                    self.part.clear();
                }
                Ok(0)
            }
            Stage::Header => self.header(packed, offset),
            Stage::Block => self.block(packed, offset),
            Stage::Drain => self.drain(offset, content),
            Stage::Skip(left) => {
                let used = packed.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                self.stage = match left.saturating_sub(wide(used)) {
                    0 => Stage::Between,
                    left => Stage::Skip(left),
                };
                Ok(used)
            }
        }
    }

    /// True behind a whole frame.
    pub(super) fn is_whole(&self) -> bool {
        self.stage == Stage::Between
    }

    /// Adds to the part what it lacks to this length; gives how many bytes those are.
    fn take(&mut self, packed: &[u8], length: usize) -> usize {
        let wanted = length.saturating_sub(self.part.len());
        let piece = packed.get(..wanted).unwrap_or(packed);
        self.part.extend_from_slice(piece);
        piece.len()
    }

    fn header(&mut self, packed: &[u8], offset: u64) -> Result<usize, DecodeError> {
        let start = offset.saturating_sub(wide(self.part.len()));
        let used = match header_length(&self.part) {
            Length::AtLeast(length) | Length::Whole(length) => self.take(packed, length),
        };
        match *self.part.as_slice() {
            [first, ref rest @ ..] if first & 0xf0 == 0x50 => {
                let is_skipped = rest.iter().zip([0x2a, 0x4d, 0x18]).all(|(a, b)| *a == b);
                if !is_skipped {
                    return Err(trailing(start));
                }
                if let Some(size) = rest.get(3..7).and_then(|size| size.try_into().ok()) {
                    self.part.clear();
                    self.stage = match u32::from_le_bytes(size) {
                        0 => Stage::Between,
                        size => Stage::Skip(u64::from(size)),
                    };
                }
                return Ok(used);
            }
            ref part if !part.iter().zip(MAGIC).all(|(a, b)| *a == b) => {
                return Err(trailing(start));
            }
            _ => (),
        }
        if let Length::Whole(length) = header_length(&self.part)
            && self.part.len() == length
        {
            self.has_checksum = self.part.get(4).is_some_and(|descriptor| descriptor & 0x04 != 0);
            self.frame.reset(self.part.as_slice()).map_err(|error| match error {
                FrameDecoderError::WindowSizeTooBig { .. } => {
                    DecodeError::Unsupported { offset: start, what: "a larger window" }
                }
                FrameDecoderError::DictNotProvided { .. } => {
                    DecodeError::Unsupported { offset: start, what: "a dictionary" }
                }
                _ => DecodeError::Damaged { offset: start, what: "header" },
            })?;
            self.content = 0;
            self.part.clear();
            self.stage = Stage::Block;
        }
        Ok(used)
    }

    /// Takes a block, with the checksum behind the last one; unpacks it when it is all there.
    fn block(&mut self, packed: &[u8], offset: u64) -> Result<usize, DecodeError> {
        let start = offset.saturating_sub(wide(self.part.len()));
        let damaged = || DecodeError::Damaged { offset: start, what: "compressed blocks" };
        let mut used = 0_usize;
        loop {
            let length = block_length(&self.part, self.has_checksum).ok_or_else(damaged)?;
            let (Length::AtLeast(needed) | Length::Whole(needed)) = length;
            used = used.saturating_add(self.take(packed.get(used..).unwrap_or_default(), needed));
            if self.part.len() < needed {
                return Ok(used);
            }
            if matches!(length, Length::Whole(_)) {
                break;
            }
        }
        let strategy = BlockDecodingStrategy::UptoBlocks(1);
        self.frame.decode_blocks(self.part.as_slice(), strategy).map_err(|_| damaged())?;
        self.part.clear();
        self.stage = Stage::Drain;
        // The last byte is taken when all of the content is given: until then there is something
        // to call again for.
        Ok(used.saturating_sub(1))
    }

    /// Gives content of the block, and ends the frame behind its last one.
    fn drain(&mut self, offset: u64, content: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let from = content.len();
        let length = self.frame.can_collect().min(OUTPUT_BYTES);
        content.resize(from.saturating_add(length), 0);
        let room = content.get_mut(from..).unwrap_or_default();
        let damaged = |what| DecodeError::Damaged { offset, what };
        let given = self.frame.read(room).map_err(|_| damaged("compressed blocks"))?;
        content.truncate(from.saturating_add(given));
        self.content = self.content.saturating_add(wide(given));
        if given > 0 && self.frame.can_collect() > 0 {
            return Ok(0);
        }
        self.stage = Stage::Block;
        if self.frame.is_finished() {
            let stated = self.frame.content_size();
            if self.frame.get_checksum_from_data().is_some()
                && self.frame.get_checksum_from_data() != self.frame.get_calculated_checksum()
            {
                return Err(damaged("checksum"));
            }
            if stated != 0 && stated != self.content {
                return Err(damaged("content size"));
            }
            self.stage = Stage::Between;
        }
        Ok(1)
    }
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("stage", &self.stage).finish_non_exhaustive()
    }
}

fn trailing(offset: u64) -> DecodeError {
    DecodeError::Trailing { offset }
}

/// How long the header is that begins with these bytes: of a frame, or of one to be stepped over.
fn header_length(part: &[u8]) -> Length {
    match part {
        [0x50..=0x5f, ..] => Length::Whole(8),
        [_, _, _, _, descriptor, ..] => {
            let is_single_segment = descriptor & 0x20 != 0;
            let window = if is_single_segment { 0 } else { 1 };
            let dictionary = match descriptor & 0x03 {
                3 => 4,
                length => usize::from(length),
            };
            let content_size = match descriptor >> 6 {
                0 if is_single_segment => 1,
                0 => 0,
                1 => 2,
                2 => 4,
                _ => 8,
            };
            let fixed = MAGIC.len().saturating_add(1);
            Length::Whole([fixed, window, dictionary, content_size].iter().sum())
        }
        // Byte by byte up to the descriptor: what is no magic is told at once.
        _ => Length::AtLeast(part.len().saturating_add(1)),
    }
}

/// How long a block is, header and checksum included; none where it can't be one.
fn block_length(part: &[u8], has_checksum: bool) -> Option<Length> {
    let [a, b, c, ..] = *part else { return Some(Length::AtLeast(BLOCK_HEADER_BYTES)) };
    let header = u32::from_le_bytes([a, b, c, 0]);
    let size = usize::try_from(header >> 3).ok()?;
    let stored = match (header >> 1) & 0x03 {
        // One byte, so many times.
        1 => 1,
        0 | 2 => size,
        _ => return None,
    };
    if size > BLOCK_BYTES_MAX {
        return None;
    }
    let is_last = header & 1 != 0;
    let checksum = if is_last && has_checksum { CHECKSUM_BYTES } else { 0 };
    Some(Length::Whole(BLOCK_HEADER_BYTES.saturating_add(stored).saturating_add(checksum)))
}
