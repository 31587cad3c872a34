//! Verification: what must be so, compared with what the topics and the store hold.
//!
//! The store is read as one view, shard by shard, beside the shard's partitions of `records` and
//! `postings`, each once and in order. Memory grows with the accounts of one shard, with the files,
//! and with one bit a record; never with the outcomes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use schemas::codec::{Codec, EventType};
use schemas::file::File;
use schemas::outcome::{Outcome, OutcomeKind};
use schemas::{FileId, RecordRejected, Topic};
use topic::Log;

use crate::fate::Error;
use crate::run::Run;
use crate::store::{ShardRow, View};

mod cursor;
mod file;
mod pass;
mod walk;

pub use file::file;
pub use walk::postings;

use cursor::{Earlier, Events, Published};
use pass::{Findings, Pass};

/// Rows read at once.
const PAGE: usize = 4_096;

/// One thing that must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked, after the number of the guarantee that it belongs to.
    pub name: String,
    /// True where it is so.
    pub ok: bool,
    /// What must be.
    pub expected: String,
    /// What is: as expected where it is so, maybe with what is still to come.
    pub found: String,
}

impl Check {
    fn of(name: String, expected: impl ToString, found: impl ToString) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self { name, ok: expected == found, expected, found }
    }
}

/// What is known of files, read before the view was taken, so that the store is never behind it.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Every file by its newest row.
    pub files: &'a BTreeMap<FileId, File>,
    /// The files that were refused.
    pub refused: &'a BTreeSet<FileId>,
    /// The end of each partition of `records` before `files` was read: an event below it is of a
    /// file that has a row.
    pub ends: &'a [i64],
}

/// Checks what the store says of itself; see [`ledger`] for the names.
///
/// # Errors
///
/// Where the store can't be read, or an outcome doesn't decode.
pub async fn store<V: View>(view: &mut V) -> Result<Vec<Check>, Error> {
    let none: Option<(&topic::memory::MemoryLog, Known<'_>)> = None;
    check(none, view).await
}

/// Checks the whole ledger: the store, `records`, `rejects` and `postings` against each other and
/// against the rows of files. One line a check, over all shards, which names the first departure.
///
/// # Errors
///
/// Where the log or the store can't be read, or what is in them doesn't decode.
pub async fn ledger<L: Log, V: View>(
    log: &L,
    view: &mut V,
    known: Known<'_>,
) -> Result<Vec<Check>, Error> {
    check(Some((log, known)), view).await
}

async fn check<L: Log, V: View>(
    topics: Option<(&L, Known<'_>)>,
    view: &mut V,
) -> Result<Vec<Check>, Error> {
    let mut findings = Findings::new(topics.map(|(_, known)| known));
    let mut runs = runs_by_shard(view).await?;
    for row in view.shards().await.map_err(Error::Store)? {
        let log = topics.map(|(log, _)| log);
        let runs = runs.remove(&row.shard).unwrap_or_default();
        shard(log, view, row, runs, &mut findings).await?;
    }
    if let Some((log, _)) = topics {
        rejects(log, &mut findings).await?;
    }
    Ok(findings.into_checks())
}

async fn runs_by_shard<V: View>(view: &mut V) -> Result<HashMap<u32, Vec<Run>>, Error> {
    let mut runs: HashMap<u32, Vec<Run>> = HashMap::new();
    let mut after = None;
    loop {
        let page = view.runs(after.take(), PAGE).await.map_err(Error::Store)?;
        after = page.last().map(|(shard, run)| (run.file, *shard));
        let is_last = page.len() < PAGE;
        for (shard, run) in page {
            runs.entry(shard).or_default().push(run);
        }
        if is_last {
            return Ok(runs);
        }
    }
}

/// One shard: its outcomes in order, each beside its event and beside what was published of it.
async fn shard<L: Log, V: View>(
    log: Option<&L>,
    view: &mut V,
    row: ShardRow,
    runs: Vec<Run>,
    findings: &mut Findings<'_>,
) -> Result<(), Error> {
    let codec = Codec::built_in();
    let (mut events, mut published) = match log {
        Some(log) => (Some(Events::open(log, row).await?), Some(Published::open(log, row).await?)),
        None => (None, None),
    };
    let mut earlier = Earlier::default();
    let mut pass = Pass::new(row.shard);
    loop {
        let page = view.outcomes(row.shard, pass.next_number, PAGE).await.map_err(Error::Store)?;
        for stored in &page {
            let outcome: Outcome = codec.decode(&stored.body)?;
            pass.number(stored.number, findings);
            if let Some(published) = &mut published {
                published.compare(stored, findings).await?;
            }
            if let Some(events) = &mut events {
                events.compare(&outcome, findings).await?;
            }
            if outcome.kind == OutcomeKind::REVERSED {
                let undone = outcome.number_reversed.unwrap_or(-1);
                let undone = earlier.outcome(view, row.shard, undone, stored.number).await?;
                pass.undo(&outcome, undone.as_ref(), findings);
            }
            pass.add(&outcome, findings);
        }
        if page.len() < PAGE {
            break;
        }
    }
    if let Some(published) = published {
        published.end(findings).await?;
    }
    if let Some(events) = events {
        events.end(findings).await?;
    }
    let mut after = None;
    loop {
        let page = view.accounts(row.shard, after.take(), PAGE).await.map_err(Error::Store)?;
        page.iter().for_each(|account| pass.account(account, findings));
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
            _ => break,
        }
    }
    pass.end(row, &runs, findings);
    Ok(())
}

async fn rejects<L: Log>(log: &L, findings: &mut Findings<'_>) -> Result<(), Error> {
    let codec = Codec::built_in();
    for partition in 0..log.partitions(Topic::Rejects) {
        let take = |message: topic::Received| -> Result<(), Error> {
            let Some(value) = &message.value else { return Ok(()) };
            if codec.event_type(value)? == EventType::RecordRejected {
                let rejected: RecordRejected = codec.decode(value)?;
                let is_replayed = message.headers.iter().any(|header| header.name == "replayed");
                findings.reject(rejected.file_id, rejected.index, is_replayed);
            }
            Ok(())
        };
        topic::read_all(log, Topic::Rejects, partition, 0, take).await?;
    }
    Ok(())
}
