//! What a verification found, and what that means to us: sent on, held, a duplicate, or refused.

use schemas::arrival::{ArrivalState, Reason};
use schemas::command::PublishFile;
use schemas::file::FileState;
use topic::Log;

use super::FeedOwner;
use crate::attempt::Failure;
use crate::bucket::{self, Object};
use crate::feed::Feed;
use crate::verify::{Finding, Refused, Verified};

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
        match result {
            Ok(Finding::Refused(refused)) => self.refused(feed, &object, refused).await,
            Ok(Finding::Verified(verified)) => self.decided(feed, &object, *verified).await,
            Err(error) => {
                // Gone, replaced or out of reach: the next look finds what is there then.
                tracing::warn!(feed = name, object = object.key, %error, "not verified");
                let row = self.row(feed, &object, ArrivalState::SEEN);
                self.rows.insert(key, row.clone());
                self.publish(vec![row], None).await
            }
        }
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
        let Verified { file_id, verdict, rejects } = verified;
        let mut row = self.row(feed, object, ArrivalState::VERIFIED);
        row.file_id = Some(file_id);
        row.identifier.clone_from(&verdict.identifier);
        row.rejects = rejects;
        row.records = verdict.records;
        row.content_bytes = verdict.content_bytes;
        let other = self.known.other_with(&feed.name, &verdict.identifiers, &file_id);
        let known = self.known.file(&file_id);
        if let Some(known) = known
            && known.state != Some(FileState::FAILED)
        {
            tracing::info!(feed = feed.name, object = object.key, %file_id, "duplicate refused");
            row.state = ArrivalState::DUPLICATE;
            row.reason = Some(
                Reason::new("same_content")
                    .expected_found("content that did not come before", known.object.clone())
                    .remedy("to take it again on purpose: batchless accept"),
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
                    .remedy("decide: batchless release or cancel"),
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
        self.known.announce(file_id, &feed.name, &object.key, &verdict.identifiers);
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
