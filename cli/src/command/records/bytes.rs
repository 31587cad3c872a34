//! What the bytes of a record say today: its object is read again up to it, by its feed's settings.
//!
//! The fields are what the reader makes of them, with the account as its token and masked label:
//! raw bytes are never shown, for they may hold an account number.

use ingest::bucket::{self, Object};
use ingest::content::{self, Blocks};
use ingest::verify::reject_reason;
use ingest::walk::{Found, Walk};
use schemas::ClearingRecord;
use schemas::file::File;
use serde::Serialize;

use crate::command::books::Books;
use crate::event::{EventView, Standing};

/// What was found where the bytes are.
#[derive(Debug)]
pub(super) enum Again {
    /// The record, and where it stands.
    Read(Box<ClearingRecord>, Standing),
    /// It can't be read; why, and where.
    Unreadable(String),
    /// The bytes can't be had; why.
    Gone(String),
}

/// Where a record's bytes are, and whether they say what was published. The keys are a contract.
#[derive(Debug, Serialize)]
pub(super) struct BytesView<'a> {
    object: &'a str,
    container: &'a str,
    byte_offset: Option<i64>,
    byte_length: Option<i64>,
    line: Option<i64>,
    /// read, unreadable, gone.
    state: &'static str,
    /// Why they can't be read, or be had.
    why: Option<&'a str>,
    /// The fields in which they differ from what was published; none where nothing is to compare.
    differs: Option<Vec<String>>,
}

impl<'a> BytesView<'a> {
    /// Of a record of `file`, of which this was published and that was read.
    pub(super) fn new(
        file: &'a File,
        event: Option<&EventView<'_>>,
        reject: Option<(i64, i64)>,
        again: &'a Again,
    ) -> anyhow::Result<Self> {
        let (state, why, read) = match again {
            Again::Read(record, standing) => {
                ("read", None, Some(EventView::new(record, standing.clone())))
            }
            Again::Unreadable(why) => ("unreadable", Some(why.as_str()), None),
            Again::Gone(why) => ("gone", Some(why.as_str()), None),
        };
        let place = event.or(read.as_ref()).map(EventView::place);
        Ok(Self {
            object: &file.object,
            container: &file.verdict.container,
            byte_offset: place.map(|place| place.0).or(reject.map(|place| place.0)),
            byte_length: place.map(|place| place.1).or(reject.map(|place| place.1)),
            line: place.and_then(|place| place.2),
            state,
            why,
            differs: match (event, &read) {
                (Some(event), Some(read)) => Some(differs(event, read)?),
                _ => None,
            },
        })
    }

    /// In one line, for people.
    pub(super) fn text(&self) -> String {
        let number =
            |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |it| it.to_string());
        let mut text = format!("{}, byte {}", self.object, number(self.byte_offset));
        if self.container != "none" {
            text.push_str(&format!(" of what its {} holds", self.container));
        }
        if let Some(length) = self.byte_length {
            text.push_str(&format!(", {length} bytes"));
        }
        if let Some(line) = self.line {
            text.push_str(&format!(", line {line}"));
        }
        match (self.state, self.why, &self.differs) {
            (_, Some(why), _) => text.push_str(&format!("; {why}")),
            (_, _, Some(differs)) if differs.is_empty() => {
                text.push_str("; read again: they say what was published");
            }
            (_, _, Some(differs)) => {
                let differs = differs.join(", ");
                text.push_str(&format!("; read again: OTHERWISE than published in {differs}"));
            }
            _ => text.push_str("; read again"),
        }
        text
    }
}

/// The names of the fields in which two views differ.
fn differs(event: &EventView<'_>, read: &EventView<'_>) -> anyhow::Result<Vec<String>> {
    let (event, read) = (serde_json::to_value(event)?, serde_json::to_value(read)?);
    let fields = event.as_object().into_iter().flatten();
    let other = fields.filter(|(name, value)| read.get(name.as_str()) != Some(*value));
    Ok(other.map(|(name, _)| name.clone()).collect())
}

/// Reads the file's object again, up to the record of this index.
///
/// # Errors
///
/// Where the ledger's key can't be read. What is wrong with the object is a finding.
pub(super) async fn read_again(
    books: &Books,
    file: &File,
    index: i64,
    sequence: Option<i64>,
) -> anyhow::Result<Again> {
    let Some(feed) = books.config.feeds.iter().find(|feed| feed.name == file.feed) else {
        return Ok(Again::Gone(format!("no feed {} is configured any more", file.feed)));
    };
    let key = books.ledger_key().await?;
    let object = Object {
        key: file.object.clone(),
        version: file.version.clone(),
        size: u64::try_from(file.verdict.size_bytes).unwrap_or_default(),
    };
    let bucket = match crate::owners::bucket(&feed.place) {
        Ok(bucket) => bucket,
        Err(error) => return Ok(Again::Gone(format!("the bytes can't be had: {error:#}"))),
    };
    let mut blocks = match Blocks::open(&bucket, &object, feed.limits(), None, 0).await {
        Ok(blocks) => blocks,
        Err(error) => return Ok(gone(error)),
    };
    let mut walk = Walk::new(&feed.name, &feed.settings()?)?;
    loop {
        let block = match blocks.next().await {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(Again::Gone("it ends before this record".to_owned())),
            Err(error) => return Ok(gone(error)),
        };
        walk.feed(&block.bytes, block.is_last);
        loop {
            let found = match walk.step() {
                Ok(Found::More) => break,
                Ok(Found::End) => return Ok(Again::Gone("it ends before this record".to_owned())),
                Ok(found) => found,
                Err(refusal) => return Ok(Again::Unreadable(refusal.0.to_string())),
            };
            if walk.draft.record.index != index {
                continue;
            }
            if let Found::Rejected(reject) = &found {
                return Ok(Again::Unreadable(reject_reason(&walk.draft, reject).to_string()));
            }
            let account = &walk.draft.account;
            let standing = Standing {
                file_id: Some(file.file_id),
                sequence,
                account: key.account(account),
                label: account.label(),
            };
            let mut record = walk.draft.record.clone();
            // A record that is tried again is the only one of its file.
            record.index = if file.resubmits.is_some() { 0 } else { index };
            return Ok(Again::Read(Box::new(record), standing));
        }
    }
}

/// Why the bytes can't be had, in words.
fn gone(error: content::Error) -> Again {
    Again::Gone(match &error {
        content::Error::Bucket(bucket::Error::Gone { .. }) => {
            "the bytes are gone: the object was removed or replaced".to_owned()
        }
        error => format!("the bytes can't be had: {error}"),
    })
}
