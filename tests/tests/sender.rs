//! A sender: writes input files of both formats by hand, from a number.
//!
//! It is for tests what a bank is for the product: it knows nothing of how files are read.

mod card;
mod payment;

use std::io::Write as _;

pub(crate) use self::card::{Card, Clearing, Page};
pub(crate) use self::payment::{Payment, Payments};

/// Numbers that look drawn and are the same each time: xorshift with 64 bits.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from 0 to below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }

    /// Another order.
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            let other = self.below(last as u64 + 1);
            values.swap(last, usize::try_from(other).unwrap());
        }
    }
}

/// A file to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    /// Its name.
    pub(crate) name: String,
    /// The feed that it is dropped to: `ach`, `cards` or `cards-ebcdic`.
    pub(crate) feed: &'static str,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Sent {
    /// A file of payments with this many entries; its own identifier follows from the seed.
    pub(crate) fn nacha(name: &str, seed: u64, entries: u64) -> Self {
        let bytes = Payments::drawn(seed, entries).bytes();
        Self { name: name.to_owned(), feed: "ach", bytes }
    }

    /// A file of card clearing in blocks with this many messages between header and trailer.
    pub(crate) fn ipm(name: &str, seed: u64, messages: u64) -> Self {
        let bytes = Clearing::drawn(seed, messages).bytes();
        Self { name: name.to_owned(), feed: "cards", bytes }
    }

    /// The format of its feed.
    pub(crate) fn format(&self) -> &'static str {
        if self.feed == "ach" { "nacha" } else { "ipm" }
    }

    /// The same bytes under another name.
    pub(crate) fn renamed(&self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self.clone() }
    }

    /// The same in gzip.
    pub(crate) fn gzipped(&self, name: &str) -> Self {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&self.bytes).unwrap();
        Self { bytes: packed.finish().unwrap(), ..self.renamed(name) }
    }

    /// The first bytes alone, under another name.
    pub(crate) fn cut(&self, name: &str, length: usize) -> Self {
        Self { bytes: self.bytes[..length].to_vec(), ..self.renamed(name) }
    }
}
