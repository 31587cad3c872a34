//! The owner of a shard, from events on a topic to balances and outcomes, on the logs and stores
//! of this checkout.

#![expect(clippy::unwrap_used, reason = "a test that can not go on says so")]

#[path = "owner/older_log.rs"]
mod older_log;
#[path = "owner/reversal.rs"]
mod reversal;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use processors::apply::{Checks, Settings, UnknownAccount};
use processors::digest::digest;
use processors::posting::Rules;
use processors::store::conformance::{customer, file, ledger};
use processors::store::memory::MemoryStore;
use processors::store::sqlite::SqliteStore;
use processors::store::{Store, View};
use processors::{Config, Error, Step, Stopped};
use schemas::codec::{Codec, Event};
use schemas::command::SegmentApplied;
use schemas::outcome::{Outcome, OutcomeKind};
use schemas::record::{Attributes, SegmentClosed};
use schemas::{
    AccountId, ClearingRecord, CommandId, Currency, Direction, FileId, Kind, Sums, Timestamp, Topic,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use topic::memory::MemoryLog;
use topic::{Batch, Layout, Log, Message, MessageSet, Received, Writer, cloud_events};

const SHARDS: u32 = 4;

/// The partition of `commands` that the answers are to go to.
const ANSWER_TO: u32 = 1;

fn record(file_id: FileId, sequence: i64, account: AccountId, amount_minor: i64) -> ClearingRecord {
    ClearingRecord {
        file_id,
        index: sequence,
        sequence,
        byte_offset: 0,
        byte_length: 94,
        line: None,
        feed: "feed".to_owned(),
        format: "nacha".to_owned(),
        code: "22".to_owned(),
        kind: Kind::PAYMENT,
        direction: Direction::CREDIT,
        account: Some(account),
        account_label: Some("****0012".to_owned()),
        network: "ach".to_owned(),
        amount_minor,
        currency: Some(Currency::USD),
        exponent: 2,
        amounts: Vec::new(),
        control_amount: None,
        occurred_at: None,
        value_date: None,
        reference: None,
        counterparty: None,
        attributes: Attributes::default(),
    }
}

fn closed(file_id: FileId, shard: u32, events: i64) -> SegmentClosed {
    let shard = i32::try_from(shard).unwrap();
    SegmentClosed {
        file_id,
        shard,
        complete: true,
        events,
        sums: Sums::new(),
        command_id: None,
        answer_to: i32::try_from(ANSWER_TO).unwrap(),
    }
}

/// The log of one test, and what is published to it.
struct World {
    log: MemoryLog,
    writer: <MemoryLog as Log>::Writer,
}

impl World {
    async fn new() -> Self {
        let log = MemoryLog::new(Layout::new(1, 4, SHARDS));
        let writer = log.writer("test").await.unwrap();
        Self { log, writer }
    }

    async fn say<E: Event>(&mut self, shard: u32, events: &[E]) {
        let message = |event: &E| Message {
            id: Bytes::new(),
            key: Bytes::new(),
            value: Some(Codec::built_in().encode(event).unwrap().into()),
        };
        let set = MessageSet {
            topic: Topic::Records,
            partition: shard,
            headers: cloud_events(E::TYPE, "test", "test", Timestamp(0)),
            messages: events.iter().map(message).collect(),
        };
        self.writer.publish(Batch { sets: vec![set], consumed: None }).await.unwrap();
    }

    /// A file with `per_shard` records on each shard, and its ends.
    async fn say_file(&mut self, file_id: FileId, per_shard: i64) {
        for shard in 0..SHARDS {
            let account = |n: i64| customer(u32::try_from(n % 7).unwrap(), shard, SHARDS);
            let records: Vec<_> =
                (0..per_shard).map(|n| record(file_id, n, account(n), n + 1)).collect();
            self.say(shard, &records).await;
            self.say(shard, &[closed(file_id, shard, per_shard)]).await;
        }
    }

    async fn all(&self, topic: Topic, partition: u32) -> Vec<Received> {
        let end = self.log.end(topic, partition).await.unwrap();
        let mut found = Vec::new();
        let mut from = 0;
        while from < end {
            let page = self.log.read(topic, partition, from..end, 1 << 20).await.unwrap();
            from = page.last().unwrap().offset + 1;
            found.extend(page);
        }
        found
    }

    async fn outcomes(&self, shard: u32) -> Vec<Outcome> {
        let decode = |m: &Received| Codec::built_in().decode(m.value.as_ref().unwrap()).unwrap();
        self.all(Topic::Postings, shard).await.iter().map(decode).collect()
    }
}

/// The processors at work.
struct Running {
    task: JoinSet<Result<Vec<Stopped>, topic::Error>>,
    cancel: CancellationToken,
    steps: mpsc::UnboundedReceiver<(u32, Option<Step>)>,
}

impl Running {
    fn start<S: Store>(world: &World, store: &S, change: impl FnOnce(&mut Config)) -> Self {
        let (sender, steps) = mpsc::unbounded_channel();
        let stopped = sender.clone();
        let mut config = Config {
            shards: SHARDS,
            source: "batchless/test".to_owned(),
            settings: Settings {
                rules: Rules::standard(),
                unknown_accounts: HashMap::new(),
                unknown_account_default: UnknownAccount::Open,
                checks: Checks::ALL,
            },
            accounts_max: processors::ACCOUNTS_MAX,
            patience: None,
            clock: Arc::new(|| Timestamp(1_000)),
            on_step: Some(Arc::new(move |shard, step| {
                let _ = sender.send((shard, Some(step)));
            })),
            on_stop: Some(Arc::new(move |shard, _: &Error| {
                let _ = stopped.send((shard, None));
            })),
        };
        change(&mut config);
        let cancel = CancellationToken::new();
        let run = processors::run(world.log.clone(), store.clone(), config, cancel.clone());
        let mut task = JoinSet::new();
        task.spawn(run);
        Self { task, cancel, steps }
    }

    /// Waits until each shard has published as many outcomes.
    async fn until_published(&mut self, world: &World, outcomes: i64) {
        loop {
            let mut is_done = true;
            for shard in 0..SHARDS {
                is_done &= outcomes <= world.log.end(Topic::Postings, shard).await.unwrap();
            }
            if is_done {
                return;
            }
            self.steps.recv().await.unwrap();
        }
    }

    async fn end(mut self) -> Vec<Stopped> {
        self.cancel.cancel();
        self.task.join_next().await.unwrap().unwrap().unwrap()
    }
}

/// Balances by account and currency, as the outcomes tell them.
fn balances(outcomes: &[Outcome]) -> BTreeMap<(String, Currency), i64> {
    let mut balances = BTreeMap::new();
    for leg in outcomes.iter().flat_map(|outcome| &outcome.legs) {
        let sign = if leg.direction == Direction::CREDIT { 1 } else { -1 };
        *balances.entry((leg.account.clone(), leg.currency)).or_insert(0) +=
            sign * leg.amount_minor;
    }
    balances
}

#[tokio::test]
async fn a_file_becomes_balances_outcomes_and_answers() {
    let directory = tempfile::tempdir().unwrap();
    let memory = MemoryStore::new();
    let sqlite = SqliteStore::open(&directory.path().join("accounts.db")).unwrap();
    let of_memory = apply_a_file(&memory).await;
    let of_sqlite = apply_a_file(&sqlite).await;
    assert_eq!(of_memory, of_sqlite);
}

async fn apply_a_file<S: Store>(store: &S) -> schemas::Digest {
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    world.say_file(file(1), 20).await;
    let mut running = Running::start(&world, store, |_| ());
    running.until_published(&world, 21).await;
    // More of it comes while the owners wait.
    world.say_file(file(2), 5).await;
    running.until_published(&world, 27).await;
    assert!(running.end().await.is_empty());

    let mut view = store.view().await.unwrap();
    for shard in 0..SHARDS {
        let outcomes = world.outcomes(shard).await;
        assert!(outcomes.iter().map(|outcome| outcome.number).eq(0..27));
        assert!(outcomes[..20].iter().all(|outcome| outcome.kind == OutcomeKind::APPLIED));
        let found = view.accounts(shard, None, 100).await.unwrap();
        let found: BTreeMap<_, _> = found
            .iter()
            .flat_map(|account| account.balances.iter().map(|b| (account.name.to_string(), b)))
            .map(|(name, b)| ((name, b.currency), i64::try_from(b.minor()).unwrap()))
            .collect();
        assert_eq!(found, balances(&outcomes));
        assert_eq!(found.values().sum::<i64>(), 0);
        let first = &world.all(Topic::Postings, shard).await[0];
        assert_eq!(first.id, format!("{shard}/0"));
        assert_eq!(first.key, customer(0, shard, SHARDS).to_string());
    }
    // Every shard answered both files' owners, where they look for it.
    let mut answers = 0;
    for message in world.all(Topic::Commands, ANSWER_TO).await {
        let answer: SegmentApplied =
            Codec::built_in().decode(message.value.as_ref().unwrap()).unwrap();
        answers += 1;
        let (id, shard, number) = (answer.file_id, answer.segment.shard, answer.segment.number);
        assert_eq!(message.id, format!("{id}/segment/{shard}/{number}"));
        assert_eq!(answer.segment.applied, answer.segment.events);
    }
    assert_eq!(answers, 2 * SHARDS);
    let committed = world.log.committed(processors::GROUP, Topic::Records).await.unwrap();
    assert_eq!(committed, vec![Some(27); 4]);
    digest(&mut view).await.unwrap()
}

/// A replay's end that is refused is answered all the same, where the command's owner looks for it.
#[tokio::test]
async fn an_end_that_a_command_says_and_that_is_refused_is_answered() {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    let command_id = Some(CommandId([7; 16]));
    for shard in 0..SHARDS {
        world.say(shard, &[record(file(1), 0, customer(0, shard, SHARDS), 5)]).await;
        let (early, late) = (closed(file(1), shard, 2), closed(file(1), shard, 0));
        world.say(shard, &[early.clone(), SegmentClosed { command_id, ..early }]).await;
        world.say(shard, &[late.clone(), SegmentClosed { command_id, ..late }]).await;
    }
    let mut running = Running::start(&world, &store, |_| ());
    running.until_published(&world, 5).await;
    assert!(running.end().await.is_empty());
    let mut answers = Vec::new();
    for message in world.all(Topic::Commands, ANSWER_TO).await {
        let SegmentApplied { segment, command_id: by, .. } =
            Codec::built_in().decode(message.value.as_ref().unwrap()).unwrap();
        assert_eq!(by, command_id);
        answers.push((segment.shard, segment.number, segment.complete, segment.applied));
    }
    answers.sort_unstable();
    let each = |shard| [(shard, 2, false, 1), (shard, 4, false, 1)];
    let expected: Vec<_> = (0..i32::try_from(SHARDS).unwrap()).flat_map(each).collect();
    assert_eq!(answers, expected);
}

/// Ended after each step in turn and started again: nothing is lost, nothing is there twice.
#[tokio::test]
async fn an_owner_goes_on_where_the_last_one_was() {
    for step in [Step::Acquired, Step::Applied, Step::Committed, Step::Published] {
        let store = MemoryStore::new();
        store.open_ledger(&ledger(4)).await.unwrap();
        let mut world = World::new().await;
        world.say_file(file(1), 30).await;
        // The tasks are dropped wherever they are soon after that step, as a crash would end them.
        let mut running = Running::start(&world, &store, |_| ());
        while running.steps.recv().await != Some((2, Some(step))) {}
        running.task.shutdown().await;

        let mut running = Running::start(&world, &store, |_| ());
        running.until_published(&world, 31).await;
        assert!(running.end().await.is_empty());
        for shard in 0..SHARDS {
            let outcomes = world.outcomes(shard).await;
            assert!(outcomes.iter().map(|outcome| outcome.number).eq(0..31), "{step:?}");
            assert_eq!(balances(&outcomes).values().sum::<i64>(), 0);
        }
    }
}

/// A second member of the group does not disturb: both together do the work once.
#[tokio::test]
async fn two_members_share_the_shards() {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    let mut first = Running::start(&world, &store, |_| ());
    world.say_file(file(1), 10).await;
    first.until_published(&world, 11).await;
    let second = Running::start(&world, &store, |_| ());
    world.say_file(file(2), 10).await;
    // Either may have done it, so it is waited for through the log.
    let has_all = async |shard| 22 <= world.log.end(Topic::Postings, shard).await.unwrap();
    for shard in 0..SHARDS {
        while !has_all(shard).await {
            tokio::task::yield_now().await;
        }
    }
    assert!(first.end().await.is_empty());
    assert!(second.end().await.is_empty());
    for shard in 0..SHARDS {
        assert!(world.outcomes(shard).await.iter().map(|outcome| outcome.number).eq(0..22));
    }
}

/// What can't be applied stops its shard, after what came before it; the others go on.
#[tokio::test]
async fn an_event_that_can_not_be_applied_stops_its_shard_alone() {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(4)).await.unwrap();
    let mut world = World::new().await;
    let account = customer(0, 1, SHARDS);
    world.say(1, &[record(file(1), 0, account, 5)]).await;
    // A record whose index can't be: no reader gives one.
    world.say(1, &[ClearingRecord { index: -1, ..record(file(1), 1, account, 5) }]).await;
    world.say(1, &[record(file(1), 1, account, 5)]).await;
    world.say(2, &[record(file(1), 0, customer(0, 2, SHARDS), 5)]).await;
    let mut running = Running::start(&world, &store, |_| ());
    let mut is_stopped = false;
    while !is_stopped || world.log.end(Topic::Postings, 2).await.unwrap() < 1 {
        is_stopped |= running.steps.recv().await.unwrap() == (1, None);
    }
    let stopped = running.end().await;
    let [Stopped { shard: 1, error: Error::Event(why) }] = stopped.as_slice() else {
        panic!("expected shard 1 alone to stop, found {stopped:?}");
    };
    assert_eq!(why.to_string(), "expected index of at least 0 at offset 1 of its shard, found -1");
    assert_eq!(world.outcomes(1).await.len(), 1);
    assert_eq!(store.view().await.unwrap().shards().await.unwrap()[1].next_offset, 1);
}

/// With room for one account and rounds of any size, the same state comes out.
#[tokio::test]
async fn the_bound_of_accounts_in_memory_changes_nothing() {
    let mut digests = Vec::new();
    for accounts_max in [0, 100] {
        let store = MemoryStore::new();
        store.open_ledger(&ledger(4)).await.unwrap();
        let mut world = World::new().await;
        let mut running =
            Running::start(&world, &store, |config| config.accounts_max = accounts_max);
        for n in 1..6 {
            world.say_file(file(u8::try_from(n).unwrap()), 9).await;
            running.until_published(&world, 10 * n).await;
        }
        assert!(running.end().await.is_empty());
        digests.push(digest(&mut store.view().await.unwrap()).await.unwrap());
    }
    assert_eq!(digests[0], digests[1]);
}
