//! A round: what arrived while the last commit was under way, and a slice of what is being undone,
//! applied in memory, ready to commit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use schemas::FileId;
use schemas::codec::{self, Codec, Encoder};
use schemas::command::SegmentApplied;
use schemas::outcome::{Outcome, OutcomeKind};

use crate::apply::{self, Settings, Shard};
use crate::event::{Event, What};
use crate::outcome;
use crate::store::{self, AccountRow, BalanceRow, Commit, OutcomeRow, ShardRow, Store};

/// Events in a round at most, where many shards are at work. A round is what is lost and done again
/// where a commit fails, and what the others on a shared disk wait for. Five hundred of each shard
/// make the sync of the disk small already; with all shards of a process at work, each thousand
/// more is some tens of megabytes.
pub const EVENTS_MIN: usize = 512;

/// Events in a round at most, where the shard has the process to itself, as one with a hot account
/// has: then nobody else makes use of the time that a commit takes.
pub const EVENTS_MAX: usize = 4_096;

/// Events in the rounds of all shards of a process, together.
const EVENTS_TOGETHER: usize = 8_192;

/// How many shards of a process have a round in hand.
#[derive(Debug, Default)]
pub(crate) struct Busy(AtomicUsize);

impl Busy {
    /// How many events the next round may have.
    pub(crate) fn share(&self) -> usize {
        let shards = self.0.load(Ordering::Relaxed).max(1);
        (EVENTS_TOGETHER / shards).clamp(EVENTS_MIN, EVENTS_MAX)
    }

    /// One more, until what it gives is dropped.
    pub(crate) fn enter(&self) -> InHand<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        InHand(self)
    }
}

/// A round in hand.
#[derive(Debug)]
pub(crate) struct InHand<'a>(&'a Busy);

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Outcomes that a round looks at at most, to undo them. Undoing one costs what applying it did.
pub const SLICE_MAX: usize = 512;

mod slice;

pub use slice::load as load_reversals;

/// A round that is applied in memory.
#[derive(Clone, Debug)]
pub struct Round {
    /// What the store is to write.
    pub commit: Arc<Commit>,
    /// For each of its outcomes, how it is published.
    pub addresses: Vec<Address>,
    /// What it did of reversals.
    pub reversals: Reversals,
}

/// What a round did of reversals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reversals {
    /// It took one up.
    pub has_begun: bool,
    /// It undid a slice of one.
    pub has_slice: bool,
    /// It ended one.
    pub has_ended: bool,
}

impl Reversals {
    fn note(&mut self, outcome: &Outcome) {
        self.has_begun |= outcome.kind == OutcomeKind::REVERSAL_BEGUN;
        self.has_slice |= outcome.number_reversed.is_some();
        self.has_ended |= outcome.kind == OutcomeKind::REVERSAL_ENDED;
    }
}

/// How an outcome is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The key on `postings`.
    pub key: Bytes,
    /// The answer to the file's owner, where it is one, and its partition of `commands`.
    pub answer: Option<(u32, Box<SegmentApplied>)>,
}

impl Address {
    /// The address of an outcome.
    pub fn of(outcome: &Outcome) -> Self {
        let answer = outcome.file_id.zip(outcome.segment.as_ref());
        let answer = answer.map(|(file_id, segment)| {
            let command_id = outcome.command_id.as_ref().and_then(|text| text.parse().ok());
            let partition = outcome.answer_to.and_then(|to| u32::try_from(to).ok());
            let segment = segment.clone();
            let answer = SegmentApplied { file_id, segment, command_id };
            (partition.unwrap_or_default(), Box::new(answer))
        });
        Self { key: outcome::key(outcome).into(), answer }
    }
}

/// A round can't be applied: the shard stops. What was applied before it is in the round.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state contradicts itself.
    #[error(transparent)]
    Apply(#[from] apply::Error),
    /// An outcome has no form in its schema.
    #[error("failed to encode an outcome")]
    Encode(#[from] codec::Error),
}

/// Reads into memory what these events need and is not there yet; and where a reversal is open, a
/// slice of what it undoes.
///
/// # Errors
///
/// As [`Store::fetch`]; *invariant* where what is to be undone does not decode.
pub async fn prepare<S: Store>(
    store: &S,
    shard: &mut Shard,
    settings: &Settings,
    events: &[Event],
) -> Result<(), store::Error> {
    for event in events {
        shard.want(settings, event);
    }
    slice::want(shard);
    fetch(store, shard).await?;
    slice::prepare(store, shard).await?;
    fetch(store, shard).await?;
    // Doubled events are few: only these have their fingerprints looked up.
    let mut doubled: BTreeMap<FileId, Vec<i64>> = BTreeMap::new();
    for event in events {
        if let What::Record(record) = &event.what
            && shard.runs.wants_fingerprint(&record.file, record.sequence)
        {
            doubled.entry(record.file).or_default().push(record.sequence);
        }
    }
    for (file, mut sequences) in doubled {
        sequences.sort_unstable();
        sequences.dedup();
        let found = store.fingerprints(shard.id, file, sequences).await?;
        shard.runs.load_fingerprints(&file, found);
    }
    Ok(())
}

/// Reads what is wanted.
async fn fetch<S: Store>(store: &S, shard: &mut Shard) -> Result<(), store::Error> {
    let (accounts, files) = (shard.accounts.wanted(), shard.runs.wanted());
    if !(accounts.is_empty() && files.is_empty()) {
        let fetched = store.fetch(shard.id, accounts, files).await?;
        shard.accounts.load(fetched.accounts);
        shard.runs.load(fetched.runs);
    }
    Ok(())
}

/// Applies events in memory, after [`prepare`], and undoes the slice that is there; no round where
/// nothing came of it.
///
/// The error is why the events after the last of the round can't be applied.
pub fn apply_all(
    shard: &mut Shard,
    epoch: i64,
    settings: &Settings,
    events: &[Event],
    encoder: &mut Encoder<Outcome>,
) -> (Option<Round>, Option<Error>) {
    let from = ShardRow {
        shard: shard.id,
        epoch,
        next_offset: shard.next_offset,
        next_number: shard.next_number,
    };
    let mut said = Said { encoder, bodies: Bodies::default(), addresses: Vec::new() };
    said.addresses.reserve(events.len());
    let mut reversals = Reversals::default();
    let mut events = events.iter();
    let mut error = None;
    loop {
        let outcome = match events.next() {
            Some(event) => shard.apply(settings, event).map(Some),
            None => shard.undo(),
        };
        match outcome {
            Ok(None) => break,
            Ok(Some(outcome)) => {
                reversals.note(&outcome);
                // A defect of ours: its effects are in memory and its outcome is not, so nothing
                // of this round may be committed.
                if let Err(stop) = said.add(&outcome) {
                    return (None, Some(stop.into()));
                }
            }
            Err(stop) => {
                error = Some(stop.into());
                break;
            }
        }
    }
    let Said { bodies, addresses, .. } = said;
    if addresses.is_empty() {
        return (None, error);
    }
    let (mut accounts, mut balances) = (Vec::new(), Vec::new());
    shard.accounts.take_changes(
        |account| {
            let (state, label) = (account.state.clone(), account.label.clone());
            accounts.push(AccountRow { name: account.name.clone(), state, label });
        },
        |account, balance, version_before| {
            let name = account.name.clone();
            balances.push(BalanceRow { name, balance: *balance, version_before });
        },
    );
    let (runs, spans) = shard.runs.take_changes();
    let commit = Commit {
        from,
        next_offset: shard.next_offset,
        next_number: shard.next_number,
        accounts,
        balances,
        outcomes: bodies.into_rows(),
        runs,
        spans,
    };
    (Some(Round { commit: Arc::new(commit), addresses, reversals }), error)
}

/// What a round says: its outcomes, encoded, and where they go.
struct Said<'a> {
    encoder: &'a mut Encoder<Outcome>,
    bodies: Bodies,
    addresses: Vec<Address>,
}

impl Said<'_> {
    fn add(&mut self, outcome: &Outcome) -> Result<(), codec::Error> {
        let bodies = &mut self.bodies;
        let start = bodies.buffer.len();
        self.encoder.encode(outcome, &mut bodies.buffer)?;
        let sequence = outcome::sequence_taken(outcome);
        bodies.rows.push(Row {
            number: outcome.number,
            file: outcome.file_id,
            sequence,
            index: outcome.index.filter(|_| sequence.is_some()),
            fingerprint: outcome.fingerprint,
            body: start..bodies.buffer.len(),
        });
        self.addresses.push(Address::of(outcome));
        Ok(())
    }
}

/// The bodies of a round's outcomes, in one buffer.
#[derive(Debug, Default)]
struct Bodies {
    buffer: Vec<u8>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    number: i64,
    file: Option<FileId>,
    sequence: Option<i64>,
    index: Option<i64>,
    fingerprint: Option<i64>,
    body: Range<usize>,
}

impl Bodies {
    fn into_rows(self) -> Vec<OutcomeRow> {
        let buffer = Bytes::from(self.buffer);
        let rows = self.rows.into_iter().map(|row| OutcomeRow {
            number: row.number,
            file: row.file,
            sequence: row.sequence,
            index: row.index,
            fingerprint: row.fingerprint,
            body: buffer.slice(row.body),
        });
        rows.collect()
    }
}

/// An encoder of outcomes.
pub fn encoder() -> Encoder<Outcome> {
    Codec::built_in().encoder()
}
