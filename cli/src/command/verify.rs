//! `batchless verify [FILE]`: every file reconciled three ways, and every invariant that can be
//! checked from the topics and the store.

use std::collections::HashMap;
use std::io::Write as _;

use anyhow::Context;
use clap::Args;
use processors::store::{ShardRow, Store as _, View as _};
use schemas::arrival::{Arrival, ArrivalState};
use schemas::codec::{Codec, EventType};
use schemas::file::{File, FileState};
use schemas::ledger::Ledger;
use schemas::outcome::Outcome;
use schemas::{Currency, Direction, Topic};
use serde::Serialize;
use topic::Log as _;

use super::accounts;
use super::books::{Books, BooksFlags, Named, block_on, why_aside};
use super::{Ending, Failure};
use crate::output::{self, Column, Output, Row};

/// What `verify` is told.
#[derive(Args, Debug)]
pub(crate) struct VerifyFlags {
    /// Only this file: its name, or the beginning of its id.
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
    let is_of_a_shard =
        |check: &CheckRow| check.check.starts_with("shard ") || check.check.contains(" on shard ");
    let shown = checks.iter().filter(|check| !check.ok || !is_of_a_shard(check));
    let shown: Vec<CheckRow> = shown.cloned().collect();
    output::print_rows(Output::Table, &shown)?;
    let (all, off) = (checks.len(), checks.iter().filter(|check| !check.ok).count());
    super::print(&format!("{all} checks, those of single shards among them: {off} off\n"))
}

/// Every check; of one file only those of that file.
///
/// # Errors
///
/// Where the log or the store can't be read.
pub(crate) async fn checks(books: &Books, wanted: Option<&str>) -> anyhow::Result<Vec<CheckRow>> {
    let mut checks = Checks::default();
    let Named { files, aside } = books.named(wanted).await?;
    for file in files.values() {
        check_file(books, file, &mut checks).await?;
    }
    for arrival in &aside {
        check_aside(arrival, &mut checks)?;
    }
    if wanted.is_none() {
        let mut view = books.store()?.view().await?;
        for check in processors::verify::store(&mut view).await? {
            checks.add(check.name, check.ok, check.expected, check.found);
        }
        check_ledger(books, &mut checks).await?;
        check_postings(books, &mut checks).await?;
    }
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
async fn check_file(books: &Books, file: &File, checks: &mut Checks) -> anyhow::Result<()> {
    let (verdict, published) = (&file.verdict, &file.checkpoint);
    let name = |what: &str| format!("{}: {what}", file.object);
    for total in &verdict.control_totals {
        let check = name(&format!("{} stated and counted", total.name));
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
    // What is still on its way has nothing to be compared yet.
    if file.state != FileState::RECONCILED && !is_off {
        return Ok(());
    }
    let records = published.published + published.rejected;
    checks.equal(name("records verified and published or rejected"), verdict.records, records);
    for (what, stated, counted) in [
        ("debits", verdict.claimed_debits, published.control_debits),
        ("credits", verdict.claimed_credits, published.control_credits),
        ("amounts", verdict.claimed_unsigned, published.control_unsigned),
    ] {
        if let (Some(stated), true) = (stated, verdict.is_proven()) {
            checks.equal(name(&format!("{what} stated and published")), stated, counted);
        }
    }
    let mut view = books.store()?.view().await?;
    for check in processors::verify::file(&mut view, file).await? {
        // People know the file by its name.
        let what = check.name.split_once(": ").map_or(check.name.as_str(), |(_, what)| what);
        checks.add(name(what), check.ok, check.expected, check.found);
    }
    for (shard, pinned) in (0_u32..).zip(&verdict.shard_events) {
        let at = usize::try_from(shard).unwrap_or(usize::MAX);
        let events = published.sequences.get(at).copied().unwrap_or_default();
        if *pinned != events {
            checks.equal(name(&format!("events pinned for shard {shard}")), pinned, events);
        }
    }
    Ok(())
}

/// The ledger's descriptor, in the log and in the store, and its key.
async fn check_ledger(books: &Books, checks: &mut Checks) -> anyhow::Result<()> {
    let codec = Codec::built_in();
    let mut in_log: Option<Ledger> = None;
    for partition in 0..books.log()?.partitions(Topic::Files) {
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
    let in_store = books.store()?.view().await?.ledger().await?;
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

/// The counters of a balance, as postings add up to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    debits_minor: i64,
    credits_minor: i64,
    version: i64,
}

/// The store's balances against the topic `postings`: each outcome's legs sum to zero, numbers are
/// dense, and the legs of an account add up to its counters.
async fn check_postings(books: &Books, checks: &mut Checks) -> anyhow::Result<()> {
    // The store is looked at first: what is published later is passed over.
    let shards = books.store()?.view().await?.shards().await?;
    let mut stored: HashMap<(String, Currency, i32), Counters> = HashMap::new();
    accounts::each(books, |account| {
        for balance in &account.balances {
            let key = (account.name.to_string(), balance.currency, balance.exponent);
            let counters = Counters {
                debits_minor: balance.debits_minor,
                credits_minor: balance.credits_minor,
                version: balance.version,
            };
            stored.insert(key, counters);
        }
        Ok(())
    })
    .await?;
    let mut posted = Posted::default();
    for shard in &shards {
        posted.read(books, shard).await?;
    }
    let outcomes: i64 = shards.iter().map(|shard| shard.next_number).sum();
    checks.equal(
        "outcomes committed and published, numbered without a hole",
        outcomes,
        posted.outcomes,
    );
    checks.equal("outcomes whose legs do not sum to zero", 0, posted.unbalanced);
    let differing = |(key, counters): &(&(String, Currency, i32), &Counters)| {
        posted.counters.get(*key) != Some(*counters)
    };
    let differ = stored.iter().filter(differing).count()
        + posted.counters.keys().filter(|key| !stored.contains_key(*key)).count();
    let what = format!("balances of {} that differ from their postings", stored.len());
    checks.equal(what, 0, differ);
    Ok(())
}

/// What the topic `postings` adds up to.
#[derive(Debug, Default)]
struct Posted {
    outcomes: i64,
    unbalanced: usize,
    counters: HashMap<(String, Currency, i32), Counters>,
}

impl Posted {
    /// Adds a shard's outcomes up to what the store had committed.
    async fn read(&mut self, books: &Books, shard: &ShardRow) -> anyhow::Result<()> {
        let codec = Codec::built_in();
        let mut next = 0;
        books
            .read(Topic::Postings, shard.shard, |message| {
                let Some(value) = &message.value else { return Ok(()) };
                let outcome: Outcome = codec.decode(value)?;
                if outcome.number == next && next < shard.next_number {
                    next += 1;
                    self.outcomes += 1;
                    self.add(&outcome)?;
                }
                Ok(())
            })
            .await
    }

    fn add(&mut self, outcome: &Outcome) -> anyhow::Result<()> {
        let mut sums: HashMap<(Currency, i32), i128> = HashMap::new();
        // A leg of no amount tells an account's state, and moves no counter.
        for leg in outcome.legs.iter().filter(|leg| leg.amount_minor != 0) {
            let key = (leg.account.clone(), leg.currency, leg.exponent);
            let counters = self.counters.entry(key).or_default();
            let sum = sums.entry((leg.currency, leg.exponent)).or_default();
            let (counter, signed) = if leg.direction == Direction::DEBIT {
                (&mut counters.debits_minor, -i128::from(leg.amount_minor))
            } else {
                (&mut counters.credits_minor, i128::from(leg.amount_minor))
            };
            *counter = counter.checked_add(leg.amount_minor).context("a counter overflows")?;
            counters.version += 1;
            *sum += signed;
        }
        self.unbalanced += usize::from(sums.values().any(|sum| *sum != 0));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leg that only tells an account's state is no balance that the store lacks.
    #[test]
    fn a_leg_of_no_amount_moves_no_counter() {
        let outcome: Outcome = serde_json::from_value(serde_json::json!({
            "shard": 0, "number": 0, "kind": "changed", "source_offset": 0, "direction": "none",
            "amount_minor": 0, "exponent": 0, "legs": [{
                "account": "clearing:ach#0", "owner": "house", "state": "frozen",
                "direction": "none", "amount_minor": 0, "currency": "XXX", "exponent": 0,
                "debits_minor": 0, "credits_minor": 0, "version": 0,
            }],
        }))
        .unwrap();
        let mut posted = Posted::default();
        posted.add(&outcome).unwrap();
        assert!(posted.counters.is_empty(), "{posted:?}");
        assert_eq!(posted.unbalanced, 0);
    }
}
