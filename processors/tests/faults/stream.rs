//! Events as they may come to shards, and what they do to balances: folded here by themselves, with
//! nothing of the code that is tested.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use processors::store::View;
use processors::store::conformance::{customer, file};
use schemas::codec::{Codec, Event};
use schemas::outcome::{AccountState, Outcome, OutcomeKind};
use schemas::record::{AccountChanged, Attributes, Reversal, SegmentClosed};
use schemas::{
    AccountId, ClearingRecord, CommandId, Currency, Direction, FileId, Kind, Sums, Timestamp, Topic,
};
use topic::memory::MemoryLog;
use topic::{Batch, Log, Message, MessageSet, Writer, cloud_events};

use crate::house::SHARDS;

/// What comes next, by four numbers: what, of which file, on which account, how much.
pub(crate) type Op = (u8, u8, u8, u8);

const FILES: u8 = 6;
const ACCOUNTS: u8 = 5;

/// Numbers that look drawn, the same each time.
pub(crate) fn ops(seed: u64, count: usize) -> Vec<Op> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let [a, b, c, d, ..] = state.to_be_bytes();
        (a, b, c, d)
    };
    (0..count).map(|_| next()).collect()
}

#[derive(Clone, Debug)]
enum Said {
    Record(Box<ClearingRecord>),
    Closed(SegmentClosed),
    Changed(AccountChanged),
    Reversal(Reversal),
}

/// A record that was applied.
#[derive(Clone, Debug)]
struct Applied {
    index: i64,
    account: AccountId,
    credit_minor: i64,
    is_reversed: bool,
}

/// What a shard knows of a file.
#[derive(Clone, Debug, Default)]
struct Known {
    taken: Vec<ClearingRecord>,
    applied: Vec<Applied>,
    is_complete: bool,
    is_cancelled: bool,
    commands: BTreeSet<CommandId>,
}

/// The log with all that was said, and what must come of it.
pub(crate) struct Stream {
    pub(crate) log: MemoryLog,
    writer: <MemoryLog as Log>::Writer,
    files: BTreeMap<(u32, FileId), Known>,
    frozen: BTreeSet<AccountId>,
    /// Of each shard.
    counts: Vec<Counts>,
}

/// What was said to a shard, and what it published.
#[derive(Clone, Debug, Default)]
struct Counts {
    events: usize,
    /// Reversals that it takes up.
    reversals: usize,
    /// Outcomes that answer an event.
    answers: usize,
    /// Reversals that have ended.
    ended: usize,
    /// The offset behind the last outcome.
    read: i64,
}

impl Stream {
    /// On a log whose offsets have holes, as Kafka's do: of all that is here none may count on
    /// offsets that are dense.
    pub(crate) async fn new() -> Self {
        let log = MemoryLog::with_holes(topic::Layout::new(1, 4, SHARDS));
        let writer = log.writer("test").await.unwrap();
        let shards = usize::try_from(SHARDS).unwrap();
        let (files, frozen) = (BTreeMap::new(), BTreeSet::new());
        Self { log, writer, files, frozen, counts: vec![Counts::default(); shards] }
    }

    /// How many events were said to a shard.
    pub(crate) fn events(&self, shard: u32) -> usize {
        self.counts[usize::try_from(shard).unwrap()].events
    }

    fn counts(&mut self, shard: u32) -> &mut Counts {
        &mut self.counts[usize::try_from(shard).unwrap()]
    }

    /// True where a shard has published an outcome for each event, and has no reversal under way.
    pub(crate) async fn is_answered(&mut self, shard: u32) -> bool {
        let log = self.log.clone();
        let counts = self.counts(shard);
        let (mut answers, mut ended) = (0, 0);
        let take = |message: topic::Received| {
            let value = message.value.unwrap();
            let outcome: Outcome = Codec::built_in().decode(&value).unwrap();
            let is_ended = outcome.kind == OutcomeKind::REVERSAL_ENDED;
            ended += usize::from(is_ended);
            answers += usize::from(!is_ended && outcome.kind != OutcomeKind::REVERSED);
            Ok::<(), topic::Error>(())
        };
        let read = topic::read_all(&log, Topic::Postings, shard, counts.read, take).await.unwrap();
        counts.read = read;
        counts.answers += answers;
        counts.ended += ended;
        counts.events <= counts.answers && counts.reversals <= counts.ended
    }

    /// Says what these numbers stand for, to every shard.
    pub(crate) async fn say_all(&mut self, ops: &[Op]) {
        for shard in 0..SHARDS {
            let mut sets = Vec::new();
            for op in ops {
                let said = self.next(shard, *op);
                sets.push(set(shard, &said));
                self.fold(shard, said);
                self.counts(shard).events += 1;
            }
            self.writer.publish(Batch { sets, consumed: None }).await.unwrap();
        }
    }

    fn next(&mut self, shard: u32, (what, of_file, of_account, amount): Op) -> Said {
        let file_id = file(1 + of_file % FILES);
        let account = customer(u32::from(of_account % ACCOUNTS), shard, SHARDS);
        let known = self.files.entry((shard, file_id)).or_default();
        let next = i64::try_from(known.taken.len()).unwrap();
        let amount_minor = 1 + i64::from(amount);
        let earlier = known.taken.get(usize::from(amount) % known.taken.len().max(1)).cloned();
        let fresh = |sequence| record(shard, file_id, sequence, account, amount_minor);
        let closed = |complete, events| SegmentClosed {
            file_id,
            shard: i32::try_from(shard).unwrap(),
            complete,
            events,
            sums: Sums::new(),
            command_id: None,
            answer_to: 1,
        };
        let (is_rare, id) = (amount.is_multiple_of(4), CommandId([what % 8 + amount % 4; 16]));
        match (what % 24, earlier) {
            (0, Some(earlier)) => Said::Record(Box::new(earlier)),
            (1, Some(mut earlier)) => {
                earlier.amount_minor += 1;
                Said::Record(Box::new(earlier))
            }
            (2, _) => Said::Record(Box::new(fresh(next + 1))),
            (3, _) => Said::Changed(changed(account, Some(AccountState::FROZEN), None)),
            (4 | 5, _) => Said::Changed(changed(account, Some(AccountState::OPEN), None)),
            (6, _) => Said::Changed(changed(account, None, Some("****0099"))),
            (7, _) if is_rare => Said::Closed(closed(true, next)),
            (8, _) => Said::Closed(closed(true, (next + 2 - i64::from(amount % 5)).max(0))),
            (9, _) if is_rare && of_account % 4 == 0 => Said::Closed(closed(false, next)),
            (10..=13, _) if known.is_complete || known.is_cancelled => Said::Reversal(Reversal {
                command_id: id,
                file_id,
                first_index: i64::from(amount % 16),
                last_index: if is_rare { i64::MAX } else { i64::from(amount) },
                reason: "test".to_owned(),
                answer_to: 1,
            }),
            _ => Said::Record(Box::new(fresh(next))),
        }
    }

    fn fold(&mut self, shard: u32, said: Said) {
        match said {
            Said::Changed(changed) => match changed.state.as_deref() {
                Some("frozen") => drop(self.frozen.insert(changed.account)),
                Some(_) => drop(self.frozen.remove(&changed.account)),
                None => (),
            },
            Said::Closed(closed) => {
                let known = self.files.entry((shard, closed.file_id)).or_default();
                let is_all = i64::try_from(known.taken.len()) == Ok(closed.events);
                known.is_complete |= closed.complete && is_all && !known.is_cancelled;
                known.is_cancelled |= !closed.complete;
            }
            Said::Record(record) => {
                let known = self.files.entry((shard, record.file_id)).or_default();
                let is_next = i64::try_from(known.taken.len()) == Ok(record.sequence);
                if known.is_complete || known.is_cancelled || !is_next {
                    return;
                }
                let account = record.account.unwrap();
                let is_credit = record.direction == Direction::CREDIT;
                let credit_minor = record.amount_minor * if is_credit { 1 } else { -1 };
                let index = record.index;
                known.taken.push(*record);
                if !self.frozen.contains(&account) {
                    let is_reversed = false;
                    known.applied.push(Applied { index, account, credit_minor, is_reversed });
                }
            }
            Said::Reversal(reversal) => {
                let known = self.files.entry((shard, reversal.file_id)).or_default();
                if known.commands.insert(reversal.command_id) {
                    self.counts[usize::try_from(shard).unwrap()].reversals += 1;
                    let range = reversal.first_index..=reversal.last_index;
                    let undone = known.applied.iter_mut().filter(|it| range.contains(&it.index));
                    undone.for_each(|applied| applied.is_reversed = true);
                }
            }
        }
    }

    /// Balances by account.
    pub(crate) fn balances(&self, shard: u32) -> BTreeMap<String, i64> {
        let mut balances = BTreeMap::new();
        for ((of_shard, _), known) in &self.files {
            for applied in known.applied.iter().filter(|_| *of_shard == shard) {
                let credit_minor = if applied.is_reversed { 0 } else { applied.credit_minor };
                *balances.entry(applied.account.to_string()).or_insert(0) += credit_minor;
                *balances.entry(format!("clearing:ach#{shard}")).or_insert(0) -= credit_minor;
            }
        }
        balances
    }

    /// Checks that each outcome is published once, in order, and that balances are as folded.
    pub(crate) async fn check<V: View>(&self, view: &mut V, shard: u32) -> Vec<Outcome> {
        let mut outcomes: Vec<Outcome> = Vec::new();
        let take = |message: topic::Received| {
            assert_eq!(message.id, format!("{shard}/{}", outcomes.len()));
            outcomes.push(Codec::built_in().decode(message.value.as_ref().unwrap()).unwrap());
            Ok::<(), topic::Error>(())
        };
        topic::read_all(&self.log, Topic::Postings, shard, 0, take).await.unwrap();
        let answers = outcomes.iter().filter(|outcome| {
            ![OutcomeKind::REVERSED, OutcomeKind::REVERSAL_ENDED].contains(&outcome.kind)
        });
        let counts = &self.counts[usize::try_from(shard).unwrap()];
        assert_eq!(answers.count(), counts.events, "an outcome for each event");
        let reversed = outcomes.iter().filter(|outcome| outcome.kind == OutcomeKind::REVERSED);
        let is_undone = |((of, _), known): (&(u32, FileId), &Known)| {
            let applied = known.applied.iter().filter(|it| *of == shard && it.is_reversed);
            applied.count()
        };
        assert_eq!(reversed.count(), self.files.iter().map(is_undone).sum::<usize>());

        let accounts = view.accounts(shard, None, 1_000).await.unwrap();
        let mut found = BTreeMap::new();
        for account in &accounts {
            for balance in &account.balances {
                found.insert(account.name.to_string(), i64::try_from(balance.minor()).unwrap());
            }
        }
        assert_eq!(found, self.balances(shard), "shard {shard}");
        outcomes
    }
}

fn set(shard: u32, said: &Said) -> MessageSet {
    fn encode<E: Event>(shard: u32, event: &E) -> MessageSet {
        let value = Some(Codec::built_in().encode(event).unwrap().into());
        MessageSet {
            topic: Topic::Records,
            partition: shard,
            headers: cloud_events(E::TYPE, "test", "test", Timestamp(0)),
            messages: vec![Message { id: Bytes::new(), key: Bytes::new(), value }],
        }
    }
    match said {
        Said::Record(record) => encode(shard, record.as_ref()),
        Said::Closed(closed) => encode(shard, closed),
        Said::Changed(changed) => encode(shard, changed),
        Said::Reversal(reversal) => encode(shard, reversal),
    }
}

fn changed(account: AccountId, state: Option<AccountState>, label: Option<&str>) -> AccountChanged {
    AccountChanged {
        command_id: CommandId([9; 16]),
        account,
        state: state.map(|state| state.as_str().to_owned()),
        label: label.map(str::to_owned),
        reason: "test".to_owned(),
    }
}

fn record(
    shard: u32,
    file_id: FileId,
    sequence: i64,
    account: AccountId,
    amount_minor: i64,
) -> ClearingRecord {
    let is_credit = amount_minor % 3 == 0;
    ClearingRecord {
        file_id,
        index: sequence * i64::from(SHARDS) + i64::from(shard),
        sequence,
        byte_offset: 0,
        byte_length: 94,
        line: None,
        feed: "feed".to_owned(),
        format: "nacha".to_owned(),
        code: "22".to_owned(),
        kind: Kind::PAYMENT,
        direction: if is_credit { Direction::CREDIT } else { Direction::DEBIT },
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
