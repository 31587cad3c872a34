//! A feed: a configured source of files, and the rules for them.

use std::sync::Arc;
use std::time::Duration;

use schemas::{AccountKey, FileId, Timestamp};

use crate::bucket::{Bucket, Object};
use crate::container::Limits;
use crate::format::Settings;
use crate::step::{OnStep, Step};

/// A configured source: where objects arrive, in which format, under which rules.
#[derive(Clone, Debug)]
pub struct Feed {
    /// Its name, unique in the configuration and without a slash; part of every event.
    pub name: String,
    /// Where objects arrive.
    pub bucket: Bucket,
    /// What of it changes its events.
    pub settings: Settings,
    /// When an object counts as arrived.
    pub at_rest: AtRest,
    /// How long between two looks.
    pub look_every: Duration,
    /// When bad records are too many.
    pub reject_limit: RejectLimit,
    /// True where a file is sent only when the former one has ended.
    pub serial: bool,
    /// How far a container may unpack.
    pub limits: Limits,
    /// What becomes of an object once its file is reconciled.
    pub after: After,
}

/// What becomes of an object once its file is reconciled. What was refused, held, or a duplicate
/// stays where it is.
#[derive(Clone, Debug)]
pub enum After {
    /// It stays.
    Keep,
    /// It is moved there, as `<file id>/<key>`: a bucket of the same kind as the feed's, below no
    /// prefix that is watched; see [`Bucket::check_archive`].
    Archive(Bucket),
    /// It is deleted.
    Delete,
}

/// Checks that no feed's archive lies where a feed looks.
///
/// # Errors
///
/// The name of the first feed whose archive can't be used, and why.
pub fn check_archives(feeds: &[Feed]) -> Result<(), (String, crate::bucket::Error)> {
    for feed in feeds {
        let After::Archive(archive) = &feed.after else { continue };
        let checked = feed.bucket.check_archive(archive);
        checked.map_err(|error| (feed.name.clone(), error))?;
        if let Some(other) = feeds.iter().find(|other| other.bucket.holds(archive)) {
            let (to, watched) = (archive.name(), &other.name);
            let what = format!("{to} lies where the feed {watched} looks; give another");
            return Err((feed.name.clone(), crate::bucket::Error::Settings { what }));
        }
    }
    Ok(())
}

impl Feed {
    /// The key that an object gets in the feed's archive: one of its own for each file, so that
    /// objects of one name, as senders give them day after day, never meet.
    pub fn archived_key(file_id: &FileId, key: &str) -> String {
        format!("{file_id}/{key}")
    }

    /// A digest of all that decides whether a file is refused: a refusal counts under it only.
    pub fn digest(&self) -> String {
        let RejectLimit { percent, records_min } = self.reject_limit;
        let Limits { bytes_max, ratio_max } = self.limits;
        let settings = self.settings.digest();
        format!("{settings}/{percent}/{records_min}/{bytes_max}/{ratio_max}")
    }
}

/// When an object counts as arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtRest {
    /// Size and version were the same in two looks.
    TwoLooks,
    /// `<name>.done` is there.
    Marker,
}

/// What stands behind the name of an object's marker.
pub const MARKER_SUFFIX: &str = ".done";

/// Bad records above this share refuse the file: a systemic error is not ten million rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RejectLimit {
    /// Percent of the records, from 0 to 100. More than this refuses.
    pub percent: u64,
    /// Only from so many records on: half of two is no sign of anything.
    pub records_min: u64,
}

impl RejectLimit {
    /// True where so many bad ones of so many refuse the file.
    pub fn is_exceeded(&self, rejects: u64, records: u64) -> bool {
        let share = u128::from(rejects) * 100;
        records >= self.records_min && share > u128::from(self.percent) * u128::from(records)
    }
}

/// True where this is an object that a feed reads: no marker, and nothing that is still being
/// written under a name that says so.
pub fn is_object(key: &str) -> bool {
    let name = key.rsplit('/').next().unwrap_or(key);
    let unfinished = [MARKER_SUFFIX, ".tmp", ".part"];
    !name.is_empty()
        && !key.split('/').any(|part| part.starts_with('.'))
        && !unfinished.iter().any(|suffix| name.ends_with(suffix))
}

/// True where the marker of this object is among the listed, which are sorted by key.
pub fn has_marker(object: &Object, listed: &[Object]) -> bool {
    let marker = format!("{}{MARKER_SUFFIX}", object.key);
    listed.binary_search_by(|listed| listed.key.as_str().cmp(&marker)).is_ok()
}

/// How many records a chunk has where nobody says otherwise. A publish costs some milliseconds
/// whatever its size, and over many partitions tens of them on Kafka; five thousand make that
/// small, and hold two megabytes.
pub const CHUNK_RECORDS: u32 = 5_000;

/// What both owners of ingest are told at start.
#[derive(Clone)]
pub struct Config {
    /// The ledger's name, part of every file id.
    pub ledger: String,
    /// Makes tokens of account numbers.
    pub key: AccountKey,
    /// The shards of the ledger.
    pub shards: u32,
    /// The feeds.
    pub feeds: Vec<Feed>,
    /// Who says it, in the events' headers.
    pub source: String,
    /// How long an owner begins again while the log is away, before it stops; none is for ever.
    pub patience: Option<Duration>,
    /// How many records are published at once, at least 1: [`CHUNK_RECORDS`] where nobody knows
    /// better.
    pub chunk_records: u32,
    /// The clock.
    pub clock: Clock,
    /// The consumer group of the shards, by whose positions ingest is held back.
    pub processors_group: String,
    /// Told of each step as it is taken, for tests that stop in between.
    pub on_step: Option<OnStep>,
    /// True where a file is taken as far as it can be read, whatever its trailer and totals say:
    /// for the control of tests that must fail then. False in the program; nothing sets it there.
    #[doc(hidden)]
    pub is_unchecked: bool,
}

/// The clock, which only the binary reads.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

impl Config {
    pub(crate) fn step(&self, step: Step) {
        if let Some(on_step) = &self.on_step {
            on_step(step);
        }
    }

    /// The feed of this name.
    pub fn feed(&self, name: &str) -> Option<&Feed> {
        self.feeds.iter().find(|feed| feed.name == name)
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("ledger", &self.ledger)
            .field("shards", &self.shards)
            .field("feeds", &self.feeds)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_and_unfinished_names_are_no_objects() {
        for (key, expected) in [
            ("a.ach", true),
            ("in/a.ach", true),
            ("in/a.ach.done", false),
            ("a.ach.tmp", false),
            ("a.ach.part", false),
            (".a.ach", false),
            ("in/.git/a.ach", false),
            ("in/", false),
        ] {
            assert_eq!(is_object(key), expected, "{key}");
        }
    }

    #[test]
    fn a_limit_is_exceeded_above_its_share_only() {
        let limit = RejectLimit { percent: 50, records_min: 20 };
        for (rejects, records, expected) in
            [(19, 19, false), (10, 20, false), (11, 20, true), (0, 1000, false), (501, 1000, true)]
        {
            assert_eq!(limit.is_exceeded(rejects, records), expected, "{rejects} of {records}");
        }
    }
}
