//! A member of a group: what it is given and what is taken away, as values.
//!
//! The member's client only belongs to the group and reads nothing: librdkafka holds up everything
//! that a member reads, and throws away what it has fetched, for as long as it waits to hear that
//! one partition was let go. Another client reads (see `feed`), so that the partitions that stay go
//! on while others move.
//!
//! A thread of its own waits for what the client says, and answers it:
//!
//! ```text
//!             assigned                     revoked                 acknowledged, or dropped
//!   nothing ───────────▶ held, reading ─────────────▶ held, ending ──────────────────────▶ nothing
//!                              │                                                              ▲
//!                              └──────────────────────────────────────────────────────────────┘
//!                                 lost: the group has given it to another already
//! ```
//!
//! While a member ends its work, its positions are still taken. The group hears that a partition is
//! free only afterwards, and gives it to another then.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use schemas::Topic;
use tokio::sync::{mpsc as channel, oneshot};
use tokio::task::JoinSet;

use super::error::refused;
use super::feed::{Feed, Spot, lock};
use super::outage::{self, Outage};
use super::reader::Reader;
use super::{Shared, config, fault};
use crate::{Assignment, Change, Error, Membership, Revocation};

/// How often the thread looks at its client even where it was not told to. The group counts a
/// member as dead that never does.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long the client is listened to at a time. Errors, its log and changes come one by one.
const HEARING: Duration = Duration::from_millis(1);

/// How long leaving a group may take; a broker that is away is not waited for.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);

/// A member of a group on Kafka.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
    group: String,
    member: u64,
    told: channel::UnboundedReceiver<Result<Told, Error>>,
    asked: mpsc::Sender<Asked>,
    feed: Arc<Feed>,
    /// Each waits for one revocation to be acknowledged or dropped.
    acknowledgements: JoinSet<()>,
}

/// What the thread tells.
enum Told {
    Assigned {
        generation: u64,
        spots: Vec<Arc<Spot>>,
    },
    /// With a number, since one that was lost is acknowledged when it is over already.
    Revoked {
        number: u64,
        partitions: Vec<u32>,
    },
}

/// What the thread is asked.
enum Asked {
    /// To look at what the client has to say.
    Look,
    /// To let go of what was revoked under this number.
    LetGo(u64),
    /// To leave the group.
    Leave,
}

/// A member's client, and what it was told to change.
pub(super) struct Joined {
    outage: Arc<Outage>,
    changes: Mutex<VecDeque<Shift>>,
}

/// A change as the group says it.
enum Shift {
    Given(Vec<u32>),
    Taken { partitions: Vec<u32>, is_lost: bool },
}

impl ClientContext for Joined {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        outage::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.outage.suspect(&error, reason);
    }
}

impl ConsumerContext for Joined {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        change: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let number = |partition: i32| u32::try_from(partition).ok();
        let mut partitions: Vec<u32> =
            list.elements().iter().filter_map(|it| number(it.partition())).collect();
        partitions.sort_unstable();
        let shift = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Shift::Given(partitions),
            // Asked here, since it is true only until the client hears that they were let go.
            _ => Shift::Taken { partitions, is_lost: client.assignment_lost() },
        };
        lock(&self.changes).push_back(shift);
    }
}

impl Member {
    /// Joins a group.
    pub(super) async fn join(
        shared: &Arc<Shared>,
        group: &str,
        topic: Topic,
    ) -> Result<Self, Error> {
        let (asked, questions) = mpsc::channel();
        let (tell, told) = channel::unbounded_channel();
        let (owned, name, ask) = (Arc::clone(shared), group.to_owned(), asked.clone());
        let (member, feed) =
            fault::blocking(move || begin(&owned, &name, topic, &ask, questions, tell)).await?;
        Ok(Self {
            shared: Arc::clone(shared),
            group: group.to_owned(),
            member,
            told,
            asked,
            feed,
            acknowledgements: JoinSet::new(),
        })
    }

    fn assignments(&self, generation: u64, spots: Vec<Arc<Spot>>) -> Vec<Assignment<Reader>> {
        let (group, member) = (&self.group, self.member);
        let one = |spot: Arc<Spot>| Assignment {
            partition: spot.partition,
            membership: Membership { group: group.clone(), member, generation },
            messages: Reader::new(&self.shared, &self.feed, spot, group),
        };
        spots.into_iter().map(one).collect()
    }

    fn revocation(&mut self, number: u64, partitions: Vec<u32>) -> Revocation {
        let (acknowledge, acknowledged) = oneshot::channel();
        let asked = self.asked.clone();
        self.acknowledgements.spawn(async move {
            // An error means that the revocation was dropped, which ends the work as well.
            let _ = acknowledged.await;
            let _ = asked.send(Asked::LetGo(number));
        });
        Revocation::new(partitions, acknowledge)
    }
}

impl crate::Subscription for Member {
    type PartitionReader = Reader;

    async fn next(&mut self) -> Result<Change<Reader>, Error> {
        while self.acknowledgements.try_join_next().is_some() {}
        match self.told.recv().await {
            Some(Ok(Told::Assigned { generation, spots })) => {
                Ok(Change::Assigned(self.assignments(generation, spots)))
            }
            Some(Ok(Told::Revoked { number, partitions })) => {
                Ok(Change::Revoked(self.revocation(number, partitions)))
            }
            Some(Err(error)) => Err(error),
            None => Err(Error::fatal("the log was closed")),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Its positions are past from now on, and not only once the broker has heard.
        self.shared.seats.leave(self.member);
        let _ = self.asked.send(Asked::Leave);
    }
}

/// Makes the clients of a member, and its thread.
fn begin(
    shared: &Arc<Shared>,
    group: &str,
    topic: Topic,
    ask: &mpsc::Sender<Asked>,
    questions: mpsc::Receiver<Asked>,
    tell: channel::UnboundedSender<Result<Told, Error>>,
) -> Result<(u64, Arc<Feed>), Error> {
    let settings = &shared.settings;
    let partitions = shared.names.layout.partitions(topic);
    let feed = Arc::new(Feed::new(&config::follower(settings, partitions), &shared.outage)?);
    let context =
        Joined { outage: Arc::clone(&shared.outage), changes: Mutex::new(VecDeque::new()) };
    let mut client: BaseConsumer<Joined> = config::member(settings, group)
        .create_with_context(context)
        .map_err(|error| Error::from(refused(error)))?;
    let ask = ask.clone();
    client.set_nonempty_callback(move || {
        let _ = ask.send(Asked::Look);
    });
    client
        .subscribe(&[shared.names.of(topic)])
        .map_err(|error| fault::error(format!("group {group}"), error))?;
    let client = Arc::new(client);
    let member = shared.seats.take(group, topic, Arc::downgrade(&client));
    let thread = Thread {
        shared: Arc::clone(shared),
        topic,
        group: group.to_owned(),
        member,
        client,
        feed: Arc::clone(&feed),
        tell,
        spots: HashMap::new(),
        ending: None,
        revocations: 0,
    };
    shared.threads.spawn(&format!("kafka-{group}"), move || thread.live(&questions))?;
    Ok((member, feed))
}

/// The thread of a member.
struct Thread {
    shared: Arc<Shared>,
    topic: Topic,
    group: String,
    member: u64,
    client: Arc<BaseConsumer<Joined>>,
    feed: Arc<Feed>,
    tell: channel::UnboundedSender<Result<Told, Error>>,
    spots: HashMap<u32, Arc<Spot>>,
    /// What was revoked and is not let go yet.
    ending: Option<Vec<u32>>,
    /// How many revocations there were: the number of the last.
    revocations: u64,
}

impl Thread {
    fn live(mut self, questions: &mpsc::Receiver<Asked>) {
        loop {
            match questions.recv_timeout(LOOK_EVERY) {
                Ok(Asked::Look) | Err(RecvTimeoutError::Timeout) => (),
                Ok(Asked::LetGo(number)) if number == self.revocations => self.let_go(),
                Ok(Asked::LetGo(_)) => (),
                Ok(Asked::Leave) | Err(RecvTimeoutError::Disconnected) => break,
            }
            if self.shared.is_closed.load(Ordering::Relaxed) {
                break;
            }
            self.look();
            self.feed.serve();
        }
        self.leave();
    }

    /// Hears what the client has to say, and answers it.
    fn look(&mut self) {
        loop {
            let said = self.client.poll(HEARING);
            let shift = lock(&self.client.context().changes).pop_front();
            match (said, shift) {
                (_, Some(shift)) => self.shift(shift),
                (Some(Err(error)), None) => self.hear(error),
                // It has no partitions of its own, and so no messages.
                (Some(Ok(_)), None) => (),
                (None, None) => return,
            }
        }
    }

    fn shift(&mut self, shift: Shift) {
        match shift {
            Shift::Given(partitions) => self.given(&partitions),
            Shift::Taken { partitions, .. } if partitions.is_empty() => self.answer(false),
            Shift::Taken { partitions, is_lost } => {
                self.revocations += 1;
                let number = self.revocations;
                self.ending = Some(partitions.clone());
                if is_lost {
                    // Somebody else may have them already: nobody waits for us.
                    self.let_go();
                    self.tell_lost(partitions.len());
                }
                self.tell(Ok(Told::Revoked { number, partitions }));
            }
        }
    }

    /// Says that the group has gone on without this member, unless that is known to come of an
    /// outage.
    fn tell_lost(&self, partitions: usize) {
        let (group, topic) = (&self.group, self.topic.to_string());
        let told = "fenced: the group has given our partitions to others; this process was not \
                    heard of for longer than its session";
        if self.shared.outage.is_told() {
            tracing::debug!(group, topic, partitions, "{told}");
        } else {
            tracing::warn!(group, topic, partitions, "{told}");
        }
    }

    fn given(&mut self, partitions: &[u32]) {
        let generation = self.shared.seats.hold(self.member, partitions);
        self.answer(true);
        let Some(generation) = generation.filter(|_| !partitions.is_empty()) else { return };
        let (names, ids) = (&self.shared.names, &self.shared.ids);
        let spot = |&partition: &u32| {
            Arc::new(Spot::new(self.topic, names.shared(self.topic), partition, ids))
        };
        let spots: Vec<Arc<Spot>> = partitions.iter().map(spot).collect();
        for spot in &spots {
            self.spots.insert(spot.partition, Arc::clone(spot));
        }
        self.tell(Ok(Told::Assigned { generation, spots }));
    }

    /// Lets go of what was revoked last, where it has not been yet.
    fn let_go(&mut self) {
        let Some(partitions) = self.ending.take() else { return };
        self.shared.seats.release(self.member, &partitions);
        for partition in &partitions {
            if let Some(spot) = self.spots.remove(partition) {
                self.feed.end(&spot);
            }
        }
        self.answer(false);
    }

    /// Tells the client that a change was made. It reads nothing, so its own list stays empty.
    fn answer(&self, is_given: bool) {
        let none = TopicPartitionList::new();
        let answered = if is_given {
            self.client.incremental_assign(&none)
        } else {
            self.client.incremental_unassign(&none)
        };
        if let Err(error) = answered {
            self.tell(Err(fault::error("a change of a group", error)));
        }
    }

    fn hear(&self, error: KafkaError) {
        let is_lasting = matches!(error, KafkaError::MessageConsumptionFatal(_))
            || fault::of(&error) == fault::Fault::Lasting;
        if is_lasting {
            let what = "the membership of a group".to_owned();
            self.tell(Err(Error::Fatal { what, source: Some(Box::new(error)) }));
        }
    }

    fn tell(&self, told: Result<Told, Error>) {
        // Nobody hears where the member was dropped; then this thread is told to leave.
        let _ = self.tell.send(told);
    }

    /// Leaves the group.
    fn leave(mut self) {
        self.shared.seats.leave(self.member);
        for spot in std::mem::take(&mut self.spots).into_values() {
            self.feed.end(&spot);
        }
        if self.ending.take().is_some() {
            self.answer(false);
        }
        self.feed.close();
        if let Err(error) = self.client.close_queue() {
            tracing::debug!(%error, "a group was not left");
            return;
        }
        let until = Instant::now() + LEAVE_PATIENCE;
        while !self.client.closed() && Instant::now() < until {
            let _ = self.client.poll(Duration::from_millis(10));
            let shift = lock(&self.client.context().changes).pop_front();
            match shift {
                Some(Shift::Given(_)) => self.answer(true),
                Some(Shift::Taken { .. }) => self.answer(false),
                None => (),
            }
        }
    }
}
