//! Containers: what a file's content is packed in.
//!
//! A decoder is a state machine without I/O: packed bytes in, content out, under two limits, so
//! that a small object never becomes endless content.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};
use schemas::arrival::Reason;

/// What an object's bytes are packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Nothing: the bytes are the content.
    None,
    /// Gzip (RFC 1952), of one member or several.
    Gzip,
}

impl Container {
    /// How many first bytes [`Container::detect`] looks at.
    pub const DETECT_BYTES: usize = 3;

    /// The container that these first bytes begin. No format begins with gzip's magic.
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            _ => Self::None,
        }
    }

    /// Its name, as the verdict has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
        }
    }

    /// The container of this name; none where there is none such.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip].into_iter().find(|container| container.name() == name)
    }

    /// Unpacks an object that is all there.
    ///
    /// # Errors
    ///
    /// As of [`Decoder::push`] and [`Decoder::finish`].
    pub fn decode_all(self, packed: &[u8], limits: Limits) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(self, limits);
        let mut content = Vec::new();
        let mut rest = packed;
        while !rest.is_empty() {
            let used = decoder.push(rest, &mut content)?;
            rest = rest.get(used..).unwrap_or_default();
        }
        decoder.finish()?;
        Ok(content)
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How large content may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of content.
    pub bytes_max: u64,
    /// The most bytes of content for each packed byte, from 1. Deflate reaches 1,032; clearing
    /// files, which repeat themselves, reach some fifty.
    pub ratio_max: u64,
}

/// An object that can't be unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The packed bytes are damaged.
    Damaged {
        /// Where in the object, from 0.
        offset: u64,
        /// What is damaged.
        what: &'static str,
    },
    /// The object ends within the container.
    Truncated {
        /// The object's length.
        offset: u64,
    },
    /// Something that is no gzip member follows the last one.
    Trailing {
        /// Where in the object, from 0.
        offset: u64,
    },
    /// The content is larger than allowed.
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The content is out of proportion to what it is packed in.
    OutOfProportion {
        /// The limit.
        ratio_max: u64,
    },
}

impl std::error::Error for DecodeError {}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (expected, found) = self.expected_found();
        write!(f, "expected {expected}, found {found}")
    }
}

impl DecodeError {
    /// A code to count by.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "container_damaged",
            Self::Truncated { .. } => "container_truncated",
            Self::Trailing { .. } => "container_trailing_bytes",
            Self::TooLarge { .. } => "content_too_large",
            Self::OutOfProportion { .. } => "content_out_of_proportion",
        }
    }

    /// Why the object is refused, with what was expected and found. Its offset is one of the packed
    /// object, so it stands in the text: a reason's place is one in the content.
    pub fn reason(&self) -> Reason {
        let (expected, found) = self.expected_found();
        Reason::new(self.code()).expected_found(expected, found)
    }

    fn expected_found(&self) -> (String, String) {
        let of_content = |limit: &u64, of: &str| format!("at most {limit} bytes of content{of}");
        match self {
            Self::Damaged { offset, what } => {
                ("gzip".to_owned(), format!("a damaged {what} at byte {offset} of the object"))
            }
            Self::Truncated { offset } => (
                "the rest of the gzip member".to_owned(),
                format!("the end of the object at byte {offset}"),
            ),
            Self::Trailing { offset } => (
                "the end of the object or another gzip member".to_owned(),
                format!("other bytes at byte {offset} of the object"),
            ),
            Self::TooLarge { bytes_max } => (of_content(bytes_max, ""), "more".to_owned()),
            Self::OutOfProportion { ratio_max } => {
                (of_content(ratio_max, " for each packed byte"), "more".to_owned())
            }
        }
    }
}

/// Unpacks an object that comes in pieces.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    packed: u64,
    content: u64,
    stage: Stage,
    inflate: Decompress,
    checksum: flate2::Crc,
}

/// Where in a member the decoder stands.
#[derive(Debug)]
enum Stage {
    /// Not packed.
    Plain,
    /// In the header; what there is of it so far.
    Header(Vec<u8>),
    /// In the compressed blocks.
    Body,
    /// In the eight bytes behind them: checksum and length.
    Trailer(Vec<u8>),
    /// Between members, or behind the last one.
    Between,
}

/// The longest header: ten bytes, extra fields of 64 KiB, a name and a comment of as much each.
const HEADER_BYTES_MAX: usize = 200_000;

/// What one call of [`Decoder::push`] gives at most.
const OUTPUT_BYTES: usize = 65_536;

/// The ratio is looked at from here on: a short file of blanks packs very well.
const RATIO_FROM_BYTES: u64 = 1_048_576;

impl Decoder {
    /// A decoder at the beginning of an object.
    pub fn new(container: Container, limits: Limits) -> Self {
        Self {
            limits,
            packed: 0,
            content: 0,
            stage: match container {
                Container::None => Stage::Plain,
                Container::Gzip => Stage::Header(Vec::new()),
            },
            inflate: Decompress::new(false),
            checksum: flate2::Crc::new(),
        }
    }

    /// Takes some of `packed`, adds content to `content`, at most 64 KiB a call where it is packed,
    /// and gives how many bytes of `packed` it took. Call it until it has taken all of them.
    ///
    /// # Errors
    ///
    /// Where the bytes are damaged, are no container, or a limit is passed.
    pub fn push(&mut self, packed: &[u8], content: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let before = content.len();
        let used = match &mut self.stage {
            Stage::Plain => {
                content.extend_from_slice(packed);
                packed.len()
            }
            Stage::Between => {
                if packed.is_empty() {
                    return Ok(0);
                }
                self.stage = Stage::Header(Vec::new());
                0
            }
            Stage::Header(_) => self.header(packed)?,
            Stage::Body => self.body(packed, content)?,
            Stage::Trailer(_) => self.trailer(packed)?,
        };
        self.packed = self.packed.saturating_add(wide(used));
        self.content = self.content.saturating_add(wide(content.len().saturating_sub(before)));
        self.within_limits()?;
        Ok(used)
    }

    /// Ends the object.
    ///
    /// # Errors
    ///
    /// Where it ends within a member.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match &self.stage {
            Stage::Plain | Stage::Between => Ok(()),
            Stage::Header(_) | Stage::Body | Stage::Trailer(_) => {
                Err(DecodeError::Truncated { offset: self.packed })
            }
        }
    }

    fn header(&mut self, packed: &[u8]) -> Result<usize, DecodeError> {
        let Stage::Header(header) = &mut self.stage else { return Ok(0) };
        // A byte at a time: headers are short, and end where their flags say.
        let mut used = 0_usize;
        for byte in packed {
            header.push(*byte);
            used = used.saturating_add(1);
            match header_state(header) {
                HeaderState::More if header.len() < HEADER_BYTES_MAX => (),
                HeaderState::Whole => {
                    self.inflate.reset(false);
                    self.checksum = flate2::Crc::new();
                    self.stage = Stage::Body;
                    break;
                }
                HeaderState::More | HeaderState::Wrong => {
                    let offset = self.packed;
                    return Err(if self.content > 0 || offset > 0 && header.len() <= 3 {
                        DecodeError::Trailing { offset }
                    } else {
                        DecodeError::Damaged { offset, what: "header" }
                    });
                }
            }
        }
        Ok(used)
    }

    fn body(&mut self, packed: &[u8], content: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let from = content.len();
        content.reserve(OUTPUT_BYTES);
        let (before_in, _) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress_vec(packed, content, FlushDecompress::None);
        let used = usize::try_from(self.inflate.total_in().saturating_sub(before_in))
            .unwrap_or(packed.len());
        let damaged = |what| DecodeError::Damaged { offset: self.packed, what };
        let status = status.map_err(|_| damaged("compressed blocks"))?;
        self.checksum.update(content.get(from..).unwrap_or_default());
        match status {
            Status::StreamEnd => self.stage = Stage::Trailer(Vec::new()),
            Status::Ok => (),
            Status::BufError if used == 0 && content.len() == from && !packed.is_empty() => {
                return Err(damaged("compressed blocks"));
            }
            Status::BufError => (),
        }
        Ok(used)
    }

    fn trailer(&mut self, packed: &[u8]) -> Result<usize, DecodeError> {
        let Stage::Trailer(trailer) = &mut self.stage else { return Ok(0) };
        let wanted = 8_usize.saturating_sub(trailer.len());
        let piece = packed.get(..wanted).unwrap_or(packed);
        trailer.extend_from_slice(piece);
        if let Ok(trailer) = <[u8; 8]>::try_from(trailer.as_slice()) {
            let [a, b, c, d, e, f, g, h] = trailer;
            if u32::from_le_bytes([a, b, c, d]) != self.checksum.sum()
                || u32::from_le_bytes([e, f, g, h]) != self.checksum.amount()
            {
                return Err(DecodeError::Damaged { offset: self.packed, what: "checksum" });
            }
            self.stage = Stage::Between;
        }
        Ok(piece.len())
    }

    fn within_limits(&self) -> Result<(), DecodeError> {
        let Limits { bytes_max, ratio_max } = self.limits;
        if self.content > bytes_max {
            return Err(DecodeError::TooLarge { bytes_max });
        }
        if matches!(self.stage, Stage::Plain) || self.content < RATIO_FROM_BYTES {
            return Ok(());
        }
        if self.content > self.packed.saturating_mul(ratio_max) {
            return Err(DecodeError::OutOfProportion { ratio_max });
        }
        Ok(())
    }
}

enum HeaderState {
    More,
    Whole,
    Wrong,
}

/// Whether a member's header (RFC 1952, 2.3) is all there.
fn header_state(header: &[u8]) -> HeaderState {
    for (found, expected) in header.iter().zip([0x1f, 0x8b, 8]) {
        if *found != expected {
            return HeaderState::Wrong;
        }
    }
    let Some((fixed, mut rest)) = header.split_at_checked(10) else { return HeaderState::More };
    let flags = fixed.get(3).copied().unwrap_or_default();
    if flags & 0xe0 != 0 {
        return HeaderState::Wrong;
    }
    if flags & 0x04 != 0 {
        let Some(([low, high], behind)) = rest
            .split_at_checked(2)
            .and_then(|(length, behind)| Some((<[u8; 2]>::try_from(length).ok()?, behind)))
        else {
            return HeaderState::More;
        };
        let Some(behind) = behind.get(usize::from(u16::from_le_bytes([low, high]))..) else {
            return HeaderState::More;
        };
        rest = behind;
    }
    // Name, then comment: each ends with a zero byte.
    for flag in [0x08, 0x10] {
        if flags & flag == 0 {
            continue;
        }
        let Some(end) = rest.iter().position(|byte| *byte == 0) else { return HeaderState::More };
        rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
    }
    let checksum_bytes = if flags & 0x02 == 0 { 0 } else { 2 };
    if rest.len() < checksum_bytes { HeaderState::More } else { HeaderState::Whole }
}

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
