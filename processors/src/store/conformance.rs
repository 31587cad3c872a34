//! What every store must do, as one suite: each implementation calls [`all`] in its tests.
//!
//! A check returns the first departure it finds, in words, so that the suite can be turned against
//! a store that is broken on purpose.

use std::sync::Arc;

use schemas::ledger::Ledger;
use schemas::record::{Reversal, SegmentClosed};
use schemas::{AccountId, CommandId, Currency, Digest, Direction, FileId, Kind, Sums};

use crate::apply::{Checks, Settings, UnknownAccount};
use crate::digest::digest;
use crate::event::{Record, What};
use crate::posting::Rules;
use crate::store::memory::MemoryStore;
use crate::store::{Commit, Error, ShardRow, Store, View};

mod driver;
mod reversals;

pub use driver::Driver;

/// What a check found.
pub type Checked = Result<(), String>;

/// Runs every check, each on a store of its own that `make` gives: empty, without a ledger.
///
/// # Errors
///
/// The first departure from the contract, with the name of the check.
pub async fn all<S: Store>(mut make: impl AsyncFnMut() -> S) -> Checked {
    let named = |name: &str, checked: Checked| checked.map_err(|why| format!("{name}: {why}"));
    named("a ledger is fixed", a_ledger_is_fixed(make().await).await)?;
    named("a commit is read back", a_commit_is_read_back(make().await).await)?;
    named("a commit is fenced", a_commit_is_fenced(make().await).await)?;
    named("a commit may be repeated", a_commit_may_be_repeated(make().await).await)?;
    named("a broken commit leaves no trace", a_broken_commit_leaves_no_trace(make().await).await)?;
    named("shards commit side by side", shards_commit_side_by_side(make().await).await)?;
    named("fingerprints are found again", fingerprints_are_found_again(make().await).await)?;
    named("a range is found again", reversals::a_range_is_found_again(make().await).await)?;
    named("what is open is found", reversals::what_is_open_is_found(make().await).await)?;
    named("a view stays as it is", a_view_stays_as_it_is(make().await).await)?;
    named("lists come in pages", lists_come_in_pages(make().await).await)?;
    named("the state is the model's", the_state_is_the_models(make().await).await)
}

/// The ledger that the checks use.
pub fn ledger(shards: i32) -> Ledger {
    Ledger {
        name: "main".to_owned(),
        shards,
        file_partitions: 4,
        key_check_value: "00ff00ff00ff00ff".to_owned(),
    }
}

/// The settings that the checks use: the standard rules, unknown accounts are opened.
pub fn settings() -> Settings {
    Settings {
        rules: Rules::standard(),
        unknown_accounts: std::collections::HashMap::new(),
        unknown_account_default: UnknownAccount::Open,
        checks: Checks::ALL,
    }
}

/// The `n`-th customer of a shard, of as many as there are.
pub fn customer(n: u32, shard: u32, shards: u32) -> AccountId {
    let token = |n: u32| {
        format!("card:{:016x}{n:016x}", u64::from(n) * u64::from(shards) + u64::from(shard))
    };
    token(n).parse().unwrap_or_else(|_| unreachable!("32 hexadecimal digits"))
}

/// The file that the checks call by this number.
pub fn file(n: u8) -> FileId {
    FileId([n; 16])
}

/// A record that debits an account of a shard.
pub fn debit(file: FileId, sequence: i64, account: AccountId, amount_minor: i64) -> Record {
    let (kind, direction, currency) = (Kind::PRESENTMENT, Direction::DEBIT, Some(Currency::USD));
    Record {
        file,
        index: sequence,
        sequence,
        fingerprint: schemas::fingerprint(
            Some(&account),
            &kind,
            &direction,
            amount_minor,
            currency,
            None,
        ),
        feed: "feed".into(),
        format: "ipm".into(),
        network: "mastercard".into(),
        kind,
        direction,
        account: Some(account),
        label: Some("****0012".into()),
        amount_minor,
        currency,
        exponent: 2,
    }
}

/// The end of a file on shard 0, after so many events.
pub fn closed(file_id: FileId, complete: bool, events: i64) -> What {
    let (sums, command_id, answer_to) = (Sums::new(), None, 0);
    What::SegmentClosed(SegmentClosed {
        file_id,
        shard: 0,
        complete,
        events,
        sums,
        command_id,
        answer_to,
    })
}

/// A reversal of a range of a file, under the command of this number.
pub fn reversal(command: u8, file_id: FileId, first_index: i64, last_index: i64) -> What {
    What::Reversal(Reversal {
        command_id: CommandId([command; 16]),
        file_id,
        first_index,
        last_index,
        reason: "test".to_owned(),
        answer_to: 0,
    })
}

fn wrong(error: Error) -> String {
    error.to_string()
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, expected: T, found: T) -> Checked {
    if expected == found {
        return Ok(());
    }
    Err(format!("expected {what} {expected:?}, found {found:?}"))
}

fn records(file: FileId, sequences: std::ops::Range<i64>, accounts: u32) -> Vec<What> {
    let record = |sequence: i64| {
        let n = u32::try_from(sequence).unwrap_or_default() % accounts;
        What::Record(debit(file, sequence, customer(n, 0, 2), sequence + 1))
    };
    sequences.map(record).collect()
}

async fn digest_of<S: Store>(store: &S) -> Result<Digest, String> {
    let mut view = store.view().await.map_err(wrong)?;
    digest(&mut view).await.map_err(wrong)
}

async fn a_ledger_is_fixed<S: Store>(store: S) -> Checked {
    let found = store.view().await.map_err(wrong)?.ledger().await.map_err(wrong)?;
    expect("ledger", None, found)?;
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut view = store.view().await.map_err(wrong)?;
    expect("ledger", Some(ledger(2)), view.ledger().await.map_err(wrong)?)?;
    let row = |shard| ShardRow { shard, epoch: 0, next_offset: 0, next_number: 0 };
    expect("shards", vec![row(0), row(1)], view.shards().await.map_err(wrong)?)?;
    let other = store.open_ledger(&Ledger { name: "other".to_owned(), ..ledger(2) }).await;
    expect("refusal", true, matches!(other, Err(Error::Unusable { .. })))?;
    let none = store.acquire(2).await;
    expect("refusal", true, matches!(none, Err(Error::Unusable { .. })))
}

async fn a_commit_is_read_back<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let first = driver.round(records(file(1), 0..3, 2)).await.map_err(wrong)?;
    let second = driver.round(records(file(1), 3..5, 2)).await.map_err(wrong)?;

    let account = customer(0, 0, 2);
    let name = crate::account::AccountName::Customer(account);
    let unknown = crate::account::AccountName::Customer(customer(9, 0, 2));
    let names = vec![name.clone(), unknown];
    let fetched = store.fetch(0, names, vec![file(1), file(2)]).await.map_err(wrong)?;
    let [Some(found), None] = fetched.accounts.as_slice() else {
        return Err("expected one account of two".to_owned());
    };
    expect("label", Some("****0012"), found.label.as_deref())?;
    let balance =
        found.balances.first().map(|b| (b.debits_minor, b.credits_minor, b.version, b.last_number));
    expect("balance", Some((1 + 3 + 5, 0, 3, 4)), balance)?;
    let [Some(run), None] = fetched.runs.as_slice() else {
        return Err("expected one run of two".to_owned());
    };
    expect("sequence", (5, 5, 0), (run.next_sequence, run.applied, run.rejected))?;
    expect("numbers", (Some(0), Some(4)), (run.first_number, run.last_number))?;

    let mut view = store.view().await.map_err(wrong)?;
    expect("run", run.clone(), view.runs_of(file(1)).await.map_err(wrong)?.remove(0).1)?;
    expect("account", Some(found.clone()), view.account(0, name).await.map_err(wrong)?)?;
    let outcomes = view.outcomes(0, 0, 10).await.map_err(wrong)?;
    expect("outcomes", [first.outcomes.clone(), second.outcomes.clone()].concat(), outcomes)?;
    let spans = view.spans(0, file(1)).await.map_err(wrong)?;
    expect("spans", [first.spans.clone(), second.spans.clone()].concat(), spans)?;
    let rows = view.shards().await.map_err(wrong)?;
    expect(
        "row",
        Some(&ShardRow { shard: 0, epoch: 1, next_offset: 5, next_number: 5 }),
        rows.first(),
    )
}

async fn a_commit_is_fenced<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut old = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    old.round(records(file(1), 0..1, 1)).await.map_err(wrong)?;
    let mut new = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let before = digest_of(&store).await?;
    let late = old.round(records(file(1), 1..2, 1)).await;
    expect("old owner fenced", true, matches!(late, Err(Error::Fenced { shard: 0, .. })))?;
    expect("digest", before, digest_of(&store).await?)?;
    let commit = new.round(records(file(1), 1..2, 1)).await.map_err(wrong)?;

    let after = digest_of(&store).await?;
    for (next_offset, next_number) in [(1, 2), (2, 1), (3, 2), (2, 3)] {
        let from = ShardRow { next_offset, next_number, ..commit.to() };
        let mut other = Commit::clone(&commit);
        other.outcomes.iter_mut().for_each(|row| row.number = next_number);
        other.accounts.clear();
        other.balances.clear();
        let (next_offset, next_number) = (next_offset + 1, next_number + 1);
        let other = Commit { from, next_offset, next_number, ..other };
        let found = store.commit(Arc::new(other)).await;
        expect("another row fenced", true, matches!(found, Err(Error::Fenced { .. })))?;
    }
    expect("digest", after, digest_of(&store).await?)
}

async fn a_commit_may_be_repeated<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let commit = driver.round(records(file(1), 0..3, 2)).await.map_err(wrong)?;
    let before = digest_of(&store).await?;
    store.commit(Arc::clone(&commit)).await.map_err(wrong)?;
    expect("digest", before, digest_of(&store).await?)?;
    driver.round(records(file(1), 3..4, 2)).await.map_err(wrong)?;
    let late = store.commit(commit).await;
    expect("an older commit fenced", true, matches!(late, Err(Error::Fenced { .. })))
}

type Break = fn(&mut Commit);

async fn a_broken_commit_leaves_no_trace<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    driver.round(records(file(1), 0..2, 1)).await.map_err(wrong)?;
    let whole = driver.prepare(records(file(1), 2..5, 2)).await.map_err(wrong)?;
    let before = digest_of(&store).await?;
    let broken: [(&str, Break); 5] = [
        ("a number left out", |commit| drop(commit.outcomes.remove(1))),
        ("no outcome at all", |commit| commit.outcomes.clear()),
        ("a balance of another version", |commit| {
            commit.balances.iter_mut().for_each(|row| row.version_before += 1);
        }),
        ("a balance that is there already", |commit| {
            commit.balances.iter_mut().for_each(|row| row.version_before = 0);
        }),
        ("a negative counter", |commit| {
            commit.balances.iter_mut().for_each(|row| row.balance.debits_minor = -1);
        }),
    ];
    for (what, break_it) in broken {
        let mut commit = Commit::clone(&whole);
        break_it(&mut commit);
        let found = store.commit(Arc::new(commit)).await;
        expect(what, true, matches!(found, Err(Error::Invariant { .. })))?;
        expect(what, before, digest_of(&store).await?)?;
    }
    store.commit(whole).await.map_err(wrong)
}

/// Where commits of several shards are ready, one that fails doesn't take the others with it.
async fn shards_commit_side_by_side<S: Store>(store: S) -> Checked {
    const SHARDS: u32 = 8;
    store.open_ledger(&ledger(8)).await.map_err(wrong)?;
    let mut commits = Vec::new();
    for shard in 0..SHARDS {
        let mut driver = Driver::new(&store, shard, SHARDS).await.map_err(wrong)?;
        let record = What::Record(debit(file(1), 0, customer(0, shard, SHARDS), 7));
        let mut commit = Commit::clone(&*driver.prepare(vec![record]).await.map_err(wrong)?);
        match shard {
            3 => commit.from.epoch -= 1,
            5 => commit.balances.iter_mut().for_each(|row| row.version_before = 9),
            _ => (),
        }
        commits.push(commit);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for commit in commits {
        let store = store.clone();
        tasks.spawn(async move { (commit.from.shard, store.commit(Arc::new(commit)).await) });
    }
    while let Some(Ok((shard, found))) = tasks.join_next().await {
        let is_right = match shard {
            3 => matches!(found, Err(Error::Fenced { shard: 3, .. })),
            5 => matches!(found, Err(Error::Invariant { .. })),
            _ => found.is_ok(),
        };
        expect(&format!("answer for shard {shard}"), true, is_right)?;
    }
    let rows = store.view().await.map_err(wrong)?.shards().await.map_err(wrong)?;
    let numbers: Vec<i64> = rows.iter().map(|row| row.next_number).collect();
    expect("numbers", vec![1, 1, 1, 0, 1, 0, 1, 1], numbers)
}

async fn fingerprints_are_found_again<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let mut expected = Vec::new();
    // Two files side by side, in rounds of several sizes, with doubled events among them.
    for (from, to) in [(0, 1), (1, 6), (6, 7), (7, 40)] {
        let mut said = records(file(1), from..to, 3);
        said.extend(records(file(2), from..to, 5));
        said.extend(records(file(1), 0..to, 3));
        for what in &said {
            if let What::Record(record) = what
                && record.file == file(1)
                && record.sequence >= from
                && !expected.contains(&(record.sequence, record.fingerprint))
            {
                expected.push((record.sequence, record.fingerprint));
            }
        }
        driver.round(said).await.map_err(wrong)?;
    }
    let all = store.fingerprints(0, file(1), (0..50).collect()).await.map_err(wrong)?;
    expect("fingerprints", expected.clone(), all)?;
    let some = store.fingerprints(0, file(1), vec![0, 6, 39, 40]).await.map_err(wrong)?;
    expect("fingerprints", vec![expected[0], expected[6], expected[39]], some)?;
    expect("none", vec![], store.fingerprints(1, file(1), vec![0]).await.map_err(wrong)?)
}

async fn a_view_stays_as_it_is<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    driver.round(records(file(1), 0..3, 2)).await.map_err(wrong)?;
    let mut view = store.view().await.map_err(wrong)?;
    let before = digest(&mut view).await.map_err(wrong)?;
    driver.round(records(file(1), 3..9, 4)).await.map_err(wrong)?;
    expect("digest", before, digest(&mut view).await.map_err(wrong)?)?;
    expect("a newer view differs", true, before != digest_of(&store).await?)
}

async fn lists_come_in_pages<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    for n in 0..7 {
        driver.round(records(file(n), 0..5, 5)).await.map_err(wrong)?;
    }
    let mut view = store.view().await.map_err(wrong)?;
    let all = view.accounts(0, None, 100).await.map_err(wrong)?;
    expect("accounts in order", true, all.is_sorted_by(|a, b| a.name < b.name) && all.len() == 6)?;
    let (mut after, mut paged) = (None, Vec::new());
    loop {
        let page = view.accounts(0, after.take(), 2).await.map_err(wrong)?;
        after = page.last().map(|account| account.name.clone());
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    expect("accounts by pages", all, paged)?;
    let (mut after, mut files) = (None, Vec::new());
    loop {
        let page = view.runs(after.take(), 3).await.map_err(wrong)?;
        after = page.last().map(|(shard, run)| (run.file, *shard));
        if page.is_empty() {
            break;
        }
        files.extend(page.iter().map(|(_, run)| run.file));
    }
    expect("files by pages", (0..7).map(file).collect(), files)?;
    let page = view.outcomes(0, 33, 10).await.map_err(wrong)?;
    expect("outcomes", vec![33, 34], page.iter().map(|row| row.number).collect())
}

async fn the_state_is_the_models<S: Store>(store: S) -> Checked {
    let model = MemoryStore::new();
    model.open_ledger(&ledger(2)).await.map_err(wrong)?;
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let said = || {
        let mut said = records(file(1), 0..20, 3);
        said.extend(records(file(1), 4..9, 3));
        said.extend(records(file(2), 1..3, 3));
        said.extend([21, 20, 20].map(|events| closed(file(1), true, events)));
        said.extend([reversal(1, file(1), 3, 7), reversal(1, file(1), 3, 7)]);
        said.extend([reversal(2, file(2), 0, 9), reversal(3, file(1), 5, 12)]);
        said
    };
    // The rounds are cut differently: the state does not depend on it, but for what is undone
    // between them.
    let mut of_model = Driver::new(&model, 0, 2).await.map_err(wrong)?;
    of_model.round(said()).await.map_err(wrong)?;
    let mut of_store = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let mut said = said();
    let end = said.split_off(said.len() - 4);
    for what in said {
        of_store.round(vec![what]).await.map_err(wrong)?;
    }
    of_store.round(end).await.map_err(wrong)?;
    expect("digest", digest_of(&model).await?, digest_of(&store).await?)?;
    of_model.undo().await.map_err(wrong)?;
    of_store.undo().await.map_err(wrong)?;
    expect("digest", digest_of(&model).await?, digest_of(&store).await?)
}
