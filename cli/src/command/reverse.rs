//! `batchless reverse FILE...`: undoes what was applied of a record, a range, a file or a list of
//! files. Plan, then execute.

use std::io::Write as _;

use anyhow::bail;
use clap::Args;
use processors::reversal::Reversal;
use processors::run::Run;
use processors::store::{Range, Store as _, View as _};
use schemas::FileId;
use schemas::codec::Codec;
use schemas::command::Action;
use schemas::file::{File, FileState, Segment};
use schemas::outcome::{Outcome, OutcomeKind, Owner};

use super::books::{Books, BooksFlags, block_on_work};
use super::plan::{self, Draft, Plan, PlanFlags, Span, Touched};
use super::{Ending, Failure};

/// Outcomes read at once.
const PAGE: usize = 4_096;

/// What `reverse` is told.
#[derive(Args, Debug)]
pub(crate) struct ReverseFlags {
    /// The files: their names, or the first 8 digits of their ids or more; all of them, or
    /// none.
    #[arg(required = true)]
    files: Vec<String>,
    /// Only this record, by its index from 0.
    #[arg(long, value_name = "N", conflicts_with = "records")]
    #[arg(value_parser = clap::value_parser!(i64).range(0..))]
    record: Option<i64>,
    /// Only these records, by their indices, both included.
    #[arg(long, value_name = "A..B")]
    records: Option<Span>,
    #[command(flatten)]
    plan: PlanFlags,
    #[command(flatten)]
    books: BooksFlags,
}

pub(crate) fn run(flags: &ReverseFlags) -> Result<Ending, Failure> {
    let span = flags.records.or(flags.record.map(|index| Span { first: index, last: index }));
    if span.is_some() && flags.files.len() > 1 {
        return Err(Failure::Usage(anyhow::anyhow!(
            "--record and --records are of one file; give one, or reverse the files whole"
        )));
    }
    let books = Books::open(&flags.books)?;
    block_on_work(async {
        let files = books.files(&flags.files).await?;
        let make = async |books: &Books, files: &[File]| make(books, files, span).await;
        plan::run(books, Action::REVERSE, files, (&flags.plan, flags.books.output), make).await
    })
}

/// The plan for these files: all of them can be undone, or none is.
async fn make(books: &Books, files: &[File], span: Option<Span>) -> anyhow::Result<Plan> {
    let mut drafts = Vec::with_capacity(files.len());
    for file in files {
        can_be_undone(file)?;
        let span = span.map_or(Ok(Span::all(file)), |span| span.of(file))?;
        let mut draft = Draft::new(file, span);
        add_applied(books, &mut draft, span).await?;
        if draft.records() == 0 {
            let (name, done) = (&file.object, draft.done_before());
            match done {
                0 => bail!("nothing to undo: nothing of {name} is applied in that range"),
                _ => bail!("nothing to undo: all {done} records of {name} are undone already"),
            }
        }
        drafts.push(draft);
    }
    if span.is_none() {
        tell_of_resubmitted(books, files).await?;
    }
    Ok(Plan::new(Action::REVERSE, drafts))
}

/// Says which records of these files were resubmitted and are applied: they are files of their own,
/// and stay as they are unless they are named too.
async fn tell_of_resubmitted(books: &Books, files: &[File]) -> anyhow::Result<()> {
    let is_named = |id: &FileId| files.iter().any(|file| file.file_id == *id);
    for row in books.roll().await?.files.values() {
        let Some(of) = row.resubmits.as_ref().filter(|of| is_named(&of.file_id)) else { continue };
        let stands = |it: &Segment| it.applied > it.reversed;
        if !is_named(&row.file_id) && row.segments.iter().any(stands) {
            let (name, index, file_id) = (&row.object, of.index, row.file_id);
            writeln!(
                std::io::stderr(),
                "record {index} of {name} was resubmitted and is applied as file {file_id}; name \
                 it too to undo it"
            )?;
        }
    }
    Ok(())
}

fn can_be_undone(file: &File) -> anyhow::Result<()> {
    let (name, state) = (&file.object, &file.state);
    if let Some(work) = &file.work {
        bail!("{name}: a {} by {} is under way; wait for its answer", work.action, work.by);
    }
    if *state == FileState::REVERSED {
        bail!("nothing to undo: all of {name} is undone already");
    }
    if *state == FileState::CANCELLED {
        bail!("nothing to undo: {name} was cancelled, and nothing of it stands");
    }
    if ![FileState::RECONCILED, FileState::UNBALANCED].contains(state) {
        bail!(
            "{name} is {state}: not every shard has answered; until then only `batchless cancel` \
             undoes it"
        );
    }
    Ok(())
}

/// Adds the records of the range that are applied and not undone.
async fn add_applied(books: &Books, draft: &mut Draft, span: Span) -> anyhow::Result<()> {
    let store = books.store().await?;
    let codec = Codec::built_in();
    let file_id = draft.file().file_id;
    let runs = store.view().await?.runs_of(file_id).await?;
    for (shard, run) in runs {
        let (first_index, last_index) = (span.first, span.last);
        let mut range = Range { first_index, last_index, below: i64::MAX, max: PAGE };
        loop {
            let page = store.taken(shard, file_id, range).await?;
            for row in &page {
                let outcome: Outcome = codec.decode(&row.body)?;
                add(draft, &run, &outcome)?;
            }
            match page.last() {
                Some(oldest) if page.len() == PAGE => range.below = oldest.number,
                _ => break,
            }
        }
    }
    Ok(())
}

fn add(draft: &mut Draft, run: &Run, outcome: &Outcome) -> anyhow::Result<()> {
    if outcome.kind != OutcomeKind::APPLIED {
        return Ok(());
    }
    let index = outcome.index.unwrap_or_default();
    if run.reversals.iter().any(|reversal| has_undone(reversal, index, outcome.number)) {
        draft.count_done();
        return Ok(());
    }
    let customer = outcome.legs.iter().find(|leg| leg.owner == Owner::CUSTOMER);
    draft.add(&Touched {
        index,
        mark: outcome.number,
        account: customer.and_then(|leg| leg.account.parse().ok()),
        direction: &outcome.direction,
        amount_minor: outcome.amount_minor,
        currency: outcome.currency,
        exponent: outcome.exponent,
    })
}

/// True where a reversal has come past this outcome, which it covers.
fn has_undone(reversal: &Reversal, index: i64, number: i64) -> bool {
    reversal.covers(index, number) && reversal.below.is_none_or(|below| below <= number)
}
