//! Walks through a file's records, block by block. Both passes walk the same way, so that they see
//! the same records.

use bytes::Bytes;

use crate::format::{Draft, Reader, Refusal, ResumeError, Settings, Step, Summary};

/// A file being read: blocks in, records out.
#[derive(Debug)]
pub struct Walk {
    reader: Reader,
    /// The record that was read last.
    pub draft: Draft,
    /// Content from the reader's position on, as far as it is there.
    input: Vec<u8>,
    /// How much of `input` the reader has used.
    used: usize,
    is_last: bool,
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
        Self { reader, draft, input: Vec::new(), used: 0, is_last: false }
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

    /// Adds the next block.
    pub fn feed(&mut self, bytes: &Bytes, is_last: bool) {
        self.input.drain(..self.used);
        self.used = 0;
        self.input.extend_from_slice(bytes);
        self.is_last = is_last;
    }

    /// Goes on to the next record.
    ///
    /// # Errors
    ///
    /// Where the file can't be read: nothing of it may be published.
    pub fn step(&mut self) -> Result<Found, Refusal> {
        let input = self.input.get(self.used..).unwrap_or_default();
        let (used, step) = self.reader.step(input, self.is_last, &mut self.draft)?;
        self.used = self.used.saturating_add(used).min(self.input.len());
        Ok(match step {
            Step::More => Found::More,
            Step::Record => Found::Record,
            Step::Rejected(reject) => Found::Rejected(reject),
            Step::End => Found::End,
        })
    }
}
