//! What a store must do so that what was applied can be undone.

use std::sync::Arc;

use crate::event::What;
use crate::round::SLICE_MAX;
use crate::run::Run;
use crate::store::conformance::{
    Checked, Driver, closed, customer, debit, expect, file, ledger, records, reversal, wrong,
};
use crate::store::{Commit, OutcomeRow, Range, Store};

/// Two files side by side in rounds of several sizes, of which one has only every third index here,
/// and a doubled event among them: each range gives its outcomes, the newest first.
pub(super) async fn a_range_is_found_again<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let sparse = |sequence: i64| {
        let mut record = debit(file(1), sequence, customer(0, 0, 2), 5);
        record.index = sequence * 3 + 1;
        What::Record(record)
    };
    let mut taken: Vec<OutcomeRow> = Vec::new();
    for (from, to) in [(0, 1), (1, 6), (6, 7), (7, 40), (40, 41)] {
        let mut said = Vec::new();
        for sequence in from..to {
            said.extend(records(file(2), sequence..sequence + 1, 5));
            said.push(sparse(sequence));
            said.push(sparse(0));
        }
        let commit = driver.round(said).await.map_err(wrong)?;
        taken.extend(commit.outcomes.iter().filter(|row| row.index.is_some()).cloned());
    }
    taken.reverse();
    let all = i64::MAX;
    for (first_index, last_index, below, max) in [
        (0, all, all, 1_000),
        (0, all, all, 7),
        (0, all, 60, 1_000),
        (0, all, 60, 3),
        (17, 80, all, 1_000),
        (17, 80, 70, 2),
        (22, 22, all, 1),
        (23, 24, all, 1),
        (121, all, all, 5),
        (122, all, all, 5),
        (0, 0, all, 5),
        (9, 8, all, 5),
        (0, all, 0, 5),
    ] {
        let range = Range { first_index, last_index, below, max };
        let is_asked_for = |row: &&OutcomeRow| {
            let is_there = row.index.is_some_and(|at| first_index <= at && at <= last_index);
            row.file == Some(file(1)) && is_there && row.number < below
        };
        let expected: Vec<_> = taken.iter().filter(is_asked_for).take(max).cloned().collect();
        let found = store.taken(0, file(1), range).await.map_err(wrong)?;
        expect(&format!("outcomes of {range:?}"), expected, found)?;
    }
    let range = Range { first_index: 0, last_index: all, below: all, max: 5 };
    expect("none", vec![], store.taken(0, file(3), range).await.map_err(wrong)?)?;
    expect("none", vec![], store.taken(1, file(1), range).await.map_err(wrong)?)
}

/// What is taken up and has not ended is found by whoever takes the shard, with all that says how
/// far it is, and is gone on with there.
pub(super) async fn what_is_open_is_found<S: Store>(store: S) -> Checked {
    store.open_ledger(&ledger(2)).await.map_err(wrong)?;
    let mut driver = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let events = i64::try_from(SLICE_MAX + SLICE_MAX / 2).unwrap_or_default();
    let mut said = records(file(2), 0..events, 3);
    said.extend(records(file(1), 0..3, 3));
    said.extend([closed(file(2), true, events), closed(file(1), true, 3)]);
    driver.round(said).await.map_err(wrong)?;
    expect("none", Vec::<Run>::new(), store.reversing(0).await.map_err(wrong)?)?;

    let said = vec![reversal(1, file(2), 0, i64::MAX), reversal(2, file(1), 1, 1)];
    let begun = driver.round(said).await.map_err(wrong)?;
    expect("open", begun.runs.clone(), store.reversing(0).await.map_err(wrong)?)?;
    expect("none", Vec::<Run>::new(), store.reversing(1).await.map_err(wrong)?)?;
    let slice = driver.round(Vec::new()).await.map_err(wrong)?;
    expect("a slice", SLICE_MAX, slice.outcomes.len())?;
    let [of_1, _] = begun.runs.as_slice() else {
        return Err("expected two runs with open reversals".to_owned());
    };
    let mut open = vec![of_1.clone()];
    open.extend(slice.runs.iter().cloned());
    expect("open", open, store.reversing(0).await.map_err(wrong)?)?;

    let mut next = Driver::new(&store, 0, 2).await.map_err(wrong)?;
    let commits = next.undo().await.map_err(wrong)?;
    let outcomes = |commits: &[Arc<Commit>]| commits.iter().map(|it| it.outcomes.len()).sum();
    expect("outcomes", SLICE_MAX / 2 + 1 + 2, outcomes(&commits))?;
    expect("none", Vec::<Run>::new(), store.reversing(0).await.map_err(wrong)?)?;
    let fetched = store.fetch(0, Vec::new(), vec![file(1), file(2)]).await.map_err(wrong)?;
    let reversed = |run: &Option<Run>| run.as_ref().map(|run| run.reversed);
    let reversed: Vec<_> = fetched.runs.iter().map(reversed).collect();
    expect("reversed", vec![Some(1), Some(events)], reversed)
}
