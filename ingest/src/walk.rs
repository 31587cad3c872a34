//! Walks through a file's records, block by block. Both passes walk the same way, so that they see
//! the same records.

use bytes::Bytes;

use crate::format::{Draft, Reader, Refusal, ResumeError, Settings, Step, Summary};

/// How much of a block is put behind the tail of the one before it, to complete the record that
/// straddles both. Longer records take several such pieces.
const PIECE_BYTES: usize = 16 << 10;

/// A file being read: blocks in, records out.
///
/// Records are read where they lie in their block. Only what straddles two blocks is copied.
#[derive(Debug)]
pub struct Walk {
    reader: Reader,
    /// The record that was read last.
    pub draft: Draft,
    /// What the reader has not used of the former blocks, and behind it as much of this one as it
    /// needs to go on; empty once the reader is within this block.
    tail: Vec<u8>,
    /// How much of `tail` is of former blocks.
    former: usize,
    block: Bytes,
    /// How much of the block is used, or copied into `tail`.
    at: usize,
    is_last: bool,
    /// True where the file is over at whatever it would be refused for; see
    /// [`crate::feed::Config`].
    pub(crate) is_unchecked: bool,
}

/// What a walk comes upon.
#[derive(Debug)]
pub enum Found {
    /// All blocks so far are walked through: feed the next one.
    More,
    /// A record is in the draft.
    Record,
    /// A record can't be read; its position is in the draft.
    Rejected(crate::format::Reject),
    /// The file is over, whole and in balance.
    End,
}

impl Walk {
    /// Begins at the first byte of a file of this feed.
    ///
    /// # Errors
    ///
    /// Where the settings name no format.
    pub fn new(feed: &str, settings: &Settings) -> Result<Self, ResumeError> {
        Ok(Self::with(Reader::new(settings)?, feed, settings))
    }

    /// Begins where a reader in this state stopped; the first block must begin at
    /// [`Self::next_byte`].
    ///
    /// # Errors
    ///
    /// Where the state is none of this format's reader.
    pub fn resume(feed: &str, settings: &Settings, state: &[u8]) -> Result<Self, ResumeError> {
        Ok(Self::with(Reader::resume(settings, state)?, feed, settings))
    }

    fn with(reader: Reader, feed: &str, settings: &Settings) -> Self {
        let draft = Draft::new(feed, &settings.format);
        Self {
            reader,
            draft,
            tail: Vec::new(),
            former: 0,
            block: Bytes::new(),
            at: 0,
            is_last: false,
            is_unchecked: false,
        }
    }

    /// The content's byte that the reader wants next.
    pub fn next_byte(&self) -> i64 {
        self.reader.offset()
    }

    /// The index of the next record.
    pub fn next_index(&self) -> i64 {
        self.reader.next_index()
    }

    /// The reader's state, by which another walk goes on from here.
    ///
    /// # Errors
    ///
    /// As [`Reader::state`].
    pub fn state(&self) -> Result<Vec<u8>, ResumeError> {
        self.reader.state()
    }

    /// What the file says of itself; there once the end was found.
    pub fn summary(&self) -> Option<&Summary> {
        self.reader.summary()
    }

    /// Adds the next block, after [`Found::More`].
    pub fn feed(&mut self, bytes: &Bytes, is_last: bool) {
        self.tail.extend_from_slice(self.block.get(self.at..).unwrap_or_default());
        self.former = self.tail.len();
        self.block = bytes.clone();
        self.at = 0;
        self.is_last = is_last;
    }

    /// Goes on to the next record.
    ///
    /// # Errors
    ///
    /// Where the file can't be read: nothing of it may be published.
    pub fn step(&mut self) -> Result<Found, Refusal> {
        match self.go_on() {
            Err(_) if self.is_unchecked => Ok(Found::End),
            found => found,
        }
    }

    fn go_on(&mut self) -> Result<Found, Refusal> {
        while !self.tail.is_empty() {
            let is_end = self.is_last && self.at == self.block.len();
            let (used, step) = self.reader.step(&self.tail, is_end, &mut self.draft)?;
            self.use_tail(used);
            match step {
                Step::More if self.tail.is_empty() => (),
                Step::More if self.at < self.block.len() => self.lengthen_tail(),
                step => return Ok(found(step)),
            }
        }
        let input = self.block.get(self.at..).unwrap_or_default();
        let (used, step) = self.reader.step(input, self.is_last, &mut self.draft)?;
        self.at = self.at.saturating_add(used).min(self.block.len());
        Ok(found(step))
    }

    /// Takes what the reader used off the tail; where that reaches into this block, the reader goes
    /// on there.
    fn use_tail(&mut self, used: usize) {
        let used = used.min(self.tail.len());
        if used < self.former {
            self.tail.drain(..used);
            self.former = self.former.saturating_sub(used);
        } else {
            let unused = self.tail.len().saturating_sub(used);
            self.at = self.at.saturating_sub(unused);
            self.tail.clear();
            self.former = 0;
        }
    }

    fn lengthen_tail(&mut self) {
        let end = self.at.saturating_add(PIECE_BYTES).min(self.block.len());
        self.tail.extend_from_slice(self.block.get(self.at..end).unwrap_or_default());
        self.at = end;
    }
}

fn found(step: Step) -> Found {
    match step {
        Step::More => Found::More,
        Step::Record => Found::Record,
        Step::Rejected(reject) => Found::Rejected(reject),
        Step::End => Found::End,
    }
}
