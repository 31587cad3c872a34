//! Gzip (RFC 1952): members of deflated blocks, one after another.

use flate2::{Decompress, FlushDecompress, Status};

use super::{DecodeError, OUTPUT_BYTES, wide};

/// Unpacks members.
#[derive(Debug)]
pub(super) struct Gzip {
    stage: Stage,
    inflate: Decompress,
    checksum: flate2::Crc,
}

/// Where in a member the decoder stands.
#[derive(Debug)]
enum Stage {
    /// In the header; what there is of it so far, and what it waits for.
    Header(Vec<u8>, Wait),
    /// In the compressed blocks.
    Body,
    /// In the eight bytes behind them: checksum and length.
    Trailer(Vec<u8>),
    /// Between members, or behind the last one.
    Between,
}

/// The longest header: ten bytes, extra fields of 64 KiB, a name and a comment of as much each.
const HEADER_BYTES_MAX: usize = 200_000;

impl Gzip {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Header(Vec::new(), Wait::Bytes(1)),
            inflate: Decompress::new(false),
            checksum: flate2::Crc::new(),
        }
    }

    /// Takes some of `packed`, which is at `offset` of the object; `is_first` until there is
    /// content.
    pub(super) fn push(
        &mut self,
        packed: &[u8],
        offset: u64,
        is_first: bool,
        content: &mut Vec<u8>,
    ) -> Result<usize, DecodeError> {
        match &mut self.stage {
            Stage::Between => {
                if !packed.is_empty() {
                    self.stage = Stage::Header(Vec::new(), Wait::Bytes(1));
                }
                Ok(0)
            }
            Stage::Header(..) => self.header(packed, offset, is_first),
            Stage::Body => self.body(packed, offset, content),
            Stage::Trailer(_) => self.trailer(packed, offset),
        }
    }

    /// True behind a whole member.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.stage, Stage::Between)
    }

    fn header(&mut self, packed: &[u8], offset: u64, is_first: bool) -> Result<usize, DecodeError> {
        let Stage::Header(header, wait) = &mut self.stage else { return Ok(0) };
        let start = offset.saturating_sub(wide(header.len()));
        // A byte at a time: headers are short, and end where their flags say.
        let mut used = 0_usize;
        for byte in packed {
            header.push(*byte);
            used = used.saturating_add(1);
            if !wait.is_over(header.len(), *byte) && header.len() < HEADER_BYTES_MAX {
                continue;
            }
            match header_state(header) {
                HeaderState::More(more) if header.len() < HEADER_BYTES_MAX => *wait = more,
                HeaderState::Whole => {
                    self.inflate.reset(false);
                    self.checksum = flate2::Crc::new();
                    self.stage = Stage::Body;
                    break;
                }
                HeaderState::More(_) | HeaderState::Wrong => {
                    return Err(if !is_first || start > 0 && header.len() <= 3 {
                        DecodeError::Trailing { offset: start }
                    } else {
                        DecodeError::Damaged { offset: start, what: "header" }
                    });
                }
            }
        }
        Ok(used)
    }

    fn body(
        &mut self,
        packed: &[u8],
        offset: u64,
        content: &mut Vec<u8>,
    ) -> Result<usize, DecodeError> {
        let from = content.len();
        content.reserve(OUTPUT_BYTES);
        let (before_in, _) = (self.inflate.total_in(), self.inflate.total_out());
        let status = self.inflate.decompress_vec(packed, content, FlushDecompress::None);
        let used = usize::try_from(self.inflate.total_in().saturating_sub(before_in))
            .unwrap_or(packed.len());
        let damaged = || DecodeError::Damaged {
            offset: offset.saturating_add(wide(used)),
            what: "compressed blocks",
        };
        let status = status.map_err(|_| damaged())?;
        self.checksum.update(content.get(from..).unwrap_or_default());
        match status {
            Status::StreamEnd => self.stage = Stage::Trailer(Vec::new()),
            Status::Ok => (),
            Status::BufError if used == 0 && content.len() == from && !packed.is_empty() => {
                return Err(damaged());
            }
            Status::BufError => (),
        }
        Ok(used)
    }

    fn trailer(&mut self, packed: &[u8], offset: u64) -> Result<usize, DecodeError> {
        let Stage::Trailer(trailer) = &mut self.stage else { return Ok(0) };
        let start = offset.saturating_sub(wide(trailer.len()));
        let wanted = 8_usize.saturating_sub(trailer.len());
        let piece = packed.get(..wanted).unwrap_or(packed);
        trailer.extend_from_slice(piece);
        if let Ok(trailer) = <[u8; 8]>::try_from(trailer.as_slice()) {
            let [a, b, c, d, e, f, g, h] = trailer;
            if u32::from_le_bytes([a, b, c, d]) != self.checksum.sum()
                || u32::from_le_bytes([e, f, g, h]) != self.checksum.amount()
            {
                return Err(DecodeError::Damaged { offset: start, what: "checksum" });
            }
            self.stage = Stage::Between;
        }
        Ok(piece.len())
    }
}

/// What a header has to have before it is worth looking at again: it may be long, and a look is at
/// all of it.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// So many bytes in all.
    Bytes(usize),
    /// A zero byte, which ends a name or a comment.
    Zero,
}

impl Wait {
    /// True where so many bytes of a header are there, of which this is the last.
    fn is_over(self, length: usize, last: u8) -> bool {
        match self {
            Self::Bytes(wanted) => length >= wanted,
            Self::Zero => last == 0,
        }
    }
}

enum HeaderState {
    More(Wait),
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
    // A byte at a time: what is no member at all is told by its first one.
    let next = HeaderState::More(Wait::Bytes(header.len().saturating_add(1)));
    let Some((fixed, mut rest)) = header.split_at_checked(10) else { return next };
    let flags = fixed.get(3).copied().unwrap_or_default();
    if flags & 0xe0 != 0 {
        return HeaderState::Wrong;
    }
    if flags & 0x04 != 0 {
        let Some(([low, high], behind)) = rest
            .split_at_checked(2)
            .and_then(|(length, behind)| Some((<[u8; 2]>::try_from(length).ok()?, behind)))
        else {
            return next;
        };
        let length = usize::from(u16::from_le_bytes([low, high]));
        let Some(behind) = behind.get(length..) else {
            return HeaderState::More(Wait::Bytes(length.saturating_add(12)));
        };
        rest = behind;
    }
    // Name, then comment: each ends with a zero byte.
    for flag in [0x08, 0x10] {
        if flags & flag == 0 {
            continue;
        }
        let Some(end) = rest.iter().position(|byte| *byte == 0) else {
            return HeaderState::More(Wait::Zero);
        };
        rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
    }
    let checksum_bytes = if flags & 0x02 == 0 { 0 } else { 2 };
    if rest.len() < checksum_bytes { next } else { HeaderState::Whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of 180,000 bytes is looked at as often as a short one: where a part may be over.
    #[test]
    fn a_long_header_is_not_read_again_at_each_byte() {
        let mut header = vec![0x1f, 0x8b, 8, 0x1e, 0, 0, 0, 0, 0, 3];
        header.extend(60_000_u16.to_le_bytes());
        header.extend(vec![0; 60_000]);
        header.extend(vec![b'n'; 60_000]);
        header.push(0);
        header.extend(vec![b'c'; 60_000]);
        header.extend([0, 1, 2]);
        let (mut wait, mut looks) = (Wait::Bytes(1), 0);
        for (at, byte) in header.iter().enumerate() {
            if !wait.is_over(at + 1, *byte) {
                continue;
            }
            looks += 1;
            match header_state(&header[..=at]) {
                HeaderState::More(more) => wait = more,
                HeaderState::Whole => assert_eq!(at + 1, header.len()),
                HeaderState::Wrong => panic!("wrong at {at}"),
            }
        }
        assert!(looks < 20, "{looks} looks");
    }
}
