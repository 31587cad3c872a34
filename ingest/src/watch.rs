//! The owner of feeds: sees that objects have arrived, verifies them, and sends their files on.
//!
//! One task owns a partition of `arrivals` and with it the feeds that fall there. Its state is a
//! row per object at one version; each publish holds rows and the commands that they stand for.
//! State is kept per version, never as a watermark by name or time, so an object that comes late or
//! out of order is never missed.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use schemas::arrival::{Arrival, ArrivalState};
use schemas::codec::{Codec, Event, EventType};
use schemas::command::PublishFile;
use schemas::file::Verdict;
use schemas::{FileId, Topic};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use topic::{
    Batch, Consumed, Log, Membership, Message, MessageSet, ReaderOf, Received, Writer, cloud_events,
};

use crate::attempt::{Error, Failure, Outage, broken, until_done};
use crate::bucket::{self, Listing, Object};
use crate::fair::Waiting;
use crate::feed::{AtRest, Config, Feed, has_marker, is_object};
use crate::known::Known;
use crate::publish::FILES_GROUP;
use crate::step::Step;
use crate::verify::{Finding, Place, Progress, verify_unless};

pub(crate) mod finding;
pub(crate) mod leaving;

use leaving::{Departure, Leaving};

/// The consumer group whose members share the feeds.
pub const FEEDS_GROUP: &str = "feeds";

/// How many objects are verified side by side: enough for the cores of a small machine, and one
/// more so that a small file finds a place beside huge ones.
const VERIFIED_AT_ONCE: usize = 3;

/// Watches all feeds whose partitions the group gives this process, until `cancel`.
///
/// # Errors
///
/// Where the group can't be joined. An owner that stops by itself is reported to `stopped`.
pub async fn run<L: Log>(
    log: L,
    config: Arc<Config>,
    cancel: &CancellationToken,
    stopped: impl Fn(u32, Error),
) -> Result<(), topic::Error> {
    let outage = Arc::new(Outage::default());
    let own = |assignment: topic::Assignment<ReaderOf<L>>, token| {
        let topic::Assignment { partition, membership, .. } = assignment;
        own(log.clone(), Arc::clone(&config), Arc::clone(&outage), partition, membership, token)
    };
    topic::own_partitions(&log, FEEDS_GROUP, Topic::Arrivals, cancel, own, stopped).await
}

/// The partition of `arrivals` that a feed falls into.
pub fn partition_of(feed: &str, partitions: u32) -> u32 {
    let digest = Sha256::digest(feed);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    schemas::account::spread(u64::from_be_bytes(first), partitions)
}

async fn own<L: Log>(
    log: L,
    config: Arc<Config>,
    outage: Arc<Outage>,
    partition: u32,
    membership: Membership,
    cancel: CancellationToken,
) -> Result<(), Error> {
    let attempt = |()| async {
        let begun = tokio::select! {
            () = cancel.cancelled() => return ((), Ok(())),
            begun = FeedOwner::begin(&log, &config, partition, &membership) => begun,
        };
        let worked = match begun {
            Ok(mut owner) => owner.work(&cancel).await,
            Err(failure) => Err(failure),
        };
        ((), worked)
    };
    until_done(("feeds", partition), &outage, config.patience, &cancel, (), attempt).await
}

/// An object of a feed: feed and key.
pub(crate) type ObjectOf = (String, String);

/// A verification that has ended.
type Verification = (String, Object, Result<Finding, bucket::Error>);

/// Owns the feeds of one partition.
struct FeedOwner<'a, L: Log> {
    log: &'a L,
    config: &'a Config,
    partition: u32,
    writer: L::Writer,
    /// Goes with every publish, so that the log refuses those of a member that is past. Of the
    /// partition's messages nothing is consumed but what was read at the beginning.
    consumed: Consumed,
    known: Known,
    /// The newest row of each object.
    rows: HashMap<ObjectOf, Arrival>,
    /// Objects at rest that wait for a place.
    waiting: Waiting<(String, Object)>,
    verifying: JoinSet<Verification>,
    /// How far each verification is, written by it, and shown at each look.
    progress: HashMap<ObjectOf, Arc<Mutex<Progress>>>,
    /// When each feed is looked at next.
    looks: Vec<(Instant, &'a Feed)>,
    /// Feeds of whose bucket a part could not be listed.
    listed_in_part: HashSet<String>,
    /// Objects whose file is reconciled, and which are to leave the bucket.
    to_leave: Vec<Leaving>,
    leaving: JoinSet<Departure>,
    /// Objects that could not be read: how often, and when they are tried next.
    unreadable: HashMap<ObjectOf, (u32, Instant)>,
}

impl<'a, L: Log> FeedOwner<'a, L> {
    /// Fences the former owner, and reads what it left.
    async fn begin(
        log: &'a L,
        config: &'a Config,
        partition: u32,
        membership: &Membership,
    ) -> Result<Self, Failure> {
        let writer = log.writer(&format!("arrivals-{partition}")).await?;
        let mut rows = HashMap::new();
        let keep = |message: Received| {
            match &message.value {
                Some(value) => {
                    let row: Arrival = Codec::built_in().decode(value)?;
                    rows.insert((row.feed.clone(), row.object.clone()), row);
                }
                None => {
                    object_of(&message.key).and_then(|gone| rows.remove(&gone));
                }
            }
            Ok::<(), Failure>(())
        };
        let end = topic::read_all(log, Topic::Arrivals, partition, 0, keep).await?;
        let positions = vec![(Topic::Arrivals, partition, end)];
        let consumed = Consumed { membership: membership.clone(), positions };
        // What was being verified is verified anew; it was at rest already. What could not be read
        // may have been mended since.
        for row in rows.values_mut() {
            let code = row.reason.as_ref().map(|reason| reason.code.as_str());
            if !row.state.is_end() || code == Some(finding::OBJECT_UNREADABLE) {
                row.state = ArrivalState::SEEN;
            }
        }
        let sent = rows.values().filter(|row| row.state.is_sent()).filter_map(|row| row.file_id);
        let known =
            Known::read_with(log, FILES_GROUP, &config.ledger, &sent.collect::<Vec<_>>()).await?;
        let partitions = log.partitions(Topic::Arrivals);
        let now = Instant::now();
        let mine = |feed: &&Feed| partition_of(&feed.name, partitions) == partition;
        Ok(Self {
            log,
            config,
            partition,
            writer,
            consumed,
            known,
            rows,
            waiting: Waiting::default(),
            verifying: JoinSet::new(),
            progress: HashMap::new(),
            looks: config.feeds.iter().filter(mine).map(|feed| (now, feed)).collect(),
            listed_in_part: HashSet::new(),
            to_leave: Vec::new(),
            leaving: JoinSet::new(),
            unreadable: HashMap::new(),
        })
    }

    async fn work(&mut self, cancel: &CancellationToken) -> Result<(), Failure> {
        loop {
            self.start_verifying().await?;
            self.start_leaving();
            let next = self.looks.iter().min_by_key(|(at, _)| *at).copied();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                Some(ended) = self.verifying.join_next() => match ended {
                    Ok((feed, object, result)) => self.verified(&feed, object, result).await?,
                    Err(error) => return Err(broken("a verification", error).into()),
                },
                Some(ended) = self.leaving.join_next() => match ended {
                    Ok(departure) => self.departed(departure).await?,
                    Err(error) => return Err(broken("the archiving of an object", error).into()),
                },
                () = until(next.map(|(at, _)| at)) => {
                    if let Some((_, feed)) = next {
                        self.look(feed).await?;
                    }
                }
            }
        }
    }

    /// Lists a feed's bucket, and notes what is new and what is at rest now.
    async fn look(&mut self, feed: &Feed) -> Result<(), Failure> {
        let listed = feed.bucket.list().await;
        self.config.step(Step::Listed);
        for (at, looked) in &mut self.looks {
            if looked.name == feed.name {
                *at = Instant::now() + feed.look_every;
            }
        }
        let listed = match listed {
            Ok(Listing { objects, unreadable }) => {
                if let Some(what) = unreadable
                    && self.listed_in_part.insert(feed.name.clone())
                {
                    tracing::warn!(feed = feed.name, what, "a part of the inbox can't be listed");
                }
                objects
            }
            // The bucket tells that it is away.
            Err(_) => return Ok(()),
        };
        self.known.follow(self.log).await?;
        self.note_reconciled();
        let mut changed = Vec::new();
        for object in listed.iter().filter(|object| is_object(&object.key)) {
            changed.extend(self.looked(feed, object, &listed));
        }
        changed.extend(self.progressed());
        let gone = self.forget(feed, &listed);
        self.publish_all(changed, gone, None).await
    }

    /// What one listed object is now; its row where that changed.
    fn looked(&mut self, feed: &Feed, object: &Object, listed: &[Object]) -> Option<Arrival> {
        let key = (feed.name.clone(), object.key.clone());
        let known = self.rows.get(&key).filter(|row| {
            // A refusal counts under the settings that it came about by: mend the feed, and the
            // object that still lies there is read anew. So is one whose file misses its bytes:
            // what was a duplicate while they were there may have them.
            let is_outdated = row.is_refused_otherwise_than(&feed.digest())
                || row.file_id.is_some_and(|id| self.known.missing(&feed.name, &id).is_some());
            // What left and is there again has come again.
            row.version == object.version && !is_outdated && !row.state.has_left()
        });
        let state = known.map(|row| row.state.clone());
        let at_rest = match feed.at_rest {
            AtRest::TwoLooks => state.is_some(),
            AtRest::Marker => has_marker(object, listed),
        };
        if !at_rest && state.is_some() {
            return None;
        }
        if state.as_ref().is_some_and(|state| *state != ArrivalState::SEEN) {
            return None;
        }
        if self.unreadable.get(&key).is_some_and(|(_, not_before)| Instant::now() < *not_before) {
            return None;
        }
        let mut row = self.row(feed, object, ArrivalState::SEEN);
        if at_rest {
            row.state = ArrivalState::ARRIVED;
            self.waiting.push(object.size, (feed.name.clone(), object.clone()));
        }
        self.rows.insert(key, row.clone());
        Some(row)
    }

    /// Forgets objects that vanished before they came to an end, and says which.
    fn forget(&mut self, feed: &Feed, listed: &[Object]) -> Vec<ObjectOf> {
        let is_listed =
            |key: &str| listed.binary_search_by(|object| object.key.as_str().cmp(key)).is_ok();
        let is_gone = |(name, key): &ObjectOf, row: &Arrival| {
            *name == feed.name && row.state == ArrivalState::SEEN && !is_listed(key)
        };
        let gone: Vec<ObjectOf> = self
            .rows
            .iter()
            .filter(|(of, row)| is_gone(of, row))
            .map(|(of, _)| of.clone())
            .collect();
        for of in &gone {
            self.rows.remove(of);
        }
        gone
    }

    /// The rows of verifications that went on since the last look.
    fn progressed(&mut self) -> Vec<Arrival> {
        let now = (self.config.clock)();
        let mut changed = Vec::new();
        for (key, progress) in &self.progress {
            let Ok(progress) = progress.lock().map(|progress| *progress) else { continue };
            if let Some(row) = self.rows.get_mut(key)
                && row.records != progress.records
            {
                row.records = progress.records;
                row.content_bytes = progress.content_bytes;
                row.updated_at = now;
                changed.push(row.clone());
            }
        }
        changed
    }

    /// Gives free places to objects that wait for one.
    async fn start_verifying(&mut self) -> Result<(), Failure> {
        let mut changed = Vec::new();
        while self.verifying.len() < VERIFIED_AT_ONCE {
            let free = VERIFIED_AT_ONCE.saturating_sub(self.verifying.len());
            let next = self.waiting.next(free, |one| self.may_begin(one));
            let Some((name, object)) = next.map(|at| self.waiting.take_at(at)) else { break };
            let Some(feed) = self.config.feed(&name) else { continue };
            let key = (name.clone(), object.key.clone());
            // Replaced while it waited: the new version waits for itself.
            if self.rows.get(&key).is_none_or(|row| row.version != object.version) {
                continue;
            }
            let row = self.row(feed, &object, ArrivalState::VERIFYING);
            self.rows.insert(key.clone(), row.clone());
            changed.push(row);
            let progress = Arc::<Mutex<Progress>>::default();
            self.progress.insert(key, Arc::clone(&progress));
            let place = Place {
                ledger: self.config.ledger.clone(),
                key: self.config.key.clone(),
                shards: self.config.shards,
            };
            let (feed, is_unchecked) = (feed.clone(), self.config.is_unchecked);
            tracing::info!(
                feed = feed.name,
                object = object.key,
                size = object.size,
                "file arrived"
            );
            self.verifying.spawn(async move {
                let show = |now| {
                    if let Ok(mut progress) = progress.lock() {
                        *progress = now;
                    }
                };
                let result = verify_unless(is_unchecked, &feed, &object, place, show).await;
                (feed.name, object, result)
            });
        }
        self.publish(changed, None).await
    }

    /// True where an object that waits may be verified now. Of a serial feed that is the first that
    /// waits, once the former file has ended.
    fn may_begin(&self, one: &(String, Object)) -> bool {
        let (name, object) = one;
        if !self.config.feed(name).is_some_and(|feed| feed.serial) {
            return true;
        }
        let is_first = self.waiting.first(|(other, _)| other == name) == Some(one);
        let is_busy = self.progress.keys().any(|(other, _)| other == name);
        let may_be_missed = self.known.may_have_missed_bytes(name, object.size);
        !is_busy && (may_be_missed || (is_first && !self.known.has_open_file(name)))
    }

    fn row(&self, feed: &Feed, object: &Object, state: ArrivalState) -> Arrival {
        Arrival {
            feed: feed.name.clone(),
            object: object.key.clone(),
            version: object.version.clone(),
            size_bytes: i64::try_from(object.size).unwrap_or(i64::MAX),
            state,
            reason: None,
            rejects: Vec::new(),
            file_id: None,
            identifier: None,
            settings_digest: feed.digest(),
            records: 0,
            content_bytes: 0,
            updated_at: (self.config.clock)(),
        }
    }

    async fn publish(
        &mut self,
        rows: Vec<Arrival>,
        command: Option<PublishFile>,
    ) -> Result<(), Failure> {
        self.publish_all(rows, Vec::new(), command).await
    }

    /// Publishes rows, that rows are gone, and the command that a row stands for, together.
    async fn publish_all(
        &mut self,
        rows: Vec<Arrival>,
        gone: Vec<ObjectOf>,
        command: Option<PublishFile>,
    ) -> Result<(), Failure> {
        if rows.is_empty() && gone.is_empty() {
            return Ok(());
        }
        let codec = Codec::built_in();
        let mut batch = Batch { sets: Vec::new(), consumed: Some(self.consumed.clone()) };
        let mut messages = Vec::with_capacity(rows.len());
        for row in &rows {
            let key = key_of(&row.feed, &row.object);
            let id = Bytes::from(format!("{}/{}/{}", row.feed, row.object, row.version));
            messages.push(Message { id, key, value: Some(codec.encode(row)?.into()) });
        }
        for (feed, object) in gone {
            let key = key_of(&feed, &object);
            messages.push(Message { id: key.clone(), key, value: None });
        }
        let now = (self.config.clock)();
        let headers = cloud_events(Arrival::TYPE, &self.config.source, Topic::Arrivals.name(), now);
        let partition = self.partition;
        batch.sets.push(MessageSet { topic: Topic::Arrivals, partition, headers, messages });
        if let Some(command) = &command {
            batch.sets.push(self.command(command)?);
        }
        self.writer.publish(batch).await?;
        let is_announced = command.is_some();
        self.config.step(if is_announced { Step::Announced } else { Step::ArrivalWritten });
        for row in rows {
            self.rows.insert((row.feed.clone(), row.object.clone()), row);
        }
        Ok(())
    }

    /// The first occurrence of a content: where all of them lie.
    fn first_id(&self, verdict: &Verdict) -> FileId {
        FileId::new(&self.config.ledger, 0, &verdict.content_digest)
    }

    fn command(&self, command: &PublishFile) -> Result<MessageSet, Failure> {
        let file_id = command.file_id.to_string();
        let partitions = self.log.partitions(Topic::Commands);
        let message = Message {
            id: Bytes::from(format!("{file_id}/publish/{}", command.version)),
            key: Bytes::from(file_id.clone()),
            value: Some(Codec::built_in().encode(command)?.into()),
        };
        Ok(MessageSet {
            topic: Topic::Commands,
            partition: files_partition(&self.first_id(&command.verdict), partitions),
            headers: cloud_events(
                EventType::PublishFile,
                &self.config.source,
                &file_id,
                command.arrived_at,
            ),
            messages: vec![message],
        })
    }
}

/// The key of an object's row: the feed, whose name has no slash, and the object.
fn key_of(feed: &str, object: &str) -> Bytes {
    Bytes::from(format!("{feed}/{object}"))
}

/// Feed and object of a row's key.
pub(crate) fn object_of(key: &[u8]) -> Option<ObjectOf> {
    let (feed, object) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some((feed.to_owned(), object.to_owned()))
}

/// The partition of `commands` and `files` that a file falls into, by the first occurrence of its
/// content.
pub fn files_partition(first_id: &FileId, partitions: u32) -> u32 {
    schemas::account::spread(first_id.spread(), partitions)
}

/// Waits until then; for ever where it is never.
pub(crate) async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
