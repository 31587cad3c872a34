//! Containers: what a file's content is packed in.
//!
//! A decoder is a state machine without I/O: packed bytes in, content out, under two limits, so
//! that a small object never becomes endless content.

#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::as_conversions)]

mod gzip;
mod zstd;

use std::fmt;

use schemas::arrival::Reason;

use self::gzip::Gzip;
use self::zstd::Zstd;

/// What an object's bytes are packed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// Nothing: the bytes are the content.
    None,
    /// Gzip (RFC 1952), of one member or several.
    Gzip,
    /// Zstandard (RFC 8878), of one frame or several.
    Zstd,
}

impl Container {
    /// How many first bytes [`Container::detect`] looks at.
    pub const DETECT_BYTES: usize = 4;

    /// The container that these first bytes begin. No format begins with the magic of one.
    pub fn detect(first: &[u8]) -> Self {
        match first {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // A frame, or one that is to be stepped over.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Its name, as the verdict has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The container of this name; none where there is none such.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Gzip, Self::Zstd].into_iter().find(|container| container.name() == name)
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
    /// The most bytes of content for each packed byte, from 1. Deflate reaches 1,032, zstd
    /// more; clearing files, which repeat themselves, reach some fifty.
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
    /// Something that is no further part of the container follows the last one.
    Trailing {
        /// Where in the object, from 0.
        offset: u64,
    },
    /// The container asks for what is not given to it.
    Unsupported {
        /// Where in the object, from 0.
        offset: u64,
        /// What it asks for.
        what: &'static str,
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
            Self::Unsupported { .. } => "container_unsupported",
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
            Self::Damaged { offset, what } => (
                "a whole container of gzip or zstd".to_owned(),
                format!("a damaged {what} at byte {offset} of the object"),
            ),
            Self::Truncated { offset } => (
                "the rest of the container of gzip or zstd".to_owned(),
                format!("the end of the object at byte {offset}"),
            ),
            Self::Trailing { offset } => (
                "the end of the object, or a further part of the container".to_owned(),
                format!("other bytes at byte {offset} of the object"),
            ),
            Self::Unsupported { offset, what } => (
                "zstd without a dictionary, and with a window of at most 8 MiB".to_owned(),
                format!("{what} at byte {offset} of the object"),
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
}

/// What the container needs to be unpacked.
#[derive(Debug)]
enum Stage {
    /// Not packed.
    Plain,
    Gzip(Box<Gzip>),
    Zstd(Box<Zstd>),
}

/// What one call of [`Decoder::push`] gives at most.
const OUTPUT_BYTES: usize = 65_536;

/// The ratio is looked at from here on: a short file of blanks packs very well.
const RATIO_FROM_BYTES: u64 = 1_048_576;

impl Decoder {
    /// A decoder at the beginning of an object.
    pub fn new(container: Container, limits: Limits) -> Self {
        let stage = match container {
            Container::None => Stage::Plain,
            Container::Gzip => Stage::Gzip(Box::new(Gzip::new())),
            Container::Zstd => Stage::Zstd(Box::new(Zstd::new())),
        };
        Self { limits, packed: 0, content: 0, stage }
    }

    /// Takes some of `packed`, adds content to `content`, at most 64 KiB a call where it is packed,
    /// and gives how many bytes of `packed` it took. Call it until it has taken all of them.
    ///
    /// # Errors
    ///
    /// Where the bytes are damaged, are no container, or a limit is passed.
    pub fn push(&mut self, packed: &[u8], content: &mut Vec<u8>) -> Result<usize, DecodeError> {
        let before = content.len();
        let (offset, is_first) = (self.packed, self.content == 0);
        let used = match &mut self.stage {
            Stage::Plain => {
                content.extend_from_slice(packed);
                packed.len()
            }
            Stage::Gzip(gzip) => gzip.push(packed, offset, is_first, content)?,
            Stage::Zstd(zstd) => zstd.push(packed, offset, content)?,
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
    /// Where it ends within the container.
    pub fn finish(&self) -> Result<(), DecodeError> {
        let is_whole = match &self.stage {
            Stage::Plain => true,
            Stage::Gzip(gzip) => gzip.is_whole(),
            Stage::Zstd(zstd) => zstd.is_whole(),
        };
        match is_whole {
            true => Ok(()),
            false => Err(DecodeError::Truncated { offset: self.packed }),
        }
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

fn wide(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
