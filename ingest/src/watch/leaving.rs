//! What becomes of an object once its file is reconciled: the feed's owner archives or deletes it,
//! as the feed says, and says so in the object's row.
//!
//! The object goes first and the row follows, so that a row never says what didn't happen. Stopped
//! in between, the next owner finds the file reconciled and the object gone, which is as well.

use schemas::arrival::{ArrivalState, Reason};
use schemas::{FileId, Timestamp};
use tokio::time::{Duration, Instant};
use topic::Log;

use super::{FeedOwner, ObjectOf};
use crate::attempt::Failure;
use crate::bucket::{self, Left, Object};
use crate::feed::{After, Feed};
use crate::step::Step;

/// The reason code of an object that should have left and could not be taken out.
pub(crate) const OBJECT_STAYS: &str = "object_not_removed";

/// How many objects leave side by side.
const LEAVING_AT_ONCE: usize = 2;

/// How often an object is tried that can't be taken out, until the owner starts again.
const TRIES_MAX: u32 = 5;

const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);
const TRY_AGAIN_AFTER_OUTAGE: Duration = Duration::from_secs(5);

/// An object that is to leave.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    file_id: FileId,
    of: ObjectOf,
    object: Object,
    /// How often it could not be taken out.
    failures: u32,
    not_before: Instant,
}

/// What became of one.
pub(super) type Departure = (Leaving, Result<Option<ArrivalState>, bucket::Error>);

impl<L: Log> FeedOwner<'_, L> {
    /// Notes the objects of files that came to be reconciled.
    pub(super) fn note_reconciled(&mut self) {
        for file_id in self.known.take_reconciled() {
            let Some(file) = self.known.file(&file_id) else { continue };
            let of = (file.feed.clone(), file.object.clone());
            let is_mine = self.looks.iter().any(|(_, feed)| feed.name == of.0);
            let is_to_leave = |feed: &Feed| !matches!(feed.after, After::Keep) && is_mine;
            if !self.config.feed(&of.0).is_some_and(is_to_leave) {
                continue;
            }
            let row = self.rows.get(&of).filter(|row| {
                row.version == file.version && row.state.is_sent() && !row.state.has_left()
            });
            let Some(row) = row else { continue };
            let object = Object {
                key: row.object.clone(),
                version: row.version.clone(),
                size: u64::try_from(row.size_bytes).unwrap_or_default(),
            };
            let not_before = Instant::now();
            self.to_leave.push(Leaving { file_id, of, object, failures: 0, not_before });
        }
    }

    /// Begins with those whose time it is.
    pub(super) fn start_leaving(&mut self) {
        let now = Instant::now();
        while self.leaving.len() < LEAVING_AT_ONCE {
            let due = self.to_leave.iter().position(|one| one.not_before <= now);
            let Some(one) = due.map(|at| self.to_leave.swap_remove(at)) else { break };
            let Some(feed) = self.config.feed(&one.of.0).cloned() else { continue };
            // An operator's command may have come meanwhile; it is noted again when that has ended.
            if !self.known.file(&one.file_id).is_some_and(|file| file.is_reconciled()) {
                continue;
            }
            let on_step = self.config.on_step.clone();
            self.leaving.spawn(async move {
                let about_to = || {
                    if let Some(on_step) = &on_step {
                        on_step(Step::Leaving);
                    }
                };
                let state = leave(&feed, &one, about_to).await;
                (one, state)
            });
        }
    }

    /// Says in the object's row what became of it.
    pub(super) async fn departed(&mut self, departure: Departure) -> Result<(), Failure> {
        let (mut one, result) = departure;
        let now: Timestamp = (self.config.clock)();
        let Some(mut row) = self.rows.get(&one.of).cloned() else { return Ok(()) };
        // Another version came meanwhile, and the row is of that.
        if row.version != one.object.version {
            return Ok(());
        }
        let (feed, object) = (one.of.0.as_str(), one.of.1.as_str());
        match result {
            // The next look finds what is there now.
            Ok(None) => return Ok(()),
            Ok(Some(state)) => {
                self.config.step(Step::Left);
                tracing::info!(feed, object, file_id = %one.file_id, %state, "object left");
                (row.state, row.reason) = (state, None);
            }
            Err(error) if error.is_outage() || one.failures < TRIES_MAX => {
                let wait = match error.is_outage() {
                    true => TRY_AGAIN_AFTER_OUTAGE,
                    false => TRY_AGAIN_AFTER.saturating_mul(1 << one.failures),
                };
                if !error.is_outage() {
                    if one.failures == 0 {
                        tracing::warn!(feed, object, %error, "the object can't be taken out");
                    }
                    one.failures += 1;
                }
                one.not_before = Instant::now() + wait;
                self.to_leave.push(one);
                return Ok(());
            }
            Err(error) => {
                tracing::error!(feed, object, %error, "the object stays where it is");
                let reason = Reason::new(OBJECT_STAYS)
                    .expected_found("an object that can be taken out", error.to_string())
                    .remedy("allow it, then start again; or take it out by hand");
                row.reason = Some(reason);
            }
        }
        row.updated_at = now;
        self.publish(vec![row], None).await
    }
}

/// Takes an object out of its bucket; gives the state of its row then, or none where another
/// version is there.
async fn leave(
    feed: &Feed,
    one: &Leaving,
    about_to: impl Fn() + Send,
) -> Result<Option<ArrivalState>, bucket::Error> {
    let (left, archive) = match &feed.after {
        After::Keep => return Ok(None),
        After::Delete => (feed.bucket.delete(&one.object, about_to).await?, None),
        After::Archive(archive) => {
            let to = Feed::archived_key(&one.file_id, &one.object.key);
            let left = feed.bucket.archive(&one.object, archive, &to, about_to).await?;
            (left, Some((archive, to)))
        }
    };
    Ok(match (left, archive) {
        (Left::Replaced, _) => None,
        (Left::Now, Some(_)) => Some(ArrivalState::ARCHIVED),
        (Left::Before, Some((archive, to))) if archive.find(&to).await?.is_some() => {
            Some(ArrivalState::ARCHIVED)
        }
        (Left::Now | Left::Before, _) => Some(ArrivalState::DELETED),
    })
}
