//! What files are known: by their ids, so that the same content is a duplicate, and by their own
//! identifiers, so that other content under the same identifier is held.

use std::collections::HashMap;

use schemas::codec::{Codec, EventType};
use schemas::file::FileState;
use schemas::{FileId, Topic};
use serde::Deserialize;
use topic::{Error, Log, Received};

use crate::follow::Follower;

/// The reason code of a file that failed because its bytes weren't there any more.
pub(crate) const OBJECT_GONE: &str = "object_gone";

/// What is known of a file.
#[derive(Clone, Debug)]
pub(crate) struct KnownFile {
    pub(crate) feed: String,
    pub(crate) object: String,
    /// None where it was sent to its owner, who has not answered yet.
    pub(crate) state: Option<FileState>,
    /// The size of its object.
    pub(crate) size_bytes: i64,
    /// True where it failed because its bytes weren't there any more.
    pub(crate) misses_bytes: bool,
}

/// The files that reached *verified* or *held*, of all feeds.
#[derive(Debug)]
pub(crate) struct Known {
    files: HashMap<FileId, KnownFile>,
    /// Which file came under a feed's own identifier first.
    identifiers: HashMap<(String, String), FileId>,
    rows: Follower,
}

/// What is needed of a row of `files`, or of the command that will make one.
#[derive(Deserialize)]
struct Row {
    file_id: FileId,
    feed: String,
    object: String,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    reason: Option<ReasonView>,
    verdict: VerdictView,
}

#[derive(Deserialize)]
struct ReasonView {
    code: String,
}

#[derive(Deserialize)]
struct VerdictView {
    identifiers: Vec<String>,
    size_bytes: i64,
}

impl Known {
    /// Reads all that is known: the rows of `files`, and the commands that their owners have not
    /// answered yet.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn read<L: Log>(log: &L, files_group: &str) -> Result<Self, Error> {
        let mut known = Self {
            files: HashMap::new(),
            identifiers: HashMap::new(),
            rows: Follower::new(log, Topic::Files),
        };
        // The positions are read first: a command that is answered in between is then seen twice
        // instead of not at all.
        let positions = log.committed(files_group, Topic::Commands).await?;
        let positions = positions.into_iter().map(Option::unwrap_or_default).collect();
        known.follow(log).await?;
        let mut commands = Follower::at(Topic::Commands, positions);
        commands.poll(log, |_, command| known.take(EventType::PublishFile, &command)).await?;
        Ok(known)
    }

    /// Reads what the owners of files have written since.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn follow<L: Log>(&mut self, log: &L) -> Result<(), Error> {
        let mut rows = self.rows.clone();
        rows.poll(log, |_, row| self.take(EventType::File, &row)).await?;
        self.rows = rows;
        Ok(())
    }

    /// Notes a file that was just sent to its owner.
    pub(crate) fn announce(
        &mut self,
        file_id: FileId,
        feed: &str,
        object: &str,
        identifiers: &[String],
    ) {
        for identifier in identifiers {
            let key = (feed.to_owned(), identifier.clone());
            self.identifiers.entry(key).or_insert(file_id);
        }
        let known = KnownFile {
            feed: feed.to_owned(),
            object: object.to_owned(),
            state: None,
            size_bytes: 0,
            misses_bytes: false,
        };
        self.files.entry(file_id).or_insert(known);
    }

    /// Notes that the file's bytes were sent to its owner again.
    pub(crate) fn resend(&mut self, file_id: &FileId) {
        if let Some(file) = self.files.get_mut(file_id) {
            file.misses_bytes = false;
        }
    }

    /// True where the file waits for its bytes: an object that has them is no duplicate.
    pub(crate) fn misses_bytes(&self, file_id: &FileId) -> bool {
        self.files.get(file_id).is_some_and(|file| file.misses_bytes)
    }

    /// What is known of this file.
    pub(crate) fn file(&self, file_id: &FileId) -> Option<&KnownFile> {
        self.files.get(file_id)
    }

    /// The first of these identifiers that came before in this feed with another file, and which
    /// file that is.
    pub(crate) fn other_with<'a>(
        &self,
        feed: &str,
        identifiers: &'a [String],
        file_id: &FileId,
    ) -> Option<(&'a str, FileId)> {
        identifiers.iter().find_map(|identifier| {
            let key = (feed.to_owned(), identifier.clone());
            let other = self.identifiers.get(&key).filter(|other| *other != file_id)?;
            Some((identifier.as_str(), *other))
        })
    }

    /// True where this feed has a file that has not ended. Held and failed ones may go on.
    pub(crate) fn has_open_file(&self, feed: &str) -> bool {
        let is_open = |file: &KnownFile| match &file.state {
            None => true,
            Some(state) => !state.is_end() || [FileState::HELD, FileState::FAILED].contains(state),
        };
        self.files.values().any(|file| file.feed == feed && is_open(file))
    }

    /// True where an object of this size may hold the bytes that a failed file of its feed misses.
    pub(crate) fn may_have_missed_bytes(&self, feed: &str, size_bytes: u64) -> bool {
        let mut failed = self.files.values().filter(|file| file.feed == feed && file.misses_bytes);
        failed.any(|file| u64::try_from(file.size_bytes) == Ok(size_bytes))
    }

    fn take(&mut self, expected: EventType, message: &Received) {
        let Some(value) = &message.value else { return };
        let codec = Codec::built_in();
        // The ledger's descriptor and other commands stand in the same topics.
        if !codec.event_type(value).is_ok_and(|found| found == expected) {
            return;
        }
        match codec.decode_view::<Row>(expected, value) {
            Ok(row) => {
                let state = row.state.as_deref().map(FileState::from);
                self.announce(row.file_id, &row.feed, &row.object, &row.verdict.identifiers);
                if let (Some(file), Some(state)) = (self.files.get_mut(&row.file_id), state) {
                    let code = row.reason.as_ref().map(|reason| reason.code.as_str());
                    file.misses_bytes = state == FileState::FAILED && code == Some(OBJECT_GONE);
                    file.size_bytes = row.verdict.size_bytes;
                    file.state = Some(state);
                    file.object = row.object;
                }
            }
            Err(error) => tracing::error!(%error, "a row of files can't be read"),
        }
    }
}
