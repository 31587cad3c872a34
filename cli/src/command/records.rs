//! `batchless records FILE [N]`: the records of a file, or one of them end to end: where its bytes
//! are, the event, its place on the topic, its outcome and postings.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use schemas::codec::{Codec, EventType};
use schemas::file::File;
use schemas::outcome::{Leg, Outcome};
use schemas::{ClearingRecord, Topic};
use serde::Serialize;
use topic::Log as _;

use super::books::{Books, BooksFlags, block_on};
use super::rejects::{RejectRow, each_outcome, each_unread};
use super::{Ending, Failure};
use crate::event::EventView;
use crate::output::{Output, amount};

/// What `records` is told.
#[derive(Args, Debug)]
pub(crate) struct RecordsFlags {
    /// The file: its name, or the beginning of its id.
    file: String,
    /// Only this record, by its index from 0, end to end.
    index: Option<i64>,
    #[command(flatten)]
    books: BooksFlags,
}

/// A record end to end, as far as it went.
#[derive(Serialize)]
struct Way<'a> {
    /// Where its event is: partition and offset on `records`.
    partition: Option<u32>,
    offset: Option<i64>,
    event: Option<EventView<'a>>,
    reject: Option<&'a RejectRow>,
    outcomes: &'a [Outcome],
}

/// What was found of one record.
#[derive(Default)]
struct Trace {
    published: Option<(u32, i64, ClearingRecord)>,
    reject: Option<RejectRow>,
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
async fn each_event(
    books: &Books,
    file: &File,
    mut take: impl FnMut(u32, i64, ClearingRecord) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let codec = Codec::built_in();
    // The CloudEvents id begins with the file's: no other event is decoded.
    let prefix = format!("{}/", file.file_id);
    for partition in 0..books.log()?.partitions(Topic::Records) {
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
    let way = Way {
        partition: published.map(|(partition, ..)| *partition),
        offset: published.map(|(_, offset, _)| *offset),
        event: published.map(|(.., record)| EventView::published(record)),
        reject: trace.reject.as_ref(),
        outcomes: &trace.outcomes,
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
        // The first one: what was published again lies behind it.
        if record.index == index && trace.published.is_none() {
            trace.published = Some((partition, offset, record));
        }
        Ok(())
    })
    .await?;
    each_unread(books, |rejected| {
        if rejected.file_id == file.file_id && rejected.index == index {
            trace.reject = Some(rejected.into());
        }
        Ok(())
    })
    .await?;
    each_outcome(
        books,
        file.file_id,
        |_| true,
        |outcome| {
            if outcome.index == Some(index) {
                trace.outcomes.push(outcome);
            }
            Ok(())
        },
    )
    .await?;
    Ok(trace)
}

fn write_way(
    out: &mut impl std::io::Write,
    file: &File,
    index: i64,
    way: &Way<'_>,
) -> anyhow::Result<()> {
    writeln!(out, "record   {}/{index}", file.file_id)?;
    writeln!(out, "file     {} of feed {}", file.object, file.feed)?;
    if let Some(event) = &way.event {
        let object = serde_json::to_value(event)?;
        for (name, value) in object.as_object().into_iter().flatten() {
            if !value.is_null() && name != "file_id" && name != "index" {
                writeln!(out, "event    {name:<15} {}", plain(value))?;
            }
        }
    }
    if let (Some(partition), Some(offset)) = (way.partition, way.offset) {
        writeln!(out, "topic    records, partition {partition}, offset {offset}")?;
    }
    if let Some(reject) = way.reject {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (expected, found) = (text(&reject.expected), text(&reject.found));
        let (byte, field) = (reject.byte_offset.unwrap_or_default(), text(&reject.field));
        writeln!(out, "reject   {}: byte {byte}, {field}", reject.reason)?;
        writeln!(out, "         expected {expected}, found {found}")?;
    }
    for outcome in way.outcomes {
        let reason = outcome.reason.as_deref().map_or_else(String::new, |why| format!(": {why}"));
        let (shard, number) = (outcome.shard, outcome.number);
        writeln!(out, "outcome  {}{reason}, shard {shard}, number {number}", outcome.kind)?;
        for leg in &outcome.legs {
            writeln!(out, "posting  {}", leg_text(leg))?;
        }
    }
    if way.event.is_none() && way.reject.is_none() {
        writeln!(out, "not published yet: the file is {}", file.state)?;
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
