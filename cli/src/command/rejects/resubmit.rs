//! `batchless rejects resubmit FILE [N...]`: reads rejected records again under today's
//! configuration, each as a file of one record. Plan, then execute.

use std::collections::BTreeMap;

use anyhow::bail;
use processors::store::Store as _;
use processors::store::{Range, View as _};
use schemas::Direction;
use schemas::codec::Codec;
use schemas::command::Action;
use schemas::file::{File, FileState};
use schemas::outcome::{Outcome, OutcomeKind};

use super::each_unread;
use crate::command::books::{Books, BooksFlags, block_on_work};
use crate::command::plan::{self, Draft, Plan, PlanFlags, Span, Touched};
use crate::command::records::each_event;
use crate::command::{Ending, Failure};

/// How many records one command resubmits: they are published together.
const RESUBMITTED_MAX: usize = 5_000;

/// Outcomes read at once.
const PAGE: usize = 4_096;

pub(super) fn run(
    file: &str,
    indices: &[i64],
    flags: &PlanFlags,
    books: &BooksFlags,
) -> Result<Ending, Failure> {
    let output = books.output;
    let books = Books::open(books)?;
    block_on_work(async {
        let file = books.file(file).await?;
        let make = async |books: &Books, files: &[File]| match files {
            [file] => make(books, file, indices).await,
            _ => bail!("the rejects of one file are resubmitted at a time"),
        };
        plan::run(books, Action::RESUBMIT, vec![file], (flags, output), make).await
    })
}

/// Records that were rejected, by their indices.
type Rejected = BTreeMap<i64, Reject>;

/// A record that was rejected.
enum Reject {
    /// It could not be read; where it begins in the content.
    Unread(i64),
    /// It could not be applied.
    Unapplied(Box<Outcome>),
}

async fn make(books: &Books, file: &File, indices: &[i64]) -> anyhow::Result<Plan> {
    can_be_resubmitted(file)?;
    let rejected = rejected(books, file).await?;
    let attempts = attempts(books, file).await?;
    if let Some(index) = indices.iter().find(|index| !rejected.contains_key(*index)) {
        bail!("record {index} of {} was not rejected", file.object);
    }
    let is_wanted = |index: &i64| indices.is_empty() || indices.contains(index);
    let mut wanted = Vec::new();
    let mut settled = 0_i64;
    for (index, reject) in rejected.iter().filter(|(index, _)| is_wanted(index)) {
        match attempts.get(index) {
            Some(latest) if !latest.has_ended_without_effect() => {
                settled += 1;
                if !indices.is_empty() {
                    let (file_id, state) = (latest.file_id, &latest.state);
                    bail!("record {index} was resubmitted as file {file_id}, which is {state}");
                }
            }
            latest => wanted.push((*index, reject, latest)),
        }
    }
    if wanted.is_empty() {
        match settled {
            0 => bail!("nothing to resubmit: no record of {} was rejected", file.object),
            _ => bail!("nothing to resubmit: all {settled} are resubmitted already"),
        }
    }
    let left = wanted.len().saturating_sub(RESUBMITTED_MAX);
    wanted.truncate(RESUBMITTED_MAX);
    if left > 0 {
        let text = format!("the first {RESUBMITTED_MAX} are planned; {left} are left for later\n");
        std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes())?;
    }
    let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
        bail!("nothing to resubmit");
    };
    let mut draft = Draft::new(file, Span { first: first.0, last: last.0 });
    for _ in 0..settled {
        draft.count_done();
    }
    // An outcome without legs doesn't name the account: the event does.
    let mut read = BTreeMap::new();
    each_event(books, file, |_, _, record| {
        if rejected.contains_key(&record.index) {
            read.insert(record.index, (record.account, record.byte_offset));
        }
        Ok(())
    })
    .await?;
    for (index, reject, latest) in wanted {
        let (outcome, account, byte_offset) = match (reject, read.get(&index)) {
            (Reject::Unread(byte_offset), _) => (None, None, *byte_offset),
            (Reject::Unapplied(outcome), Some((account, byte_offset))) => {
                (Some(outcome), *account, *byte_offset)
            }
            (Reject::Unapplied(_), None) => {
                bail!("the event of record {index} is not kept any more, nor where it was read")
            }
        };
        let attempt = latest.and_then(|file| file.resubmits.as_ref()).map_or(0, |it| it.attempt);
        draft.name(index, byte_offset);
        draft.add(&Touched {
            index,
            mark: i64::from(attempt),
            account,
            direction: outcome.map_or(&Direction::NONE, |outcome| &outcome.direction),
            amount_minor: outcome.map_or(0, |outcome| outcome.amount_minor),
            currency: outcome.and_then(|outcome| outcome.currency),
            exponent: outcome.map_or(0, |outcome| outcome.exponent),
        })?;
    }
    Ok(Plan::new(Action::RESUBMIT, vec![draft]))
}

fn can_be_resubmitted(file: &File) -> anyhow::Result<()> {
    let (name, state) = (&file.object, &file.state);
    if let Some(work) = &file.work {
        bail!("{name}: a {} by {} is under way; wait for its answer", work.action, work.by);
    }
    if let Some(of) = &file.resubmits {
        bail!("{name} is record {} of file {}; resubmit that again", of.index, of.file_id);
    }
    if ![FileState::RECONCILED, FileState::UNBALANCED].contains(state) {
        bail!("{name} is {state}: its rejects are resubmitted once it is reconciled");
    }
    Ok(())
}

/// Every record of a file that could not be read, or not be applied.
async fn rejected(books: &Books, file: &File) -> anyhow::Result<Rejected> {
    let mut rejected = Rejected::new();
    each_unread(books, |it| {
        if it.file_id == file.file_id {
            rejected.insert(it.index, Reject::Unread(it.byte_offset));
        }
        Ok(())
    })
    .await?;
    let store = books.store().await?;
    let codec = Codec::built_in();
    for (shard, run) in store.view().await?.runs_of(file.file_id).await? {
        if run.rejected == 0 {
            continue;
        }
        let all = Span::all(file);
        let (first_index, last_index) = (all.first, all.last);
        let mut range = Range { first_index, last_index, below: i64::MAX, max: PAGE };
        loop {
            let page = store.taken(shard, file.file_id, range).await?;
            for row in &page {
                let outcome: Outcome = codec.decode(&row.body)?;
                if outcome.kind == OutcomeKind::REJECTED
                    && let Some(index) = outcome.index
                {
                    rejected.insert(index, Reject::Unapplied(Box::new(outcome)));
                }
            }
            match page.last() {
                Some(oldest) if page.len() == PAGE => range.below = oldest.number,
                _ => break,
            }
        }
    }
    Ok(rejected)
}

/// The latest attempt of each record that was resubmitted before.
async fn attempts(books: &Books, file: &File) -> anyhow::Result<BTreeMap<i64, File>> {
    let mut latest: BTreeMap<i64, File> = BTreeMap::new();
    for row in books.roll().await?.files.into_values() {
        let Some(of) = row.resubmits.as_ref().filter(|of| of.file_id == file.file_id) else {
            continue;
        };
        let attempt = |file: &File| file.resubmits.as_ref().map(|of| of.attempt);
        if latest.get(&of.index).is_none_or(|known| attempt(known) < Some(of.attempt)) {
            latest.insert(of.index, row);
        }
    }
    Ok(latest)
}
