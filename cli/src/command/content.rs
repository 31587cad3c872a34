//! The content of a file on this machine, unpacked, in chunks: what `parse` and `records` read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use bytes::{Buf as _, Bytes};
use ingest::container::{Container, Decoder, Limits};
use ingest::format::DETECT_BYTES;
use schemas::arrival::Reason;

/// How much is given at once: enough that a chunk's overhead is nothing.
const CHUNK_BYTES: usize = 1 << 20;

/// How much is read at once, packed or not.
const READ_BYTES: usize = 64 << 10;

/// A chunk of content.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// True for the last one.
    pub(crate) is_last: bool,
}

/// Why content can't be read on.
#[derive(Debug)]
pub(crate) enum Error {
    /// Its container is damaged or unpacks too far: the file is refused.
    Damaged(Box<Reason>),
    /// It can't be read.
    Io(anyhow::Error),
}

impl From<Error> for super::Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Damaged(reason) => Self::Other(anyhow::anyhow!("{reason}")),
            Error::Io(error) => Self::Other(error),
        }
    }
}

/// A file being read.
pub(crate) struct Content {
    name: String,
    input: Box<dyn Read>,
    container: Container,
    decoder: Decoder,
    /// Read and not yet unpacked.
    packed: Bytes,
    /// Unpacked and not yet given.
    pending: Vec<u8>,
    /// What went wrong behind `pending`.
    damage: Option<Box<Reason>>,
    bytes: u64,
    ended: bool,
    /// True once a chunk was given.
    begun: bool,
}

impl Content {
    /// Opens a file, whose container may unpack to so much; `-` is standard input.
    ///
    /// # Errors
    ///
    /// Where it can't be read.
    pub(crate) fn open(path: &Path, limits: Limits) -> anyhow::Result<Self> {
        let name = path.display().to_string();
        let input: Box<dyn Read> = if name == "-" {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(path).with_context(|| format!("{name} can't be read"))?;
            if file.metadata().is_ok_and(|found| found.is_dir()) {
                anyhow::bail!("{name} is a folder; name a file in it");
            }
            Box::new(file)
        };
        let mut content = Self {
            name,
            input,
            container: Container::None,
            decoder: Decoder::new(Container::None, limits),
            packed: Bytes::new(),
            pending: Vec::new(),
            damage: None,
            bytes: 0,
            ended: false,
            begun: false,
        };
        let mut head = Vec::new();
        while head.len() < Container::DETECT_BYTES && content.read(&mut head)? > 0 {}
        content.container = Container::detect(&head);
        content.decoder = Decoder::new(content.container, limits);
        content.packed = Bytes::from(head);
        while content.pending.len() < DETECT_BYTES && !content.ended {
            content.read_on()?;
        }
        Ok(content)
    }

    /// The name of its container.
    pub(crate) fn container(&self) -> &'static str {
        self.container.name()
    }

    /// Its first bytes: enough to tell its format, where there are so many.
    pub(crate) fn first(&self) -> &[u8] {
        self.pending.get(..DETECT_BYTES).unwrap_or(&self.pending)
    }

    /// Why its first bytes tell no format: its container is damaged, it is empty, it is packed
    /// twice, or nobody knows them. To be asked before anything of it is given.
    pub(crate) fn unknown(&self) -> Reason {
        if let Some(damage) = &self.damage {
            return *damage.clone();
        }
        let expected = format!("a file of {}", ingest::format::names().join(" or "));
        match (self.first(), Container::detect(self.first())) {
            ([], _) => Reason::new("empty").expected_found(expected, "no bytes"),
            (_, Container::None) => Reason::new("unknown_format")
                .expected_found(expected, "first bytes of neither")
                .remedy("name its format with --format to see where it departs from it"),
            (_, inner) => Reason::new("unknown_format")
                .expected_found(expected, format!("{inner} within {}", self.container))
                .remedy("unpack it once"),
        }
    }

    /// How many bytes of it were given.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next chunk; none after the last. A file without a byte has one chunk, which is empty.
    ///
    /// # Errors
    ///
    /// Where it can't be read, or its container is damaged.
    pub(crate) fn next(&mut self) -> Result<Option<Chunk>, Error> {
        // One byte more than a chunk tells whether this chunk is the last.
        while self.pending.len() <= CHUNK_BYTES && !self.ended {
            self.read_on().map_err(Error::Io)?;
        }
        if self.pending.is_empty() {
            if let Some(damage) = self.damage.take() {
                return Err(Error::Damaged(damage));
            }
            if self.begun {
                return Ok(None);
            }
        }
        self.begun = true;
        let rest = self.pending.split_off(self.pending.len().min(CHUNK_BYTES));
        let bytes = Bytes::from(std::mem::replace(&mut self.pending, rest));
        self.bytes += bytes.len() as u64;
        let is_last = self.ended && self.pending.is_empty() && self.damage.is_none();
        Ok(Some(Chunk { bytes, is_last }))
    }

    fn read(&mut self, into: &mut Vec<u8>) -> anyhow::Result<usize> {
        let name = &self.name;
        let mut part = Read::by_ref(&mut self.input).take(READ_BYTES as u64);
        part.read_to_end(into).with_context(|| format!("{name} can't be read"))
    }

    /// Reads or unpacks a little more.
    fn read_on(&mut self) -> anyhow::Result<()> {
        if self.packed.is_empty() {
            let mut read = Vec::with_capacity(READ_BYTES);
            self.read(&mut read)?;
            self.packed = Bytes::from(read);
        }
        let unpacked = if self.packed.is_empty() {
            self.ended = true;
            self.decoder.finish().map(|()| 0)
        } else {
            self.decoder.push(&self.packed, &mut self.pending)
        };
        match unpacked {
            Ok(used) => self.packed.advance(used),
            Err(error) => {
                self.damage = Some(Box::new(error.reason()));
                self.ended = true;
            }
        }
        Ok(())
    }
}
