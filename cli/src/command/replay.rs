//! `batchless replay FILE`: publishes records again that were published before, under the same ids.
//! What was applied is recognised; what is missing is applied. Where a shard lacks events, all of
//! the file is published again, whatever range is asked for. Plan, then execute.

use std::collections::HashMap;

use anyhow::bail;
use clap::Args;
use ingest::reconcile::lacks_events;
use processors::store::{Store as _, View as _};
use schemas::command::Action;
use schemas::file::{File, FileState};

use super::books::{Books, BooksFlags, block_on_work};
use super::plan::{self, Draft, Plan, PlanFlags, Span, Touched};
use super::records::each_event;
use super::rejects::each_unread;
use super::{Ending, Failure};

/// What `replay` is told.
#[derive(Args, Debug)]
pub(crate) struct ReplayFlags {
    /// The file: its name, or the first 8 digits of its id or more.
    file: String,
    /// Only these records, by their indices, both included.
    #[arg(long, value_name = "A..B", group = "selector")]
    records: Option<Span>,
    /// From the record that holds this byte of the content on, or the first one behind it.
    #[arg(long, value_name = "N", group = "selector")]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    from_byte: Option<i64>,
    /// The file's records at these offsets of a partition of `records`, both included.
    #[arg(long, value_name = "PARTITION:FROM..TO", group = "selector")]
    offsets: Option<Offsets>,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    books: BooksFlags,
}

/// Offsets of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Offsets {
    partition: u32,
    span: Span,
}

impl std::str::FromStr for Offsets {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a partition and offsets such as 3:1200..1250".to_owned();
        let (partition, span) = text.split_once(':').ok_or_else(expected)?;
        let partition = partition.parse().map_err(|_| expected())?;
        Ok(Self { partition, span: span.parse().map_err(|_| expected())? })
    }
}

pub(crate) fn run(flags: &ReplayFlags) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    block_on_work(async {
        let file = books.file(&flags.file).await?;
        let make = async |books: &Books, files: &[File]| match files {
            [file] => make(books, file, flags).await,
            _ => bail!("one file is replayed at a time"),
        };
        plan::run(books, Action::REPLAY, vec![file], (&flags.plan, flags.books.output), make).await
    })
}

async fn make(books: &Books, file: &File, flags: &ReplayFlags) -> anyhow::Result<Plan> {
    can_be_replayed(file)?;
    // A shard that lacks events takes none behind them: the file's owner publishes all of it then.
    let span = match lacks_events(file) {
        true => Span::all(file),
        false => span(books, file, flags).await?,
    };
    let published = file.checkpoint.next_index;
    if published <= span.first {
        bail!("{} is published up to record {published} only; give a range below it", file.object);
    }
    let span = Span { last: span.last.min(published - 1), ..span };
    let mut draft = Draft::new(file, span);
    let runs = books.store().await?.view().await?.runs_of(file.file_id).await?;
    let next: HashMap<u32, i64> =
        runs.into_iter().map(|(shard, run)| (shard, run.next_sequence)).collect();
    let mut seen = std::collections::HashSet::new();
    each_event(books, file, |partition, _, record| {
        let is_wanted = (span.first..=span.last).contains(&record.index);
        // What was published more than once is one record.
        if !is_wanted || !seen.insert(record.index) {
            return Ok(());
        }
        if next.get(&partition).is_some_and(|next| record.sequence < *next) {
            draft.count_done();
        }
        draft.add(&Touched {
            index: record.index,
            mark: i64::from(partition),
            account: record.account,
            direction: &record.direction,
            amount_minor: record.amount_minor,
            currency: record.currency,
            exponent: record.exponent,
        })
    })
    .await?;
    Ok(Plan::new(Action::REPLAY, vec![draft]))
}

fn can_be_replayed(file: &File) -> anyhow::Result<()> {
    let (name, state) = (&file.object, &file.state);
    if let Some(work) = &file.work {
        bail!("{name}: a {} by {} is under way; wait for its answer", work.action, work.by);
    }
    if let Some(of) = &file.resubmits {
        bail!(
            "{name} is record {} of file {}, resubmitted; replay that file",
            of.index,
            of.file_id
        );
    }
    match state {
        _ if [FileState::CANCELLED, FileState::REVERSING, FileState::REVERSED].contains(state) => {
            bail!(
                "{name} is {state}: what is undone stays undone; `batchless accept` takes the same \
                 content again"
            )
        }
        _ if *state == FileState::PUBLISHING => {
            bail!("{name} is being published; `batchless hold` stops it")
        }
        _ if file.checkpoint.next_index == 0 => {
            bail!("{name} is {state}: nothing of it is published yet")
        }
        _ => Ok(()),
    }
}

/// The records that the flags select; all where they select none.
async fn span(books: &Books, file: &File, flags: &ReplayFlags) -> anyhow::Result<Span> {
    let all = Span::all(file);
    let name = &file.object;
    if let Some(span) = flags.records {
        return span.of(file);
    }
    if let Some(byte) = flags.from_byte {
        return match first_from(books, file, byte).await? {
            Some(first) => Ok(Span { first, ..all }),
            None => bail!("{name}: no record that is published ends behind byte {byte}"),
        };
    }
    let Some(Offsets { partition, span }) = flags.offsets else { return Ok(all) };
    let mut found: Option<Span> = None;
    each_event(books, file, |at, offset, record| {
        if at == partition && (span.first..=span.last).contains(&offset) {
            let known = found.unwrap_or(Span { first: record.index, last: record.index });
            let (first, last) = (known.first.min(record.index), known.last.max(record.index));
            found = Some(Span { first, last });
        }
        Ok(())
    })
    .await?;
    match found {
        Some(found) => Ok(found),
        None => bail!(
            "{name} has no event at offsets {} to {} of partition {partition} of records",
            span.first,
            span.last
        ),
    }
}

/// The first record that ends behind a byte of the content, readable or not.
async fn first_from(books: &Books, file: &File, byte: i64) -> anyhow::Result<Option<i64>> {
    let mut first: Option<i64> = None;
    let mut take = |index: i64, end: i64| {
        if byte < end {
            first = Some(first.map_or(index, |first| first.min(index)));
        }
    };
    each_event(books, file, |_, _, record| {
        take(record.index, record.byte_offset.saturating_add(record.byte_length));
        Ok(())
    })
    .await?;
    each_unread(books, |rejected| {
        if rejected.file_id == file.file_id {
            take(rejected.index, rejected.byte_offset.saturating_add(rejected.byte_length));
        }
        Ok(())
    })
    .await?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_nothing_else() {
        for (text, expected) in [
            ("0..0", Some((0, 0))),
            ("10..20", Some((10, 20))),
            ("20..10", None),
            ("-1..3", None),
            ("3", None),
            ("a..b", None),
            ("1..2..3", None),
        ] {
            let found = text.parse::<Span>().ok().map(|span| (span.first, span.last));
            assert_eq!(found, expected, "{text}");
        }
        let offsets: Offsets = "3:1200..1250".parse().unwrap();
        assert_eq!((offsets.partition, offsets.span.first, offsets.span.last), (3, 1200, 1250));
        for wrong in ["3", "3:5", ":1..2", "x:1..2", "3:2..1"] {
            assert!(wrong.parse::<Offsets>().is_err(), "{wrong}");
        }
    }
}
