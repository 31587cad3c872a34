//! `batchless rejects [show] [FILE]`: every record that could not be read or applied, and why;
//! `rejects resubmit` reads them again.

mod resubmit;

use std::io::Write as _;

use clap::{Args, Subcommand};
use processors::store::{Store as _, View as _};
use schemas::arrival::{Arrival, Reason};
use schemas::codec::{Codec, EventType};
use schemas::file::File;
use schemas::outcome::{Outcome, OutcomeKind};
use schemas::{FileId, RecordRejected, Topic};
use serde::Serialize;
use topic::Log as _;

use super::books::{Books, BooksFlags, Named, block_on, id_start, why_aside};
use super::plan::PlanFlags;
use super::{Ending, Failure};
use crate::output::{self, Column, Output, Row};

/// Outcomes read at once.
const PAGE: usize = 4_096;

/// What `rejects` is told.
#[derive(Args, Debug)]
pub(crate) struct RejectsFlags {
    #[command(subcommand)]
    what: Option<RejectsCommand>,
    #[command(flatten)]
    books: BooksFlags,
}

/// Which of them.
#[derive(Debug, Subcommand)]
enum RejectsCommand {
    /// Those of one file.
    Show {
        /// Its name, or the first 8 digits of its id or more.
        file: String,
    },
    /// Reads rejected records again under today's configuration, each as a file of one record;
    /// prints what it would do, and a token that does it.
    Resubmit {
        /// The file: its name, or the first 8 digits of its id or more.
        file: String,
        /// Only these records, by their indices from 0 [default: all that were rejected]
        #[arg(value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
        records: Vec<i64>,
        #[command(flatten)]
        plan: PlanFlags,
    },
}

/// A reject as it prints. The keys are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct RejectRow {
    /// None where it is of an object that became no file.
    pub(crate) file_id: Option<FileId>,
    pub(crate) index: i64,
    /// None where the record was read and could not be applied.
    pub(crate) byte_offset: Option<i64>,
    pub(crate) line: Option<i64>,
    pub(crate) reason: String,
    pub(crate) field: Option<String>,
    pub(crate) expected: Option<String>,
    pub(crate) found: Option<String>,
    /// Why a record could not be applied, in a sentence; none where it could not be read.
    pub(crate) detail: Option<String>,
}

impl Row for RejectRow {
    const COLUMNS: &'static [Column] = &[
        Column::text("file"),
        Column::number("record"),
        Column::number("byte"),
        Column::text("reason"),
        Column::text("field"),
        Column::text("expected"),
        Column::text("found"),
    ];

    fn cells(&self) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.file_id.map_or_else(|| "-".to_owned(), |id| id_start(&id)),
            self.index.to_string(),
            self.byte_offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string()),
            self.reason.clone(),
            text(&self.field),
            text(&self.expected),
            // For people the sentence says more than the code.
            text(if self.detail.is_some() { &self.detail } else { &self.found }),
        ]
    }
}

impl From<RecordRejected> for RejectRow {
    fn from(rejected: RecordRejected) -> Self {
        Self {
            file_id: Some(rejected.file_id),
            index: rejected.index,
            byte_offset: Some(rejected.byte_offset),
            line: rejected.line,
            reason: rejected.reason,
            field: Some(rejected.field),
            expected: Some(rejected.expected),
            found: Some(rejected.found),
            detail: None,
        }
    }
}

impl RejectRow {
    /// Of an object of which nothing is published.
    fn unpublished(arrival: &Arrival, reject: &Reason) -> Self {
        Self {
            file_id: arrival.file_id,
            index: reject.index.unwrap_or_default(),
            byte_offset: reject.byte_offset,
            line: reject.line,
            reason: reject.code.clone(),
            field: reject.field.clone(),
            expected: reject.expected.clone(),
            found: reject.found.clone(),
            detail: None,
        }
    }
}

pub(crate) fn run(flags: &RejectsFlags) -> Result<Ending, Failure> {
    let wanted = match &flags.what {
        None => None,
        Some(RejectsCommand::Show { file }) => Some(file.as_str()),
        Some(RejectsCommand::Resubmit { file, records, plan }) => {
            return resubmit::run(file, records, plan, &flags.books);
        }
    };
    let books = Books::open(&flags.books)?;
    block_on(print(&books, wanted, flags.books.output))?;
    Ok(Ending::Well)
}

async fn print(books: &Books, wanted: Option<&str>, output: Output) -> anyhow::Result<()> {
    if output == Output::Table {
        return output::print_rows(output, &rows(books, wanted).await?);
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    each(books, wanted, |row| {
        serde_json::to_writer(&mut out, &row)?;
        Ok(out.write_all(b"\n")?)
    })
    .await?;
    Ok(out.flush()?)
}

/// The rejects of the files that `wanted` names, all at once.
///
/// # Errors
///
/// Where they can't be read.
pub(crate) async fn rows(books: &Books, wanted: Option<&str>) -> anyhow::Result<Vec<RejectRow>> {
    let mut rows = Vec::new();
    each(books, wanted, |row| {
        rows.push(row);
        Ok(())
    })
    .await?;
    Ok(rows)
}

/// Calls `take` with each record of any file that could not be read.
pub(crate) async fn each_unread(
    books: &Books,
    mut take: impl FnMut(RecordRejected) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let codec = Codec::built_in();
    for partition in 0..books.log().await?.partitions(Topic::Rejects) {
        books
            .read(Topic::Rejects, partition, |message| {
                let Some(value) = &message.value else { return Ok(()) };
                if codec.event_type(value)? != EventType::RecordRejected {
                    return Ok(());
                }
                take(codec.decode(value)?)
            })
            .await?;
    }
    Ok(())
}

/// Calls `take` with each reject of the files that `wanted` names.
async fn each(
    books: &Books,
    wanted: Option<&str>,
    mut take: impl FnMut(RejectRow) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Named { files, aside } = books.named(wanted).await?;
    each_unread(books, |rejected| {
        if files.contains_key(&rejected.file_id) { take(rejected.into()) } else { Ok(()) }
    })
    .await?;
    for file in files.values() {
        not_applied(books, file, &mut take).await?;
    }
    for arrival in &aside {
        writeln!(std::io::stderr(), "{}", why_aside(arrival))?;
        for reject in &arrival.rejects {
            take(RejectRow::unpublished(arrival, reject))?;
        }
    }
    Ok(())
}

/// The records of a file that were read and could not be applied.
async fn not_applied(
    books: &Books,
    file: &File,
    take: &mut impl FnMut(RejectRow) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    each_outcome(
        books,
        file.file_id,
        |run| run.rejected > 0,
        |outcome| {
            // What could not be undone is no record that could not be applied.
            if outcome.kind != OutcomeKind::REJECTED || outcome.sequence.is_none() {
                return Ok(());
            }
            take(RejectRow {
                file_id: Some(file.file_id),
                index: outcome.index.unwrap_or_default(),
                byte_offset: None,
                line: None,
                reason: outcome.reason.clone().unwrap_or_default(),
                field: None,
                expected: None,
                found: outcome.reason,
                detail: outcome.detail,
            })
        },
    )
    .await
}

/// Calls `take` with the outcomes of a file that took a sequence, on those shards whose run is
/// `wanted`.
///
/// # Errors
///
/// Where the store can't be read, or `take` fails.
pub(crate) async fn each_outcome(
    books: &Books,
    file_id: FileId,
    wanted: impl Fn(&processors::run::Run) -> bool,
    mut take: impl FnMut(Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let codec = Codec::built_in();
    let mut view = books.store().await?.view().await?;
    for (shard, run) in view.runs_of(file_id).await? {
        let (Some(mut from), Some(last)) = (run.first_number, run.last_number) else { continue };
        if !wanted(&run) {
            continue;
        }
        while from <= last {
            let page = view.outcomes(shard, from, PAGE).await?;
            let Some(newest) = page.last() else { break };
            from = newest.number + 1;
            for row in page.iter().filter(|row| row.number <= last && row.file == Some(file_id)) {
                take(codec.decode(&row.body)?)?;
            }
        }
    }
    Ok(())
}
