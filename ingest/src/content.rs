//! The content of an object: what is inside its container, in blocks of one size.
//!
//! Verification digests each block; publishing takes a block only where its digest is the same, so
//! no byte that was not verified is ever published. Memory is a block, whatever the file's size.

use bytes::{Buf, Bytes};
use sha2::{Digest as _, Sha256};

use crate::bucket::{self, Bucket, Object};
use crate::container::{Container, DecodeError, Decoder, Limits};
use ranges::Ranges;

mod ranges;

/// The largest block: 8 MiB, so that a handful of open files fits into any memory.
pub const BLOCK_BYTES_MAX: u64 = 8 << 20;

/// The smallest block: 256 KiB, below which asking for it costs more than reading it.
pub const BLOCK_BYTES_MIN: u64 = 256 << 10;

/// The size of the blocks of an object: as small as keeps the digests of all of them, which go into
/// each row of the file, at some kilobytes.
///
/// A packed object holds more than its size tells: its blocks are eight times as large.
pub fn block_bytes(size: u64, container: Container) -> u64 {
    let blocks = match container {
        Container::None => 256,
        Container::Gzip | Container::Zstd => 32,
    };
    (size / blocks).next_power_of_two().clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)
}

/// How much is read at once, unless a block is larger: less would be more requests than a server
/// far away answers in time.
const RANGE_BYTES_MIN: u64 = 1 << 20;

/// How many bytes of a block's SHA-256 are kept.
pub const BLOCK_DIGEST_BYTES: usize = 16;

/// Why content can't be read on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bucket or the object is at fault.
    #[error(transparent)]
    Bucket(#[from] bucket::Error),
    /// The container is damaged or unpacks too far.
    #[error(transparent)]
    Container(#[from] DecodeError),
}

/// A block of content.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its bytes: as many as a block has, fewer only in the last one.
    pub bytes: Bytes,
    /// True for the last one.
    pub is_last: bool,
}

impl Block {
    /// The first half of its SHA-256.
    pub fn digest(&self) -> [u8; BLOCK_DIGEST_BYTES] {
        let mut half = [0; BLOCK_DIGEST_BYTES];
        half.copy_from_slice(&Sha256::digest(&self.bytes)[..BLOCK_DIGEST_BYTES]);
        half
    }
}

/// Reads the content of one object, block by block.
#[derive(Debug)]
pub struct Blocks {
    ranges: Ranges,
    /// The size of a block.
    block_bytes: usize,
    container: Container,
    decoder: Option<Decoder>,
    /// Bytes of the object that are read and not used yet: whole blocks, but for the last; inside a
    /// container what is not unpacked yet.
    unused: Bytes,
    /// Decoded bytes that don't fill a block yet; always empty without a container.
    decoded: Vec<u8>,
    /// Blocks still to be read again and passed over.
    skip: u64,
    ended: bool,
}

impl Blocks {
    /// Begins to read an object at the block of this index: 0 is its first.
    ///
    /// Inside a container the blocks before it are read again and passed over. `block_bytes` is the
    /// size that the file's verdict is bound to, if it has one, and else that of [`block_bytes`].
    ///
    /// # Errors
    ///
    /// Where its first bytes can't be read.
    pub async fn open(
        bucket: &Bucket,
        object: &Object,
        limits: Limits,
        block_size: Option<u64>,
        first_block: u64,
    ) -> Result<Self, Error> {
        let head = bucket.read(object, 0..object.size.min(16)).await?;
        let container = Container::detect(&head);
        let plain = container == Container::None;
        let block_size = block_size.unwrap_or_else(|| block_bytes(object.size, container));
        let block_size = block_size.clamp(1, BLOCK_BYTES_MAX);
        let start = if plain { first_block.saturating_mul(block_size) } else { 0 };
        let range_bytes = match plain {
            true => block_size.saturating_mul((RANGE_BYTES_MIN / block_size).max(1)),
            false => RANGE_BYTES_MIN,
        };
        Ok(Self {
            ranges: Ranges::new(bucket, object, start, range_bytes),
            block_bytes: usize::try_from(block_size).unwrap_or(usize::MAX),
            container,
            decoder: (!plain).then(|| Decoder::new(container, limits)),
            unused: Bytes::new(),
            decoded: Vec::new(),
            skip: if plain { 0 } else { first_block },
            ended: false,
        })
    }

    /// The size of a block: all have it but the last, which may be smaller.
    pub fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The container of the object.
    pub fn container(&self) -> Container {
        self.container
    }

    /// The next block; none after the last. An empty object has one block, which is empty.
    ///
    /// # Errors
    ///
    /// Where the object is gone or can't be read, which may be tried again, or its container is
    /// damaged.
    pub async fn next(&mut self) -> Result<Option<Block>, Error> {
        while self.skip > 0 {
            if self.read().await?.is_none() {
                return Ok(None);
            }
            self.skip -= 1;
        }
        self.read().await
    }

    async fn read(&mut self) -> Result<Option<Block>, Error> {
        if self.ended {
            return Ok(None);
        }
        let block = match self.container {
            Container::None => self.read_plain().await?,
            Container::Gzip | Container::Zstd => self.read_decoded().await?,
        };
        self.ended = block.is_last;
        Ok(Some(block))
    }

    async fn read_plain(&mut self) -> Result<Block, Error> {
        if self.unused.is_empty() {
            self.unused = self.ranges.next().await?;
        }
        let bytes = self.unused.split_to(self.unused.len().min(self.block_bytes));
        Ok(Block { bytes, is_last: self.is_drained() })
    }

    async fn read_decoded(&mut self) -> Result<Block, Error> {
        // One byte more than a block tells whether this block is the last.
        let block_bytes = self.block_bytes;
        while self.decoded.len() <= block_bytes && !self.is_drained() {
            if self.unused.is_empty() {
                self.unused = self.ranges.next().await?;
            }
            // It is there but while it works; where it failed, nothing is read on.
            let Some(mut decoder) = self.decoder.take() else { break };
            let mut compressed = std::mem::take(&mut self.unused);
            let mut decoded = std::mem::take(&mut self.decoded);
            let unpack = move || {
                let mut result = Ok(());
                while decoded.len() <= block_bytes && !compressed.is_empty() {
                    match decoder.push(&compressed, &mut decoded) {
                        Ok(used) => compressed.advance(used.min(compressed.len())),
                        Err(error) => {
                            result = Err(error);
                            break;
                        }
                    }
                }
                (decoder, compressed, decoded, result)
            };
            let unpacked = tokio::task::spawn_blocking(unpack).await;
            let (decoder, result);
            (decoder, self.unused, self.decoded, result) =
                unpacked.map_err(|error| bucket::Error::object(self.ranges.key(), error))?;
            self.decoder = Some(decoder);
            result?;
        }
        let rest = self.decoded.split_off(self.decoded.len().min(block_bytes));
        let bytes = Bytes::from(std::mem::replace(&mut self.decoded, rest));
        let is_last = self.decoded.is_empty() && self.is_drained();
        if is_last && let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
        }
        Ok(Block { bytes, is_last })
    }

    /// True where all of the object is used.
    fn is_drained(&self) -> bool {
        self.unused.is_empty() && self.ranges.is_at_end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_small_where_files_are() {
        for (size, container, expected) in [
            (0, Container::None, BLOCK_BYTES_MIN),
            (100_000_000, Container::None, 512 << 10),
            (100_000_000, Container::Gzip, 4 << 20),
            (100_000_000, Container::Zstd, 4 << 20),
            (10_000_000_000, Container::None, BLOCK_BYTES_MAX),
            (u64::MAX, Container::Gzip, BLOCK_BYTES_MAX),
        ] {
            assert_eq!(block_bytes(size, container), expected, "{size} {container}");
        }
    }
}
