//! The roll of all objects and files, as an operator sees them: the newest rows of `arrivals` and
//! `files`, followed beside whoever owns them.

use std::collections::{BTreeMap, HashSet};

use schemas::arrival::{Arrival, Reason};
use schemas::codec::{Codec, EventType};
use schemas::file::{File, FileState};
use schemas::{Digest, FileId, Topic};
use topic::{Error, Log, Received};

use crate::bucket::{self, Object};
use crate::feed::{After, AtRest, Feed, has_marker, is_object};
use crate::follow::Follower;
use crate::format::revision;
use crate::known::OBJECT_GONE;
use crate::publish::is_held_for_settings;
use crate::watch::finding::OBJECT_UNREADABLE;
use crate::watch::leaving::OBJECT_STAYS;
use crate::watch::object_of;

/// Objects and files, by their newest rows.
#[derive(Debug)]
pub struct Roll {
    /// The newest row of each object, by feed and key.
    pub arrivals: BTreeMap<(String, String), Arrival>,
    /// The newest row of each file.
    pub files: BTreeMap<FileId, File>,
    /// Objects that could not be read before this roll was opened: who watches their feed tries
    /// them again when it starts. None before the first look.
    unreadable: Option<HashSet<(String, String)>>,
    arrival_rows: Follower,
    file_rows: Follower,
}

impl Roll {
    /// An empty roll; [`Self::follow`] fills it.
    pub fn new<L: Log>(log: &L) -> Self {
        Self {
            arrivals: BTreeMap::new(),
            files: BTreeMap::new(),
            unreadable: None,
            arrival_rows: Follower::new(log, Topic::Arrivals),
            file_rows: Follower::new(log, Topic::Files),
        }
    }

    /// Reads what was written since.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub async fn follow<L: Log>(&mut self, log: &L) -> Result<(), Error> {
        let Self { arrivals, files, unreadable, arrival_rows, file_rows } = self;
        let take = |_, message: Received| {
            if let (Some(unreadable), Some(key)) =
                (&mut *unreadable, take_arrival(arrivals, &message))
            {
                unreadable.remove(&key);
            }
        };
        arrival_rows.poll(log, take).await?;
        if unreadable.is_none() {
            let rows = arrivals.iter().filter(|(_, row)| has_code(&row.reason, OBJECT_UNREADABLE));
            *unreadable = Some(rows.map(|(key, _)| key.clone()).collect());
        }
        file_rows.poll(log, |_, message| take_file(files, &message)).await
    }

    /// True where every object that is listed now has come to an end, and so has its file: nothing
    /// more happens unless something new arrives or an operator decides.
    ///
    /// # Errors
    ///
    /// Where a bucket can't be listed.
    pub async fn is_settled(&self, feeds: &[Feed]) -> Result<bool, bucket::Error> {
        let missing = self.missing();
        for feed in feeds {
            let listed = feed.bucket.list().await?.objects;
            let waits = |object: &&Object| {
                is_object(&object.key)
                    && (feed.at_rest == AtRest::TwoLooks || has_marker(object, &listed))
                    && !self.is_at_end(feed, object, &missing)
            };
            if listed.iter().any(|object| waits(&object)) && !self.is_blocked(feed) {
                return Ok(false);
            }
        }
        if feeds.iter().any(|feed| self.has_leaving(feed)) {
            return Ok(false);
        }
        let sent = self.arrivals.values().filter(|row| row.state.is_sent());
        let known: HashSet<&FileId> = self.files.keys().collect();
        let all_known = sent.filter_map(|row| row.file_id.as_ref()).all(|id| known.contains(id));
        let is_at_end = |file: &File| file.is_at_end() && !goes_on(file, feeds);
        Ok(all_known && self.files.values().all(is_at_end))
    }

    /// True where an object of this feed is still to be archived or deleted.
    fn has_leaving(&self, feed: &Feed) -> bool {
        if matches!(feed.after, After::Keep) {
            return false;
        }
        let is_reconciled =
            |file: &&File| file.feed == feed.name && file.state == FileState::RECONCILED;
        self.files.values().filter(is_reconciled).any(|file| {
            let row = self.arrivals.get(&(file.feed.clone(), file.object.clone()));
            row.is_some_and(|row| {
                row.version == file.version
                    && row.state.is_sent()
                    && !row.state.has_left()
                    && !has_code(&row.reason, OBJECT_STAYS)
            })
        })
    }

    fn is_at_end(&self, feed: &Feed, object: &Object, missing: &HashSet<(&str, &Digest)>) -> bool {
        let key = (feed.name.clone(), object.key.clone());
        let is_tried_again = self.unreadable.as_ref().is_some_and(|them| them.contains(&key));
        self.arrivals.get(&key).is_some_and(|row| {
            !is_tried_again
                && row.version == object.version
                && row.state.is_end()
                && !row.is_refused_otherwise_than(&feed.digest())
                && !self.may_be_missed(row, missing)
        })
    }

    /// True where a file misses its bytes, and they may be these.
    fn may_be_missed(&self, row: &Arrival, missing: &HashSet<(&str, &Digest)>) -> bool {
        let file = row.file_id.and_then(|file_id| self.files.get(&file_id));
        file.is_some_and(|file| {
            missing.contains(&(row.feed.as_str(), &file.verdict.content_digest))
        })
    }

    /// The feeds and contents of files that miss their bytes, whichever occurrence it is.
    fn missing(&self) -> HashSet<(&str, &Digest)> {
        let misses_bytes =
            |file: &&File| file.state == FileState::FAILED && has_code(&file.reason, OBJECT_GONE);
        let missing = self.files.values().filter(misses_bytes);
        missing.map(|file| (file.feed.as_str(), &file.verdict.content_digest)).collect()
    }

    /// True where a serial feed waits for an operator.
    fn is_blocked(&self, feed: &Feed) -> bool {
        let waits = |file: &File| {
            file.feed == feed.name && [FileState::HELD, FileState::FAILED].contains(&file.state)
        };
        feed.serial && self.files.values().any(waits)
    }
}

/// True where a file is held for settings that are its feed's again: its owner goes on with it.
fn goes_on(file: &File, feeds: &[Feed]) -> bool {
    let verdict = &file.verdict;
    is_held_for_settings(file)
        && feeds.iter().filter(|feed| feed.name == file.feed).any(|feed| {
            verdict.settings_digest == feed.settings.digest()
                && Some(verdict.reader_revision) == revision(&feed.settings)
        })
}

fn has_code(reason: &Option<Reason>, code: &str) -> bool {
    reason.as_ref().is_some_and(|reason| reason.code == code)
}

/// Takes a row of arrivals, and says of which object.
fn take_arrival(
    arrivals: &mut BTreeMap<(String, String), Arrival>,
    message: &Received,
) -> Option<(String, String)> {
    let Some(value) = &message.value else {
        let gone = object_of(&message.key)?;
        arrivals.remove(&gone);
        return Some(gone);
    };
    match Codec::built_in().decode::<Arrival>(value) {
        Ok(row) => {
            let key = (row.feed.clone(), row.object.clone());
            arrivals.insert(key.clone(), row);
            Some(key)
        }
        Err(error) => {
            tracing::error!(%error, "a row of arrivals can't be read");
            None
        }
    }
}

fn take_file(files: &mut BTreeMap<FileId, File>, message: &Received) {
    let codec = Codec::built_in();
    let Some(value) = &message.value else { return };
    if !codec.event_type(value).is_ok_and(|found| found == EventType::File) {
        return;
    }
    match codec.decode::<File>(value) {
        Ok(row) => {
            files.insert(row.file_id, row);
        }
        Err(error) => tracing::error!(%error, "a row of files can't be read"),
    }
}
