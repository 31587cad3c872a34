//! `batchless verify [FILE]`: every file reconciled three ways, and every invariant that can be
//! checked from the topics and the store.

use std::collections::BTreeSet;
use std::io::Write as _;

use clap::Args;
use processors::store::{Store as _, View};
use processors::verify::Known;
use schemas::arrival::{Arrival, ArrivalState};
use schemas::codec::{Codec, EventType};
use schemas::file::{File, FileState};
use schemas::ledger::Ledger;
use schemas::{FileId, Topic};
use serde::Serialize;
use topic::Log as _;

use super::books::{Books, BooksFlags, Named, block_on, why_aside};
use super::{Ending, Failure};
use crate::output::{self, Column, Output, Row};

/// What `verify` is told.
#[derive(Args, Debug)]
pub(crate) struct VerifyFlags {
    /// Only this file: its name, or the first 8 digits of its id or more.
    file: Option<String>,
    #[command(flatten)]
    books: BooksFlags,
}

/// A check as it prints. The keys are a contract.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct CheckRow {
    pub(crate) check: String,
    pub(crate) ok: bool,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Row for CheckRow {
    const COLUMNS: &'static [Column] =
        &[Column::text(""), Column::text("check"), Column::text("expected"), Column::text("found")];

    fn cells(&self) -> Vec<String> {
        let ok = if self.ok { "ok" } else { "OFF" };
        vec![ok.to_owned(), self.check.clone(), self.expected.clone(), self.found.clone()]
    }
}

/// Checks, in order.
#[derive(Debug, Default)]
struct Checks(Vec<CheckRow>);

impl Checks {
    fn add(&mut self, check: String, ok: bool, expected: String, found: String) {
        self.0.push(CheckRow { check, ok, expected, found });
    }

    fn equal(&mut self, check: impl Into<String>, expected: impl ToString, found: impl ToString) {
        let (expected, found) = (expected.to_string(), found.to_string());
        self.0.push(CheckRow { check: check.into(), ok: expected == found, expected, found });
    }
}

pub(crate) fn run(flags: &VerifyFlags) -> Result<Ending, Failure> {
    let books = Books::open(&flags.books)?;
    let checks = block_on(checks(&books, flags.file.as_deref()))?;
    if flags.books.output == Output::Json {
        output::print_rows(Output::Json, &checks)?;
    } else {
        print_table(checks.as_slice())?;
    }
    let all_ok = checks.iter().all(|check| check.ok);
    Ok(if all_ok { Ending::Well } else { Ending::Findings })
}

/// What people want to see: what is off, and what is not about a single shard.
fn print_table(checks: &[CheckRow]) -> anyhow::Result<()> {
    let is_of_a_shard = |check: &CheckRow| check.check.contains(" on shard ");
    let shown = checks.iter().filter(|check| !check.ok || !is_of_a_shard(check));
    let shown: Vec<CheckRow> = shown.cloned().collect();
    output::print_rows(Output::Table, &shown)?;
    let (all, off) = (checks.len(), checks.iter().filter(|check| !check.ok).count());
    let all = output::counted(all, "check");
    super::print(&format!("{all}, those of single shards among them: {off} off\n"))
}

/// Every check; of one file only those of that file.
///
/// # Errors
///
/// Where the log or the store can't be read.
pub(crate) async fn checks(books: &Books, wanted: Option<&str>) -> anyhow::Result<Vec<CheckRow>> {
    let mut checks = Checks::default();
    if wanted.is_some() {
        let Named { files, aside } = books.named(wanted).await?;
        let mut view = books.store().await?.view().await?;
        for file in files.values() {
            check_file(&mut view, file, &mut checks).await?;
        }
        for arrival in &aside {
            check_aside(arrival, &mut checks)?;
        }
        return Ok(checks.0);
    }
    // In this order, so that beside a run each is at least as far as the one before it.
    let log = books.log().await?;
    let mut ends = Vec::new();
    for shard in 0..log.partitions(Topic::Records) {
        ends.push(log.end(Topic::Records, shard).await?);
    }
    let roll = books.roll().await?;
    let mut view = books.store().await?.view().await?;
    for file in roll.files.values() {
        check_file(&mut view, file, &mut checks).await?;
    }
    let arrivals = roll.arrivals.values();
    let refused = arrivals.filter(|arrival| arrival.state == ArrivalState::REFUSED);
    let refused: BTreeSet<FileId> = refused.filter_map(|arrival| arrival.file_id).collect();
    let known = Known { files: &roll.files, refused: &refused, ends: &ends };
    for check in processors::verify::ledger(log, &mut view, known).await? {
        checks.add(check.name, check.ok, check.expected, check.found);
    }
    check_ledger(books, &mut checks).await?;
    Ok(checks.0)
}

/// An object of which nothing is published: why, and the first of its records that can't be read.
fn check_aside(arrival: &Arrival, checks: &mut Checks) -> anyhow::Result<()> {
    // A duplicate is as it should be, and a held file has its own checks.
    let ok = arrival.state != ArrivalState::REFUSED;
    let check = format!("{}: state of the object", arrival.object);
    checks.add(check, ok, "not refused".to_owned(), why_aside(arrival));
    for reject in &arrival.rejects {
        writeln!(std::io::stderr(), "rejected: {reject}")?;
    }
    Ok(())
}

/// A file: what it states, what was published, what the shards did.
async fn check_file<V: View>(view: &mut V, file: &File, checks: &mut Checks) -> anyhow::Result<()> {
    let (verdict, published) = (&file.verdict, &file.checkpoint);
    let name = |what: &str| format!("{}: {what}", file.object);
    for total in &verdict.control_totals {
        let check = name(&format!("G4 {} stated and counted", total.name));
        if total.proven {
            checks.equal(check, total.claimed, total.seen);
        } else {
            // To which an unreadable record adds an unknown amount.
            checks.0.push(CheckRow {
                check,
                ok: false,
                expected: total.claimed.to_string(),
                found: format!("{}, unproven", total.seen),
            });
        }
    }
    let why = file.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let is_off = [FileState::UNBALANCED, FileState::FAILED].contains(&file.state);
    checks.0.push(CheckRow {
        check: name("state"),
        ok: !is_off,
        expected: "neither unbalanced nor failed".to_owned(),
        found: format!("{}{why}", file.state),
    });
    let is_cancelled = file.state == FileState::CANCELLED;
    let is_ended = [FileState::RECONCILED, FileState::REVERSED].contains(&file.state) || is_off;
    // What is still on its way has nothing to be compared yet.
    if file.work.is_some() || !(is_ended || is_cancelled) {
        return Ok(());
    }
    for check in processors::verify::file(view, file).await? {
        checks.add(name(&check.name), check.ok, check.expected, check.found);
    }
    // A cancelled file was published in part.
    if is_cancelled {
        return Ok(());
    }
    let records = published.published + published.rejected;
    checks.equal(name("G1 records verified and published or rejected"), verdict.records, records);
    for (what, stated, counted) in [
        ("debits", verdict.claimed_debits, published.control_debits),
        ("credits", verdict.claimed_credits, published.control_credits),
        ("amounts", verdict.claimed_unsigned, published.control_unsigned),
    ] {
        if let (Some(stated), true) = (stated, verdict.is_proven()) {
            checks.equal(
                name(&format!("G4 {what} stated, and published or rejected")),
                stated,
                counted,
            );
        }
    }
    for (shard, pinned) in (0_u32..).zip(&verdict.shard_events) {
        let at = usize::try_from(shard).unwrap_or(usize::MAX);
        let events = published.sequences.get(at).copied().unwrap_or_default();
        if *pinned != events {
            checks.equal(name(&format!("G1 events pinned for shard {shard}")), pinned, events);
        }
    }
    Ok(())
}

/// The ledger's descriptor, in the log and in the store, and its key.
async fn check_ledger(books: &Books, checks: &mut Checks) -> anyhow::Result<()> {
    let codec = Codec::built_in();
    let mut in_log: Option<Ledger> = None;
    for partition in 0..books.log().await?.partitions(Topic::Files) {
        books
            .read(Topic::Files, partition, |message| {
                if let Some(value) = &message.value
                    && codec.event_type(value)? == EventType::Ledger
                {
                    in_log = Some(codec.decode(value)?);
                }
                Ok(())
            })
            .await?;
    }
    let in_store = books.store().await?.view().await?.ledger().await?;
    let show = |ledger: Option<&Ledger>| match ledger {
        None => "none".to_owned(),
        Some(ledger) => {
            format!("{}, {} shards, key {}", ledger.name, ledger.shards, ledger.key_check_value)
        }
    };
    checks.equal(
        "ledger of the log and of the store",
        show(in_log.as_ref()),
        show(in_store.as_ref()),
    );
    let check_value = in_store.map_or_else(String::new, |ledger| ledger.key_check_value);
    checks.equal("check value of the key", check_value, books.key()?.check_value());
    Ok(())
}
