//! `batchless files [show FILE]`: every object that was seen and every file, and how far it is.

use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use ingest::reconcile::open_shards;
use ingest::roll::Roll;
use processors::store::{Store as _, View as _};
use schemas::arrival::{Arrival, ArrivalState, Reason};
use schemas::file::{Answer, ControlTotal, File, FileState, Resubmits, Work};
use schemas::{CommandId, Currency, FileId, Sums};
use serde::Serialize;

use super::books::{Books, BooksFlags, block_on, id_start, is_named, not_called};
use super::parse::TOO_MANY_BAD_RECORDS;
use super::{Ending, Failure};
use crate::output::{self, Column, Row, amount};

/// What `files` is told.
#[derive(Args, Debug)]
pub(crate) struct FilesFlags {
    #[command(subcommand)]
    what: Option<FilesCommand>,
    #[command(flatten)]
    books: BooksFlags,
}

/// Which of them.
#[derive(Debug, Subcommand)]
enum FilesCommand {
    /// All that is known of one file.
    Show {
        /// Its name, or the first 8 digits of its id or more.
        file: String,
    },
}

/// A file or object as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct FileRow {
    pub(crate) file_id: Option<FileId>,
    pub(crate) feed: String,
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) size_bytes: i64,
    pub(crate) records: i64,
    pub(crate) published: i64,
    pub(crate) applied: i64,
    pub(crate) rejected: i64,
    pub(crate) reversed: i64,
    pub(crate) duplicates_recognised: i64,
    pub(crate) totals: Vec<Total>,
    pub(crate) control_totals: Vec<ControlTotal>,
    /// The command under way, where there is one.
    pub(crate) work: Option<WorkRow>,
    /// What became of commands.
    pub(crate) answers: Vec<Answer>,
    /// Of a rejected record that is tried again: which one it is.
    pub(crate) resubmits: Option<Resubmits>,
}

/// A command under way as it prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkRow {
    command_id: CommandId,
    action: String,
    first_index: i64,
    last_index: i64,
    by: String,
    why: String,
}

impl From<&Work> for WorkRow {
    fn from(work: &Work) -> Self {
        Self {
            command_id: work.command_id,
            action: work.action.to_string(),
            first_index: work.first_index,
            last_index: work.last_index,
            by: work.by.clone(),
            why: work.why.clone(),
        }
    }
}

/// A sum as it prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Total {
    pub(crate) currency: Currency,
    pub(crate) exponent: i32,
    pub(crate) debits_minor: i64,
    pub(crate) credits_minor: i64,
}

/// Sums as they print.
pub(crate) fn totals(sums: &Sums) -> Vec<Total> {
    let total = |sum: &schemas::money::Sum| Total {
        currency: sum.currency,
        exponent: sum.exponent,
        debits_minor: sum.debits_minor,
        credits_minor: sum.credits_minor,
    };
    sums.iter().map(total).collect()
}

impl From<&File> for FileRow {
    fn from(file: &File) -> Self {
        let sum =
            |of: fn(&schemas::file::Segment) -> i64| file.segments.iter().map(of).sum::<i64>();
        let (verdict, published) = (&file.verdict, &file.checkpoint);
        // Nothing of a held file is published: what can't be read is known from its verdict.
        let unread =
            if file.state == FileState::HELD { verdict.rejects } else { published.rejected };
        Self {
            file_id: Some(file.file_id),
            feed: file.feed.clone(),
            name: file.object.clone(),
            state: file.state.to_string(),
            reason: file.reason.as_ref().map(Reason::to_string),
            size_bytes: verdict.size_bytes,
            records: verdict.records,
            published: published.published,
            applied: sum(|segment| segment.applied),
            // Those that can't be read, and those that can't be applied.
            rejected: unread + sum(|segment| segment.rejected),
            reversed: sum(|segment| segment.reversed),
            duplicates_recognised: sum(|segment| segment.duplicates),
            totals: totals(&verdict.sums),
            control_totals: verdict.control_totals.clone(),
            work: file.work.as_ref().map(WorkRow::from),
            answers: file.answers.clone(),
            resubmits: file.resubmits.clone(),
        }
    }
}

impl From<&Arrival> for FileRow {
    fn from(arrival: &Arrival) -> Self {
        Self {
            file_id: arrival.file_id,
            feed: arrival.feed.clone(),
            name: arrival.object.clone(),
            state: arrival.state.to_string(),
            reason: arrival.reason.as_ref().map(Reason::to_string),
            size_bytes: arrival.size_bytes,
            records: arrival.records,
            published: 0,
            applied: 0,
            rejected: unread(arrival),
            reversed: 0,
            duplicates_recognised: 0,
            totals: Vec::new(),
            control_totals: Vec::new(),
            work: None,
            answers: Vec::new(),
            resubmits: None,
        }
    }
}

/// How many records of an object that became no file can't be read. Where they are too many its
/// reason has the number; else its row has the first ten. Those of a duplicate are counted with
/// the file that it repeats.
fn unread(arrival: &Arrival) -> i64 {
    if arrival.state == ArrivalState::DUPLICATE {
        return 0;
    }
    let named = i64::try_from(arrival.rejects.len()).unwrap_or(i64::MAX);
    let reason = arrival.reason.as_ref().filter(|reason| reason.code == TOO_MANY_BAD_RECORDS);
    let counted = reason.and_then(|reason| reason.found.as_ref()?.parse().ok());
    counted.unwrap_or(named)
}

impl Row for FileRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("file"),
        Column::text("feed"),
        Column::text("name"),
        Column::text("state"),
        Column::number("records"),
        Column::number("applied"),
        Column::number("rejected"),
        Column::text("totals"),
        Column::text("why"),
    ];

    fn cells(&self) -> Vec<String> {
        let id = self.file_id.map_or_else(|| "-".to_owned(), |id| id_start(&id));
        let of = self.resubmits.as_ref();
        let name = of.map_or_else(String::new, |of| format!(", record {}", of.index));
        let work = self.work.as_ref();
        let work = work.map_or_else(String::new, |work| format!(", {} under way", work.action));
        vec![
            id,
            self.feed.clone(),
            format!("{}{name}", self.name),
            format!("{}{work}", self.state),
            self.records.to_string(),
            self.applied.to_string(),
            self.rejected.to_string(),
            self.totals.iter().map(Total::to_string).collect::<Vec<_>>().join("; "),
            self.reason.clone().unwrap_or_default(),
        ]
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |minor: i64| amount(i128::from(minor), self.exponent);
        write!(f, "{} -{} +{}", self.currency, show(self.debits_minor), show(self.credits_minor))
    }
}

/// Every file, then every object that became none: in the order of feeds and names.
pub(crate) fn rows(roll: &Roll) -> Vec<FileRow> {
    // A file, then what was resubmitted of it and its later occurrences, then objects of its name.
    type Place = (u8, i32, Option<(i64, i32)>);
    let mut by_name: BTreeMap<(&str, &str, Place, Option<FileId>), FileRow> = BTreeMap::new();
    for file in roll.files.values() {
        let of = file.resubmits.as_ref().map(|of| (of.index, of.attempt));
        let place = (0, file.verdict.occurrence, of);
        let key = (file.feed.as_str(), file.object.as_str(), place, Some(file.file_id));
        by_name.insert(key, file.into());
    }
    for arrival in roll.arrivals.values() {
        let is_file = arrival.file_id.is_some_and(|id| roll.files.contains_key(&id));
        if !(arrival.state.is_sent() && is_file) {
            let place = (1, 0, None);
            let key = (arrival.feed.as_str(), arrival.object.as_str(), place, arrival.file_id);
            by_name.insert(key, arrival.into());
        }
    }
    by_name.into_values().collect()
}

/// Adds what shards have done of files and have not answered yet: that is in the store alone.
async fn add_unanswered(books: &Books, roll: &Roll, rows: &mut [FileRow]) -> anyhow::Result<()> {
    let is_open = |file: &&File| open_shards(file).next().is_some();
    if !roll.files.values().any(|file| is_open(&file)) {
        return Ok(());
    }
    let mut view = books.store().await?.view().await?;
    for row in rows {
        let file = row.file_id.and_then(|file_id| roll.files.get(&file_id));
        let Some(file) = file.filter(is_open) else { continue };
        let open: BTreeSet<i32> = open_shards(file).collect();
        for (shard, run) in view.runs_of(file.file_id).await? {
            if i32::try_from(shard).is_ok_and(|shard| open.contains(&shard)) {
                row.applied += run.applied;
                row.rejected += run.rejected;
                row.reversed += run.reversed;
                row.duplicates_recognised += run.duplicates;
            }
        }
    }
    Ok(())
}

pub(crate) fn run(flags: &FilesFlags) -> Result<Ending, Failure> {
    let books = &flags.books;
    let wanted = flags.what.as_ref().map(|FilesCommand::Show { file }| file.as_str());
    let open = Books::open(books)?;
    let (roll, mut rows) = block_on(async {
        let roll = open.roll().await?;
        let mut rows = rows(&roll);
        // What is published is known without the store: where that is lost, only this is missing.
        let _ = add_unanswered(&open, &roll, &mut rows).await;
        Ok((roll, rows))
    })?;
    let Some(wanted) = wanted else {
        output::print_rows(books.output, &rows)?;
        return Ok(Ending::Well);
    };
    rows.retain(|row| is_named(wanted, row.file_id.as_ref(), &row.name));
    if rows.is_empty() {
        return Err(not_called(wanted).into());
    }
    if books.output == output::Output::Json {
        output::print_rows(books.output, &rows)?;
        return Ok(Ending::Well);
    }
    for (at, row) in rows.iter().enumerate() {
        // Several occurrences, or records that were resubmitted: each begins with its id.
        let between = if at == 0 { "" } else { "\n" };
        super::print(&format!("{between}{}", show(row, &roll)))?;
    }
    Ok(Ending::Well)
}

/// One file, a line a fact.
fn show(row: &FileRow, roll: &Roll) -> String {
    let mut lines = vec![
        ("file", row.file_id.map_or_else(|| "-".to_owned(), |id| id.to_string())),
        ("feed", row.feed.clone()),
        ("name", row.name.clone()),
        ("state", row.state.clone()),
    ];
    lines.extend(row.reason.clone().map(|reason| ("why", reason)));
    lines.push(("size", format!("{} bytes", output::grouped(&row.size_bytes.to_string()))));
    lines.push((
        "records",
        format!(
            "{}: {} published, {} applied, {} rejected, {} reversed",
            row.records, row.published, row.applied, row.rejected, row.reversed
        ),
    ));
    lines.push(("again", format!("{} events recognised as duplicates", row.duplicates_recognised)));
    for total in &row.totals {
        lines.push(("total", total.to_string()));
    }
    for total in &row.control_totals {
        let proven = if total.proven { "" } else { ", unproven" };
        let (name, claimed, seen) = (&total.name, total.claimed, total.seen);
        lines.push(("states", format!("{name} {claimed}, counted {seen}{proven}")));
    }
    if let Some(Resubmits { file_id, index, attempt }) = &row.resubmits {
        lines.push(("resubmits", format!("record {index} of file {file_id}, attempt {attempt}")));
    }
    if let Some(WorkRow { command_id, action, first_index, last_index, by, why }) = &row.work {
        let range = match *last_index {
            i64::MAX => String::new(),
            last_index => format!(" of records {first_index} to {last_index}"),
        };
        lines.push(("under way", format!("{action}{range} by {by}, {command_id}: {why}")));
    }
    for Answer { command_id, action, by, why, outcome, detail, at } in &row.answers {
        lines.push(("answer", format!("{at} {action} {outcome}: {detail}")));
        lines.push(("", format!("by {by}, {command_id}: {why}")));
    }
    if let Some(file) = row.file_id.and_then(|id| roll.files.get(&id)) {
        let verdict = &file.verdict;
        let identifier = verdict.identifier.as_deref().unwrap_or("none");
        lines.push(("identifier", identifier.to_owned()));
        lines.push(("content", format!("SHA-256 {}", verdict.content_digest)));
        lines.push(("times taken", (verdict.occurrence + 1).to_string()));
        lines.push(("came again", format!("{} times", file.duplicates)));
        for warning in &verdict.warnings {
            lines.push(("warning", warning.to_string()));
        }
        let changed = (file.arrived_at.to_string(), file.updated_at.to_string());
        lines.push(("arrived", changed.0));
        lines.push(("changed", changed.1));
    }
    // The newest object of that name may be another one than this file's.
    let arrival = roll.arrivals.get(&(row.feed.clone(), row.name.clone()));
    let arrival = arrival.filter(|arrival| arrival.file_id == row.file_id);
    for reject in arrival.iter().flat_map(|arrival| &arrival.rejects) {
        lines.push(("rejected", reject.to_string()));
    }
    let mut text = String::new();
    for (name, value) in lines {
        text.push_str(&format!("{name:<12} {value}\n"));
    }
    text
}
