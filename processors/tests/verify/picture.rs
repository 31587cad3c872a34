//! A small ledger as it should be, as plain values that a test may alter before they are stored and
//! published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use processors::event::{Record, What};
use processors::store::conformance::{Driver, customer, debit, file, ledger, reversal};
use processors::store::memory::MemoryStore;
use processors::store::{AccountRow, BalanceRow, Commit, OutcomeRow, ShardRow, Store, View};
use processors::verify::{self, Check, Known};
use schemas::codec::{Codec, Event, EventType};
use schemas::file::{Checkpoint, File, FileState, Verdict};
use schemas::outcome::Outcome;
use schemas::record::{Attributes, SegmentClosed};
use schemas::{
    ClearingRecord, Currency, Digest, Direction, FileId, RecordRejected, Sums, Timestamp, Topic,
};
use topic::memory::MemoryLog;
use topic::{Batch, Header, Layout, Log, Message, MessageSet, Writer, cloud_events};

const SHARDS: u32 = 2;

/// A ledger of two shards.
///
/// - File 1 has four records on each shard, all applied, and one that can't be read.
/// - File 2 has two equal records on shard 0, one of which came twice; it is reversed.
pub(crate) struct Picture {
    /// What was said to each shard.
    pub(crate) said: Vec<Vec<What>>,
    /// What became of it.
    pub(crate) outcomes: Vec<Vec<Outcome>>,
    /// The state of each shard, without its outcomes.
    pub(crate) state: Vec<Commit>,
    /// Records that can't be read, and whether a replay said so.
    pub(crate) rejects: Vec<(FileId, i64, bool)>,
    pub(crate) files: BTreeMap<FileId, File>,
    pub(crate) refused: BTreeSet<FileId>,
    /// Alters what was published of a shard.
    pub(crate) publish: fn(u32, &mut Vec<Message>),
}

fn records(id: FileId, shard: u32, first_index: i64, sequences: std::ops::Range<i64>) -> Vec<What> {
    let account = |n: i64| customer(u32::try_from(n % 2).unwrap(), shard, SHARDS);
    let record = |n: i64| Record { index: first_index + n, ..debit(id, n, account(n), n + 1) };
    sequences.map(|n| What::Record(record(n))).collect()
}

fn closed(file_id: FileId, shard: u32, events: i64) -> What {
    let shard = i32::try_from(shard).unwrap();
    let (sums, command_id, answer_to) = (Sums::new(), None, 0);
    let complete = true;
    What::SegmentClosed(SegmentClosed {
        file_id,
        shard,
        complete,
        events,
        sums,
        command_id,
        answer_to,
    })
}

impl Picture {
    pub(crate) async fn new() -> Self {
        let equal = |n: i64| What::Record(debit(file(2), n, customer(0, 0, SHARDS), 7));
        let mut first = records(file(1), 0, 0, 0..4);
        first.extend([closed(file(1), 0, 4), equal(0), equal(1), equal(0), closed(file(2), 0, 2)]);
        first.push(reversal(1, file(2), 0, i64::MAX));
        let mut second = records(file(1), 1, 4, 0..4);
        second.push(closed(file(1), 1, 4));
        let said = vec![first, second];

        let store = MemoryStore::new();
        store.open_ledger(&ledger(2)).await.unwrap();
        for (shard, said) in (0..SHARDS).zip(&said) {
            let mut driver = Driver::new(&store, shard, SHARDS).await.unwrap();
            driver.round(said.clone()).await.unwrap();
            driver.undo().await.unwrap();
        }
        let mut view = store.view().await.unwrap();
        let (mut state, mut outcomes) = (Vec::new(), Vec::new());
        for row in view.shards().await.unwrap() {
            let rows = view.outcomes(row.shard, 0, 100).await.unwrap();
            let decode = |row: &OutcomeRow| Codec::built_in().decode(&row.body).unwrap();
            outcomes.push(rows.iter().map(decode).collect::<Vec<Outcome>>());
            state.push(self::state(&mut view, row).await);
        }
        let mut files = BTreeMap::new();
        for (id, row) in [(file(1), row(1, 9, [4, 4])), (file(2), row(2, 2, [2, 0]))] {
            let of_file = outcomes.iter().flatten().filter(|outcome| outcome.file_id == Some(id));
            let segments = of_file.filter_map(|outcome| outcome.segment.clone()).collect();
            files.insert(id, File { segments, ..row });
        }
        files.get_mut(&file(2)).unwrap().state = FileState::REVERSED;
        Self {
            said,
            outcomes,
            state,
            rejects: vec![(file(1), 8, false), (file(1), 8, true)],
            files,
            refused: BTreeSet::new(),
            publish: |_, _| (),
        }
    }

    /// Stores it all.
    pub(crate) async fn store(&self) -> MemoryStore {
        let store = MemoryStore::new();
        store.open_ledger(&ledger(2)).await.unwrap();
        for (state, outcomes) in self.state.iter().zip(&self.outcomes) {
            let row = |outcome: &Outcome| OutcomeRow {
                number: outcome.number,
                file: outcome.file_id,
                sequence: None,
                index: None,
                fingerprint: outcome.fingerprint,
                body: Codec::built_in().encode(outcome).unwrap().into(),
            };
            let outcomes = outcomes.iter().map(row).collect();
            store.acquire(state.from.shard).await.unwrap();
            store.commit(Arc::new(Commit { outcomes, ..state.clone() })).await.unwrap();
        }
        store
    }

    /// Publishes it all.
    async fn log(&self) -> MemoryLog {
        let log = MemoryLog::new(Layout::new(1, 4, SHARDS));
        let mut sets = Vec::new();
        let encode = |what: &What| match what {
            What::Record(record) => message("", &clearing(record)),
            What::SegmentClosed(closed) => message("", closed),
            What::Reversal(reversal) => message("", reversal),
            What::AccountChanged(changed) => message("", changed),
        };
        for (shard, (said, outcomes)) in (0..SHARDS).zip(self.said.iter().zip(&self.outcomes)) {
            sets.push(set(Topic::Records, shard, said.iter().map(encode).collect(), None));
            let posting = |it: &Outcome| message(&format!("{}/{}", it.shard, it.number), it);
            let mut messages = outcomes.iter().map(posting).collect();
            (self.publish)(shard, &mut messages);
            sets.push(set(Topic::Postings, shard, messages, None));
        }
        for (id, index, is_replayed) in &self.rejects {
            let value = Bytes::from_static(b"true");
            let header = is_replayed.then(|| Header { name: "replayed".to_owned(), value });
            sets.push(set(Topic::Rejects, 0, vec![message("", &reject(*id, *index))], header));
        }
        let mut writer = log.writer("test").await.unwrap();
        writer.publish(Batch { sets, consumed: None }).await.unwrap();
        log
    }

    pub(crate) async fn checks(&self) -> Vec<Check> {
        let log = self.log().await;
        let mut view = self.store().await.view().await.unwrap();
        let ends: Vec<i64> =
            self.said.iter().map(|said| i64::try_from(said.len()).unwrap()).collect();
        let known = Known { files: &self.files, refused: &self.refused, ends: &ends };
        verify::ledger(&log, &mut view, known).await.unwrap()
    }
}

/// All that a shard has, as one commit.
async fn state<V: View>(view: &mut V, to: ShardRow) -> Commit {
    let (mut accounts, mut balances) = (Vec::new(), Vec::new());
    for account in view.accounts(to.shard, None, 100).await.unwrap() {
        let name = account.name;
        for balance in account.balances {
            balances.push(BalanceRow { name: name.clone(), balance, version_before: 0 });
        }
        accounts.push(AccountRow { name, state: account.state, label: account.label });
    }
    let runs = view.runs(None, 100).await.unwrap().into_iter();
    Commit {
        from: ShardRow { shard: to.shard, epoch: 1, next_offset: 0, next_number: 0 },
        next_offset: to.next_offset,
        next_number: to.next_number,
        accounts,
        balances,
        outcomes: Vec::new(),
        runs: runs.filter(|(shard, _)| *shard == to.shard).map(|(_, run)| run).collect(),
        spans: Vec::new(),
    }
}

fn message<E: Event>(id: &str, event: &E) -> Message {
    let value = Some(Codec::built_in().encode(event).unwrap().into());
    Message { id: id.to_owned().into(), key: Bytes::new(), value }
}

fn set(topic: Topic, partition: u32, messages: Vec<Message>, header: Option<Header>) -> MessageSet {
    let headers = cloud_events(EventType::Outcome, "test", "test", Timestamp(0));
    let headers = headers.iter().cloned().chain(header).collect();
    MessageSet { topic, partition, headers, messages }
}

fn reject(file_id: FileId, index: i64) -> RecordRejected {
    RecordRejected {
        file_id,
        index,
        byte_offset: 0,
        byte_length: 94,
        line: None,
        feed: "feed".to_owned(),
        format: "ipm".to_owned(),
        code: None,
        reason: "not_digits".to_owned(),
        field: "amount".to_owned(),
        expected: "digits".to_owned(),
        found: "a letter".to_owned(),
        direction: Direction::NONE,
        control_amount: None,
    }
}

fn clearing(record: &Record) -> ClearingRecord {
    ClearingRecord {
        file_id: record.file,
        index: record.index,
        sequence: record.sequence,
        byte_offset: 0,
        byte_length: 94,
        line: None,
        feed: record.feed.to_string(),
        format: record.format.to_string(),
        code: "1240/200".to_owned(),
        kind: record.kind.clone(),
        direction: record.direction.clone(),
        account: record.account,
        account_label: record.label.as_deref().map(str::to_owned),
        network: record.network.to_string(),
        amount_minor: record.amount_minor,
        currency: record.currency,
        exponent: record.exponent,
        amounts: Vec::new(),
        control_amount: None,
        occurred_at: None,
        value_date: None,
        reference: None,
        counterparty: None,
        attributes: Attributes::default(),
    }
}

/// A file of as many records that debit as much in all.
pub(crate) fn published(records: i64, amount_minor: i64) -> File {
    let mut sums = Sums::new();
    sums.add(&Direction::DEBIT, Currency::USD, 2, amount_minor).unwrap();
    let file = row(1, records, [records, 0]);
    let checkpoint = Checkpoint { sums, ..file.checkpoint };
    File { checkpoint, ..file }
}

fn row(n: u8, records: i64, shard_events: [i64; 2]) -> File {
    let checkpoint = Checkpoint {
        published: shard_events.iter().sum(),
        sequences: shard_events.to_vec(),
        ..Checkpoint::default()
    };
    let shard_events = shard_events.to_vec();
    File {
        file_id: file(n),
        feed: "feed".to_owned(),
        object: "object".to_owned(),
        version: "1".to_owned(),
        state: FileState::RECONCILED,
        reason: None,
        verdict: Verdict {
            content_digest: Digest([0; 32]),
            occurrence: 0,
            format: "ipm".to_owned(),
            container: "none".to_owned(),
            identifier: None,
            identifiers: Vec::new(),
            size_bytes: 0,
            content_bytes: 0,
            records,
            rejects: 0,
            shard_events,
            sums: Sums::new(),
            claimed_debits: None,
            claimed_credits: None,
            claimed_unsigned: None,
            control_totals: Vec::new(),
            warnings: Vec::new(),
            settings_digest: String::new(),
            reader_revision: 1,
            block_bytes: 0,
            block_digests: Vec::new(),
        },
        checkpoint,
        segments: Vec::new(),
        duplicates: 0,
        answers: Vec::new(),
        work: None,
        resubmits: None,
        arrived_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
}
