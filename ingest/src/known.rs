//! What files are known: by their ids, so that the same content is a duplicate, and by their own
//! identifiers, so that other content under the same identifier is held.

use std::collections::{BTreeSet, HashMap};

use schemas::codec::{Codec, EventType};
use schemas::file::FileState;
use schemas::{Digest, FileId, Topic};
use serde::Deserialize;
use tokio::time::{Duration, Instant};
use topic::{Error, Log, Received};

use crate::follow::Follower;

/// How long what was sent may be out of sight: longer than a log lets a publish stand open.
const SENT_PATIENCE: Duration = Duration::from_secs(30);

const SENT_LOOK_EVERY: Duration = Duration::from_millis(100);

/// The reason code of a file that failed because its bytes weren't there any more.
pub(crate) const OBJECT_GONE: &str = "object_gone";

/// What is known of a file.
#[derive(Clone, Debug)]
pub(crate) struct KnownFile {
    /// The first occurrence of its content.
    first_id: FileId,
    pub(crate) feed: String,
    pub(crate) object: String,
    pub(crate) version: String,
    /// None where it was sent to its owner, who has not answered yet.
    pub(crate) state: Option<FileState>,
    /// True where a command to it is under way.
    has_work: bool,
    /// The size of its object.
    pub(crate) size_bytes: i64,
}

/// The files that reached *verified* or *held*, of all feeds.
#[derive(Debug)]
pub(crate) struct Known {
    ledger: String,
    files: HashMap<FileId, KnownFile>,
    /// Which content came under a feed's own identifier first, by its first occurrence.
    identifiers: HashMap<(String, String), FileId>,
    /// Files that failed because their bytes weren't there any more.
    missing: BTreeSet<FileId>,
    /// Files that came to be reconciled since somebody asked.
    reconciled: BTreeSet<FileId>,
    rows: Follower,
    /// Commands that the owners of files had not answered when this was read, and later ones.
    commands: Follower,
}

/// What is needed of a row of `files`, or of the command that will make one.
#[derive(Deserialize)]
struct Row {
    file_id: FileId,
    feed: String,
    object: String,
    version: String,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    reason: Option<ReasonView>,
    #[serde(default)]
    work: Option<WorkView>,
    verdict: VerdictView,
}

#[derive(Deserialize)]
struct WorkView {}

#[derive(Deserialize)]
struct ReasonView {
    code: String,
}

#[derive(Deserialize)]
struct VerdictView {
    content_digest: Digest,
    identifiers: Vec<String>,
    size_bytes: i64,
}

impl KnownFile {
    /// True where it is reconciled, and nobody is at work on it.
    pub(crate) fn is_reconciled(&self) -> bool {
        self.state == Some(FileState::RECONCILED) && !self.has_work
    }
}

impl Known {
    /// Reads all that is known: the rows of `files`, and the commands that their owners have not
    /// answered yet.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn read<L: Log>(
        log: &L,
        files_group: &str,
        ledger: &str,
    ) -> Result<Self, Error> {
        let mut known = Self {
            ledger: ledger.to_owned(),
            files: HashMap::new(),
            identifiers: HashMap::new(),
            missing: BTreeSet::new(),
            reconciled: BTreeSet::new(),
            rows: Follower::new(log, Topic::Files),
            commands: Follower::new(log, Topic::Commands),
        };
        // The positions are read first: a command that is answered in between is then seen twice
        // instead of not at all.
        let positions = log.committed(files_group, Topic::Commands).await?;
        let positions = positions.into_iter().map(Option::unwrap_or_default).collect();
        known.commands = Follower::at(Topic::Commands, positions);
        known.follow(log).await?;
        Ok(known)
    }

    /// The same, once all of these files can be seen, which are known to have been sent.
    ///
    /// The row of an object and the command for its file were published together, but of the
    /// commands' partition a log may show nothing for a while behind what another writer has begun
    /// and not ended, as one does that was killed. Without them a file of the same identifier would
    /// pass for the first.
    ///
    /// # Errors
    ///
    /// As [`Self::read`]; *retry* where one can't be seen.
    pub(crate) async fn read_with<L: Log>(
        log: &L,
        files_group: &str,
        ledger: &str,
        sent: &[FileId],
    ) -> Result<Self, Error> {
        let mut known = Self::read(log, files_group, ledger).await?;
        let until = Instant::now() + SENT_PATIENCE;
        while let Some(unseen) = sent.iter().find(|file_id| known.file(file_id).is_none()) {
            if until < Instant::now() {
                let what = format!("what was sent of file {unseen} is not to be seen yet");
                return Err(Error::Retry { what, source: None });
            }
            tokio::time::sleep(SENT_LOOK_EVERY).await;
            known.follow(log).await?;
        }
        Ok(known)
    }

    /// Reads what the owners of feeds and of files have written since.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn follow<L: Log>(&mut self, log: &L) -> Result<(), Error> {
        let mut rows = self.rows.clone();
        rows.poll(log, |_, row| self.take(EventType::File, &row)).await?;
        self.rows = rows;
        let mut commands = self.commands.clone();
        let publish = EventType::PublishFile;
        commands.poll(log, |_, command| self.take(publish, &command)).await?;
        self.commands = commands;
        Ok(())
    }

    /// Notes a file that was just sent to its owner.
    pub(crate) fn announce(
        &mut self,
        file_id: FileId,
        first_id: FileId,
        feed: &str,
        object: &str,
        identifiers: &[String],
    ) {
        for identifier in identifiers {
            let key = (feed.to_owned(), identifier.clone());
            self.identifiers.entry(key).or_insert(first_id);
        }
        let known = KnownFile {
            first_id,
            feed: feed.to_owned(),
            object: object.to_owned(),
            version: String::new(),
            state: None,
            has_work: false,
            size_bytes: 0,
        };
        self.files.entry(file_id).or_insert(known);
    }

    /// Notes that the file's bytes were sent to its owner again.
    pub(crate) fn resend(&mut self, file_id: &FileId) {
        self.missing.remove(file_id);
    }

    /// The file of this feed and the same content that waits for its bytes: an object that has them
    /// is no duplicate.
    pub(crate) fn missing(&self, feed: &str, file_id: &FileId) -> Option<FileId> {
        let wanted = self.files.get(file_id).map_or(*file_id, |file| file.first_id);
        let is_it = |file: &KnownFile| file.feed == feed && file.first_id == wanted;
        self.missing.iter().find(|missing| self.files.get(missing).is_some_and(is_it)).copied()
    }

    /// Files that came to be reconciled since this was asked before.
    pub(crate) fn take_reconciled(&mut self) -> BTreeSet<FileId> {
        std::mem::take(&mut self.reconciled)
    }

    /// What is known of this file.
    pub(crate) fn file(&self, file_id: &FileId) -> Option<&KnownFile> {
        self.files.get(file_id)
    }

    /// The first of these identifiers that came before in this feed with another content, and the
    /// first occurrence of that; `first_id` is that of this content.
    pub(crate) fn other_with<'a>(
        &self,
        feed: &str,
        identifiers: &'a [String],
        first_id: &FileId,
    ) -> Option<(&'a str, FileId)> {
        identifiers.iter().find_map(|identifier| {
            let key = (feed.to_owned(), identifier.clone());
            let other = self.identifiers.get(&key).filter(|other| *other != first_id)?;
            Some((identifier.as_str(), *other))
        })
    }

    /// True where this feed has a file that has not ended, or has a command under way. Held and
    /// failed ones may go on.
    pub(crate) fn has_open_file(&self, feed: &str) -> bool {
        let may_go_on = [FileState::HELD, FileState::FAILED];
        let is_open = |file: &KnownFile| match &file.state {
            None => true,
            Some(state) => !state.is_end() || may_go_on.contains(state) || file.has_work,
        };
        self.files.values().any(|file| file.feed == feed && is_open(file))
    }

    /// True where an object of this size may hold the bytes that a failed file of its feed misses.
    pub(crate) fn may_have_missed_bytes(&self, feed: &str, size_bytes: u64) -> bool {
        let failed = self.missing.iter().filter_map(|file_id| self.files.get(file_id));
        let mut failed = failed.filter(|file| file.feed == feed);
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
                let first_id = FileId::new(&self.ledger, 0, &row.verdict.content_digest);
                let identifiers = &row.verdict.identifiers;
                self.announce(row.file_id, first_id, &row.feed, &row.object, identifiers);
                let (Some(file), Some(state)) = (self.files.get_mut(&row.file_id), state) else {
                    return;
                };
                let code = row.reason.as_ref().map(|reason| reason.code.as_str());
                if state == FileState::FAILED && code == Some(OBJECT_GONE) {
                    self.missing.insert(row.file_id);
                } else {
                    self.missing.remove(&row.file_id);
                }
                match state == FileState::RECONCILED && row.work.is_none() {
                    true => self.reconciled.insert(row.file_id),
                    false => self.reconciled.remove(&row.file_id),
                };
                file.size_bytes = row.verdict.size_bytes;
                file.state = Some(state);
                file.has_work = row.work.is_some();
                file.object = row.object;
                file.version = row.version;
            }
            Err(error) => tracing::error!(%error, "a row of files can't be read"),
        }
    }
}
