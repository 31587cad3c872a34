//! `batchless records FILE [N]`: the records of a file, or one of them end to end: its bytes and
//! the fields in them, the event, its place on the topic, its outcome and postings, what undid it,
//! and what it was resubmitted as.

mod bytes;

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use processors::reversal::Reversal;
use processors::store::{Range, Store as _, View as _};
use schemas::codec::{Codec, EventType};
use schemas::file::{Answer, File};
use schemas::outcome::{Leg, Outcome, OutcomeKind};
use schemas::{ClearingRecord, FileId, Topic};
use serde::Serialize;
use topic::Log as _;

use self::bytes::{Again, BytesView};
use super::books::{Books, BooksFlags, block_on};
use super::rejects::{RejectRow, each_unread};
use super::{Ending, Failure};
use crate::event::EventView;
use crate::output::{Output, amount};

/// Outcomes read at once.
const PAGE: usize = 4_096;

/// What `records` is told.
#[derive(Args, Debug)]
pub(crate) struct RecordsFlags {
    /// The file: its name, or the first 8 digits of its id or more.
    file: String,
    /// Only this record, by its index from 0, end to end.
    index: Option<i64>,
    #[command(flatten)]
    books: BooksFlags,
}

/// A record end to end, as far as it went. The keys are a contract.
#[derive(Serialize)]
struct Way<'a> {
    /// Where its bytes are, and whether they say what was published.
    bytes: BytesView<'a>,
    /// What they say, read again today; none where they are gone or can't be read.
    fields: Option<EventView<'a>>,
    /// Where its event is: partition and offset on `records`.
    partition: Option<u32>,
    offset: Option<i64>,
    /// At which offsets it was published again.
    again: &'a [i64],
    event: Option<EventView<'a>>,
    reject: Option<&'a RejectRow>,
    outcomes: &'a [Outcome],
    /// The commands that it was undone by: their answers, where they have ended.
    reversals: Vec<&'a Answer>,
    resubmissions: Vec<Resubmission>,
}

/// A try of a rejected record, as a file of its own.
#[derive(Serialize)]
struct Resubmission {
    file_id: FileId,
    attempt: i32,
    state: String,
    applied: i64,
    rejected: i64,
}

/// What was found of one record.
#[derive(Default)]
struct Trace {
    published: Option<(u32, i64, ClearingRecord)>,
    again: Vec<i64>,
    reject: Option<RejectRow>,
    /// Where the bytes of a reject are: offset and length.
    place: Option<(i64, i64)>,
    outcomes: Vec<Outcome>,
}

pub(crate) fn run(flags: &RecordsFlags) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    block_on(async {
        let file = books.file(&flags.file).await?;
        match flags.index {
            None => list(&books, &file, flags.books.output).await,
            Some(index) => one(&books, &file, index, flags.books.output).await,
        }
    })?;
    Ok(Ending::Well)
}

/// Calls `take` with every event of a file, shard by shard: partition, offset, event.
///
/// # Errors
///
/// Where the log can't be read, or `take` fails.
pub(crate) async fn each_event(
    books: &Books,
    file: &File,
    mut take: impl FnMut(u32, i64, ClearingRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let codec = Codec::built_in();
    // The CloudEvents id begins with the file's: no other event is decoded.
    let prefix = format!("{}/", file.file_id);
    for partition in 0..books.log().await?.partitions(Topic::Records) {
        let shard = usize::try_from(partition).unwrap_or(usize::MAX);
        if file.checkpoint.sequences.get(shard).is_some_and(|events| *events == 0) {
            continue;
        }
        books
            .read(Topic::Records, partition, |message| {
                let Some(value) = &message.value else { return Ok(()) };
                if !message.id.starts_with(prefix.as_bytes())
                    || codec.event_type(value)? != EventType::ClearingRecord
                {
                    return Ok(());
                }
                take(partition, message.offset, codec.decode(value)?)
            })
            .await?;
    }
    Ok(())
}

/// The events of a file in the order of its records; a line each.
async fn list(books: &Books, file: &File, output: Output) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if output == Output::Json {
        each_event(books, file, |_, _, record| {
            serde_json::to_writer(&mut out, &EventView::published(&record))?;
            Ok(out.write_all(b"\n")?)
        })
        .await?;
        return Ok(out.flush()?);
    }
    let mut lines: BTreeMap<i64, String> = BTreeMap::new();
    each_event(books, file, |partition, offset, record| {
        let line = format!(
            "{:>9}  {:<9} {:<13} {:<7} {:<43} {:>18} {:<3}  {partition}/{offset}",
            record.index,
            record.code,
            record.kind,
            record.direction,
            record.account.map_or_else(|| "-".to_owned(), |account| account.to_string()),
            amount(i128::from(record.amount_minor), record.exponent),
            record.currency.map_or_else(|| "-".to_owned(), |currency| currency.to_string()),
        );
        lines.insert(record.index, line);
        Ok(())
    })
    .await?;
    for line in lines.values() {
        writeln!(out, "{line}")?;
    }
    Ok(out.flush()?)
}

async fn one(books: &Books, file: &File, index: i64, output: Output) -> anyhow::Result<()> {
    if !(0..file.verdict.records).contains(&index) {
        let last = file.verdict.records - 1;
        bail!("{} has records 0 to {last}, and none of index {index}", file.object);
    }
    let trace = trace(books, file, index).await?;
    let published = trace.published.as_ref();
    let sequence = published.map(|(.., record)| record.sequence);
    // The index of a resubmitted record is that of the file that it is from.
    let at = file.resubmits.as_ref().map_or(index, |of| of.index);
    let read = bytes::read_again(books, file, at, sequence).await?;
    let event = published.map(|(.., record)| EventView::published(record));
    let way = Way {
        bytes: BytesView::new(file, event.as_ref(), trace.place, &read)?,
        fields: match &read {
            Again::Read(record, standing) => Some(EventView::new(record, standing.clone())),
            Again::Unreadable(_) | Again::Gone(_) => None,
        },
        partition: published.map(|(partition, ..)| *partition),
        offset: published.map(|(_, offset, _)| *offset),
        again: &trace.again,
        event,
        reject: trace.reject.as_ref(),
        outcomes: &trace.outcomes,
        reversals: reversals(file, &trace.outcomes),
        resubmissions: resubmissions(books, file, index).await?,
    };
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    if output == Output::Json {
        serde_json::to_writer(&mut out, &way)?;
        writeln!(out)?;
        return Ok(out.flush()?);
    }
    write_way(&mut out, file, index, &way)?;
    Ok(out.flush()?)
}

async fn trace(books: &Books, file: &File, index: i64) -> anyhow::Result<Trace> {
    let mut trace = Trace::default();
    each_event(books, file, |partition, offset, record| {
        if record.index != index {
            return Ok(());
        }
        // The first one; what was published again lies behind it.
        match trace.published {
            None => trace.published = Some((partition, offset, record)),
            Some(_) => trace.again.push(offset),
        }
        Ok(())
    })
    .await?;
    each_unread(books, |rejected| {
        if rejected.file_id == file.file_id && rejected.index == index {
            trace.place = Some((rejected.byte_offset, rejected.byte_length));
            trace.reject = Some(rejected.into());
        }
        Ok(())
    })
    .await?;
    trace.outcomes = outcomes(books, file, index).await?;
    Ok(trace)
}

/// What became of a record, and what undid that.
async fn outcomes(books: &Books, file: &File, index: i64) -> anyhow::Result<Vec<Outcome>> {
    let store = books.store().await?;
    let codec = Codec::built_in();
    let mut view = store.view().await?;
    let mut found = Vec::new();
    let range = Range { first_index: index, last_index: index, below: i64::MAX, max: 1 };
    for (shard, run) in view.runs_of(file.file_id).await? {
        let taken = store.taken(shard, file.file_id, range).await?;
        let Some(row) = taken.first() else { continue };
        found.push(codec.decode::<Outcome>(&row.body)?);
        let covers = |it: &&Reversal| it.covers(index, row.number);
        let Some(reversal) = run.reversals.iter().find(covers) else { continue };
        // What undoes it lies between the taking up and the end of that reversal.
        let (mut from, mut is_over) = (reversal.begun_number, false);
        while !is_over {
            let page = view.outcomes(shard, from, PAGE).await?;
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            for undo in page.iter().filter(|undo| undo.file == Some(file.file_id)) {
                let undo: Outcome = codec.decode(&undo.body)?;
                let of_it = undo.command_id == Some(reversal.command_id.to_string());
                is_over |= of_it && undo.kind == OutcomeKind::REVERSAL_ENDED;
                if undo.number_reversed == Some(row.number) {
                    found.push(undo);
                    is_over = true;
                    break;
                }
            }
        }
    }
    Ok(found)
}

/// The answers of the commands that undid a record.
fn reversals<'a>(file: &'a File, outcomes: &[Outcome]) -> Vec<&'a Answer> {
    let undone = outcomes.iter().filter(|outcome| outcome.number_reversed.is_some());
    let ids: Vec<&str> = undone.filter_map(|outcome| outcome.command_id.as_deref()).collect();
    let is_one = |answer: &&Answer| ids.contains(&answer.command_id.to_string().as_str());
    file.answers.iter().filter(is_one).collect()
}

/// What a record was resubmitted as, in the order of the attempts.
async fn resubmissions(
    books: &Books,
    file: &File,
    index: i64,
) -> anyhow::Result<Vec<Resubmission>> {
    let mut found = Vec::new();
    for row in books.roll().await?.files.values() {
        let of = row.resubmits.as_ref();
        let Some(of) = of.filter(|of| of.file_id == file.file_id && of.index == index) else {
            continue;
        };
        found.push(Resubmission {
            file_id: row.file_id,
            attempt: of.attempt,
            state: row.state.to_string(),
            applied: row.segments.iter().map(|segment| segment.applied).sum(),
            rejected: row.rejected(),
        });
    }
    found.sort_by_key(|it| it.attempt);
    Ok(found)
}

fn write_way(
    out: &mut impl std::io::Write,
    file: &File,
    index: i64,
    way: &Way<'_>,
) -> anyhow::Result<()> {
    writeln!(out, "record   {}/{index}", file.file_id)?;
    writeln!(out, "file     {} of feed {}, {}", file.object, file.feed, file.state)?;
    if let Some(of) = &file.resubmits {
        let (file_id, index, attempt) = (of.file_id, of.index, of.attempt);
        writeln!(out, "again    record {index} of file {file_id}, attempt {attempt}")?;
    }
    writeln!(out, "bytes    {}", way.bytes.text())?;
    // One of the two: where both are there, the bytes say what was published, or where they don't.
    let (what, fields) = match &way.event {
        Some(event) => ("event", Some(event)),
        None => ("field", way.fields.as_ref()),
    };
    if let Some(fields) = fields {
        let object = serde_json::to_value(fields)?;
        for (name, value) in object.as_object().into_iter().flatten() {
            if !value.is_null() && name != "file_id" && name != "index" {
                writeln!(out, "{what}    {name:<15} {}", plain(value))?;
            }
        }
    }
    if let (Some(partition), Some(offset)) = (way.partition, way.offset) {
        writeln!(out, "topic    records, partition {partition}, offset {offset}")?;
        for offset in way.again {
            writeln!(out, "again    records, partition {partition}, offset {offset}")?;
        }
    }
    if let Some(reject) = way.reject {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (expected, found) = (text(&reject.expected), text(&reject.found));
        let (byte, field) = (reject.byte_offset.unwrap_or_default(), text(&reject.field));
        writeln!(out, "reject   {}: byte {byte}, {field}", reject.reason)?;
        writeln!(out, "         expected {expected}, found {found}")?;
    }
    for outcome in way.outcomes {
        write_outcome(out, outcome)?;
    }
    for Answer { action, by, why, command_id, .. } in &way.reversals {
        writeln!(out, "undone   by {action} {command_id} of {by}: {why}")?;
    }
    for it in &way.resubmissions {
        let Resubmission { file_id, attempt, state, applied, rejected } = it;
        writeln!(
            out,
            "again    attempt {attempt}, file {file_id}: {state}, {applied} applied, {rejected} \
             rejected"
        )?;
    }
    if way.event.is_none() && way.reject.is_none() {
        writeln!(out, "not published yet: the file is {}", file.state)?;
    }
    Ok(())
}

fn write_outcome(out: &mut impl std::io::Write, outcome: &Outcome) -> anyhow::Result<()> {
    let reason = outcome.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
    let (shard, number) = (outcome.shard, outcome.number);
    let of = outcome.number_reversed.map_or_else(String::new, |of| format!(", undoes {of}"));
    writeln!(out, "outcome  {}{reason}, shard {shard}, number {number}{of}", outcome.kind)?;
    for leg in &outcome.legs {
        writeln!(out, "posting  {}", leg_text(leg))?;
    }
    Ok(())
}

fn leg_text(leg: &Leg) -> String {
    let show = |minor: i128| amount(minor, leg.exponent);
    let balance = i128::from(leg.credits_minor) - i128::from(leg.debits_minor);
    format!(
        "{:<6} {} {} {}, balance then {}",
        leg.direction,
        leg.account,
        leg.currency,
        show(i128::from(leg.amount_minor)),
        show(balance)
    )
}

fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
