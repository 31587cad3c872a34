//! What a verification found, and what that means to us: sent on, held, a duplicate, or refused.

use schemas::arrival::{ArrivalState, Reason};
use schemas::command::PublishFile;
use schemas::file::FileState;
use tokio::time::{Duration, Instant};
use topic::Log;

use super::FeedOwner;
use crate::attempt::Failure;
use crate::bucket::{self, Object};
use crate::feed::Feed;
use crate::known::KnownFile;
use crate::step::Step;
use crate::verify::{Finding, Refused, Verified};

/// The reason code of an object that could not be read, again and again.
pub(crate) const OBJECT_UNREADABLE: &str = "object_unreadable";

/// How often an object is tried that can't be read: with the waits in between some 15 s.
const READS_MAX: u32 = 5;

const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long an object waits whose bucket is away: each try has waited a while already.
const READ_AGAIN_AFTER_OUTAGE: Duration = Duration::from_secs(2);

impl<L: Log> FeedOwner<'_, L> {
    /// Takes up the end of a verification.
    pub(super) async fn verified(
        &mut self,
        name: &str,
        object: Object,
        result: Result<Finding, bucket::Error>,
    ) -> Result<(), Failure> {
        let key = (name.to_owned(), object.key.clone());
        self.progress.remove(&key);
        let Some(feed) = self.config.feed(name) else { return Ok(()) };
        self.config.step(Step::Verified);
        match result {
            Ok(Finding::Refused(refused)) => self.refused(feed, &object, refused).await,
            Ok(Finding::Verified(verified)) => self.decided(feed, &object, *verified).await,
            // Gone or replaced: the next look finds what is there then.
            Err(error @ bucket::Error::Gone { .. }) => {
                tracing::info!(feed = name, object = object.key, %error, "not verified");
                let row = self.row(feed, &object, ArrivalState::SEEN);
                self.publish(vec![row], None).await
            }
            Err(error) => self.unreadable(feed, &object, &error).await,
        }
    }

    /// An object that can't be read is tried again, each time later, and then refused: it must
    /// neither be read for ever nor hold up a run that is to end.
    async fn unreadable(
        &mut self,
        feed: &Feed,
        object: &Object,
        error: &bucket::Error,
    ) -> Result<(), Failure> {
        let key = (feed.name.clone(), object.key.clone());
        let (failures, not_before) = self.unreadable.entry(key).or_insert((0, Instant::now()));
        // That its bucket is away is not the object's fault; others may have its place meanwhile.
        if error.is_outage() {
            *not_before = Instant::now() + READ_AGAIN_AFTER_OUTAGE;
            let row = self.row(feed, object, ArrivalState::SEEN);
            return self.publish(vec![row], None).await;
        }
        *failures += 1;
        if *failures < READS_MAX {
            let wait = READ_AGAIN_AFTER.saturating_mul(1 << *failures);
            *not_before = Instant::now() + wait;
            if *failures == 1 {
                let (feed, object) = (&feed.name, &object.key);
                tracing::warn!(feed, object, %error, "the object can't be read; trying again");
            }
            let row = self.row(feed, object, ArrivalState::SEEN);
            return self.publish(vec![row], None).await;
        }
        let reason = Reason::new(OBJECT_UNREADABLE)
            .expected_found("an object that can be read", error.to_string())
            .remedy("make it readable, then drop it again or start again");
        let refused = Refused { reason, rejects: Vec::new(), records: 0, content_bytes: 0 };
        self.refused(feed, object, refused).await
    }

    async fn refused(
        &mut self,
        feed: &Feed,
        object: &Object,
        refused: Refused,
    ) -> Result<(), Failure> {
        let mut row = self.row(feed, object, ArrivalState::REFUSED);
        tracing::warn!(
            feed = feed.name,
            object = object.key,
            reason = %refused.reason,
            "file refused: nothing of it is published"
        );
        row.reason = Some(refused.reason);
        row.rejects = refused.rejects;
        row.records = refused.records;
        row.content_bytes = refused.content_bytes;
        self.publish(vec![row], None).await
    }

    /// Decides what a verified file is to us, and sends it to its owner unless it is a duplicate.
    async fn decided(
        &mut self,
        feed: &Feed,
        object: &Object,
        verified: Verified,
    ) -> Result<(), Failure> {
        self.known.follow(self.log).await?;
        let Verified { file_id: first_id, verdict, rejects } = verified;
        // Of several occurrences the bytes are for the one that misses them.
        let file_id = self.known.missing(&feed.name, &first_id).unwrap_or(first_id);
        let mut row = self.row(feed, object, ArrivalState::VERIFIED);
        row.file_id = Some(first_id);
        row.identifier.clone_from(&verdict.identifier);
        row.rejects = rejects;
        row.records = verdict.records;
        row.content_bytes = verdict.content_bytes;
        let other = self.known.other_with(&feed.name, &verdict.identifiers, &first_id);
        let known = self.known.file(&file_id);
        // A failed file goes on with the same bytes of its own feed.
        let may_go_on =
            |known: &KnownFile| known.state == Some(FileState::FAILED) && known.feed == feed.name;
        if let Some(known) = known
            && !may_go_on(known)
        {
            tracing::info!(feed = feed.name, object = object.key, %file_id, "duplicate refused");
            row.state = ArrivalState::DUPLICATE;
            row.reason = Some(
                Reason::new("same_content")
                    .expected_found("content that did not come before", known.object.clone())
                    .remedy(
                        "what it holds is in the ledger, or on its way; `batchless accept OBJECT` \
                         takes it again on purpose",
                    ),
            );
            return self.publish(vec![row], None).await;
        }
        if let (Some((identifier, other)), None) = (other, known) {
            row.state = ArrivalState::HELD;
            row.reason = Some(
                Reason::new("same_identifier")
                    .expected_found(
                        "an identifier that did not come before in this feed",
                        format!("`{identifier}`, as in file {other}"),
                    )
                    .remedy(
                        "nothing of it is published: `batchless release` lets it go on where it is \
                         another file, `batchless cancel` gives it up",
                    ),
            );
        }
        tracing::info!(
            feed = feed.name,
            object = object.key,
            %file_id,
            records = verdict.records,
            state = %row.state,
            "file verified"
        );
        self.known.resend(&file_id);
        self.known.announce(file_id, first_id, &feed.name, &object.key, &verdict.identifiers);
        let held = row.reason.clone();
        let command = PublishFile {
            file_id,
            feed: feed.name.clone(),
            object: object.key.clone(),
            version: object.version.clone(),
            held,
            verdict,
            arrived_at: row.updated_at,
        };
        self.publish(vec![row], Some(command)).await
    }
}
