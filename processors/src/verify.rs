//! Verification: what must be so, compared with what the store holds.
//!
//! The store is read as one view, shard by shard, so that memory grows with the accounts of one
//! shard and not with the outcomes.

use std::collections::{BTreeMap, HashMap};

use schemas::codec::Codec;
use schemas::file::File;
use schemas::outcome::{Leg, Outcome, OutcomeKind};
use schemas::{Currency, Direction, FileId, Sums};

use crate::account::{Account, AccountName};
use crate::fate::Error;
use crate::outcome::NO_CURRENCY;
use crate::run::Run;
use crate::store::View;

/// Rows read at once.
const PAGE: usize = 4_096;

/// One thing that must be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// True where it is so.
    pub ok: bool,
    /// What must be.
    pub expected: String,
    /// What is.
    pub found: String,
}

impl Check {
    fn of(name: String, expected: impl ToString, found: impl ToString) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self { name, ok: expected == found, expected, found }
    }
}

/// Checks the whole store: that balances sum to zero per currency, and for each shard that its
/// outcomes are dense, that their legs sum to zero, that they give the stored balances, and that
/// each file's counts are those of its outcomes.
///
/// # Errors
///
/// Where the store can't be read, or an outcome doesn't decode.
pub async fn store<V: View>(view: &mut V) -> Result<Vec<Check>, Error> {
    let mut checks = Vec::new();
    let mut sums: BTreeMap<(Currency, i32), i128> = BTreeMap::new();
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
            break;
        }
    }
    for row in view.shards().await.map_err(Error::Store)? {
        let derived = derive(view, row.shard).await?;
        let name = |what: &str| format!("shard {}: {what}", row.shard);
        checks.push(Check::of(
            name("outcomes are dense"),
            format!("0 to {}", row.next_number),
            match derived.first_hole {
                None => format!("0 to {}", derived.next_number),
                Some(hole) => format!("{hole} is missing"),
            },
        ));
        checks.push(Check::of(
            name("the legs of every outcome sum to zero"),
            "none that does not",
            describe(derived.unbalanced, "outcome"),
        ));
        let wrong = compare_balances(view, row.shard, &derived.accounts, &mut sums).await?;
        checks.push(Check::of(
            name("balances are those of the postings"),
            "none that differs",
            wrong.map_or_else(|| "none that differs".to_owned(), |name| format!("{name} differs")),
        ));
        let of_shard = runs.remove(&row.shard).unwrap_or_default();
        let differs = of_shard.iter().find(|run| derived.files.get(&run.file) != Some(&count(run)));
        let is_counted = derived.files.len() == of_shard.len();
        checks.push(Check::of(
            name("files have the counts of their outcomes"),
            "none that differs",
            match differs {
                Some(run) => format!("file {} differs", run.file),
                None if !is_counted => "a file has no row".to_owned(),
                None => "none that differs".to_owned(),
            },
        ));
    }
    for ((currency, exponent), sum) in sums {
        let name = format!("all balances in {currency} with {exponent} decimals sum to zero");
        checks.push(Check::of(name, 0, sum));
    }
    Ok(checks)
}

fn describe(found: Option<i64>, what: &str) -> String {
    found.map_or_else(|| "none that does not".to_owned(), |number| format!("{what} {number}"))
}

/// What a shard's outcomes say, taken together.
#[derive(Default)]
struct Derived {
    next_number: i64,
    first_hole: Option<i64>,
    unbalanced: Option<i64>,
    accounts: HashMap<String, BTreeMap<(Currency, i32), Counters>>,
    files: HashMap<FileId, Counts>,
}

/// Debits, credits, version, last number.
type Counters = (i64, i64, i64, i64);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counts {
    next_sequence: i64,
    applied: i64,
    rejected: i64,
    duplicates: i64,
    applied_sums: Sums,
    rejected_sums: Sums,
}

fn count(run: &Run) -> Counts {
    Counts {
        next_sequence: run.next_sequence,
        applied: run.applied,
        rejected: run.rejected,
        duplicates: run.duplicates,
        applied_sums: run.applied_sums.clone(),
        rejected_sums: run.rejected_sums.clone(),
    }
}

async fn derive<V: View>(view: &mut V, shard: u32) -> Result<Derived, Error> {
    let codec = Codec::built_in();
    let mut derived = Derived::default();
    loop {
        let from = derived.next_number;
        let page = view.outcomes(shard, from, PAGE).await.map_err(Error::Store)?;
        for row in &page {
            if row.number != derived.next_number {
                derived.first_hole.get_or_insert(derived.next_number);
            }
            derived.next_number = row.number.saturating_add(1);
            derived.add(&codec.decode(&row.body)?);
        }
        if page.len() < PAGE {
            return Ok(derived);
        }
    }
}

impl Derived {
    fn add(&mut self, outcome: &Outcome) {
        if !sums_to_zero(&outcome.legs) {
            self.unbalanced.get_or_insert(outcome.number);
        }
        for leg in &outcome.legs {
            let balances = self.accounts.entry(leg.account.clone()).or_default();
            if leg.currency.as_str() == NO_CURRENCY && leg.direction == Direction::NONE {
                continue;
            }
            let counters = balances.entry((leg.currency, leg.exponent)).or_insert((0, 0, 0, 0));
            if leg.direction == Direction::DEBIT {
                counters.0 = counters.0.saturating_add(leg.amount_minor);
            } else {
                counters.1 = counters.1.saturating_add(leg.amount_minor);
            }
            counters.2 = counters.2.saturating_add(1);
            counters.3 = outcome.number;
        }
        let Some(file) = outcome.file_id else { return };
        let counts = self.files.entry(file).or_default();
        // Only a record has a sequence: the rejected end of a segment takes none.
        let is_record = outcome.sequence.is_some();
        let (count, sums) = match &outcome.kind {
            kind if *kind == OutcomeKind::APPLIED => {
                (&mut counts.applied, &mut counts.applied_sums)
            }
            kind if *kind == OutcomeKind::REJECTED && is_record => {
                (&mut counts.rejected, &mut counts.rejected_sums)
            }
            kind => {
                if *kind == OutcomeKind::DUPLICATE {
                    counts.duplicates = counts.duplicates.saturating_add(1);
                }
                return;
            }
        };
        *count = count.saturating_add(1);
        counts.next_sequence = counts.next_sequence.saturating_add(1);
        if let Some(currency) = outcome.currency {
            // A sum that doesn't fit stays as it is, as it does where it is kept.
            let (direction, exponent) = (&outcome.direction, outcome.exponent);
            let _ = sums.add(direction, currency, exponent, outcome.amount_minor);
        }
    }
}

fn sums_to_zero(legs: &[Leg]) -> bool {
    let mut sums: BTreeMap<(Currency, i32), i128> = BTreeMap::new();
    for leg in legs {
        let sum = sums.entry((leg.currency, leg.exponent)).or_default();
        let amount = i128::from(leg.amount_minor);
        *sum = if leg.direction == Direction::DEBIT {
            sum.saturating_sub(amount)
        } else {
            sum.saturating_add(amount)
        };
    }
    sums.values().all(|sum| *sum == 0)
}

/// The first account of a shard whose balances are not those derived; adds all of them to `sums`.
async fn compare_balances<V: View>(
    view: &mut V,
    shard: u32,
    derived: &HashMap<String, BTreeMap<(Currency, i32), Counters>>,
    sums: &mut BTreeMap<(Currency, i32), i128>,
) -> Result<Option<String>, Error> {
    let mut wrong = None;
    let (mut after, mut accounts) = (None, 0_usize);
    loop {
        let page = view.accounts(shard, after.take(), PAGE).await.map_err(Error::Store)?;
        for account in &page {
            accounts = accounts.saturating_add(1);
            let mut stored = BTreeMap::new();
            for balance in &account.balances {
                let unit = (balance.currency, balance.exponent);
                let sum = sums.entry(unit).or_default();
                *sum = sum.saturating_add(balance.minor());
                let (debits, credits) = (balance.debits_minor, balance.credits_minor);
                stored.insert(unit, (debits, credits, balance.version, balance.last_number));
            }
            if derived.get(&account.name.to_string()) != Some(&stored) && wrong.is_none() {
                wrong = Some(account.name.to_string());
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.name.clone()),
            _ => break,
        }
    }
    if accounts < derived.len() {
        wrong.get_or_insert_with(|| "an account that is missing".to_owned());
    }
    Ok(wrong)
}

/// Checks one published file: that each record is either applied or rejected on its shard (G1), and
/// that what was published is what was applied and rejected, per currency and direction (G4).
///
/// # Errors
///
/// Where the store can't be read.
pub async fn file<V: View>(view: &mut V, file: &File) -> Result<Vec<Check>, Error> {
    let id = file.file_id;
    let mut checks = Vec::new();
    let (mut counted, mut sums) = (0_i64, Sums::new());
    let runs = view.runs_of(id).await.map_err(Error::Store)?;
    for (shard, run) in &runs {
        let at = usize::try_from(*shard).unwrap_or(usize::MAX);
        let published = file.checkpoint.sequences.get(at).copied().unwrap_or_default();
        let done = run.applied.saturating_add(run.rejected);
        counted = counted.saturating_add(done);
        let name = format!("file {id}: events on shard {shard} are applied or rejected");
        checks.push(Check::of(name, published, done));
        if sums.merge(&run.applied_sums).and_then(|()| sums.merge(&run.rejected_sums)).is_err() {
            let name = format!("file {id}: sums fit in 64 bits");
            checks.push(Check::of(name, "they fit", "they do not"));
        }
    }
    let name = format!("file {id}: records published are applied or rejected");
    checks.push(Check::of(name, file.checkpoint.published, counted));
    let published = &file.checkpoint.sums;
    checks.extend(compare_sums(id, published, &sums));
    Ok(checks)
}

fn compare_sums(file: FileId, published: &Sums, done: &Sums) -> Vec<Check> {
    let mut units: BTreeMap<(Currency, i32), [i64; 4]> = BTreeMap::new();
    for sum in published.iter() {
        let [debits, credits, ..] = units.entry((sum.currency, sum.exponent)).or_default();
        (*debits, *credits) = (sum.debits_minor, sum.credits_minor);
    }
    for sum in done.iter() {
        let [.., debits, credits] = units.entry((sum.currency, sum.exponent)).or_default();
        (*debits, *credits) = (sum.debits_minor, sum.credits_minor);
    }
    let mut checks = Vec::new();
    for ((currency, _), [debits, credits, debits_done, credits_done]) in units {
        for (side, published, done) in
            [("debits", debits, debits_done), ("credits", credits, credits_done)]
        {
            let name = format!("file {file}: {side} in {currency}, published and applied");
            checks.push(Check::of(name, published, done));
        }
    }
    checks
}

/// The postings of an account, newest first, at most `max` outcomes: walked back from each balance
/// by the number before.
///
/// # Errors
///
/// Where the store can't be read, or an outcome doesn't decode.
pub async fn postings<V: View>(
    view: &mut V,
    shard: u32,
    account: &Account,
    max: usize,
) -> Result<Vec<Outcome>, Error> {
    let codec = Codec::built_in();
    let mut next: Vec<Option<i64>> =
        account.balances.iter().map(|balance| Some(balance.last_number)).collect();
    let units: Vec<_> = account.balances.iter().map(|b| (b.currency, b.exponent)).collect();
    let name = AccountName::to_string(&account.name);
    let mut found: Vec<Outcome> = Vec::new();
    while found.len() < max {
        let Some(newest) = next.iter().flatten().max().copied() else { break };
        let page = view.outcomes(shard, newest, 1).await.map_err(Error::Store)?;
        let Some(row) = page.first().filter(|row| row.number == newest) else { break };
        let outcome: Outcome = codec.decode(&row.body)?;
        for (number, unit) in next.iter_mut().zip(&units) {
            if *number == Some(newest) {
                let of_balance =
                    |leg: &&Leg| leg.account == name && (leg.currency, leg.exponent) == *unit;
                // The first of an outcome's legs on a balance names the outcome before.
                let first = outcome.legs.iter().find(of_balance);
                *number = first.and_then(|leg| leg.previous_number);
            }
        }
        found.push(outcome);
    }
    Ok(found)
}
