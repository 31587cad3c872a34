//! Verification finds what is wrong, and only that.

#![expect(clippy::unwrap_used, reason = "a test that can not go on says so")]

#[path = "verify/picture.rs"]
mod picture;

use processors::account::AccountName;
use processors::event::What;
use processors::store::conformance::{Driver, closed, customer, debit, file, ledger, reversal};
use processors::store::memory::MemoryStore;
use processors::store::sqlite::SqliteStore;
use processors::store::{Store, View};
use processors::verify::{self, Check};
use schemas::file::FileState;
use schemas::outcome::OutcomeKind;

use picture::{Picture, published};

fn failed(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect()
}

fn records(sequences: std::ops::Range<i64>) -> Vec<What> {
    let account = |sequence: i64| customer(u32::try_from(sequence % 2).unwrap(), 0, 2);
    sequences.map(|n| What::Record(debit(file(1), n, account(n), n + 1))).collect()
}

fn record(what: &mut What) -> &mut processors::event::Record {
    match what {
        What::Record(record) => record,
        other => unreachable!("expected a record, found {other:?}"),
    }
}

/// Each fault is found by its check, and by no other.
#[tokio::test]
async fn each_fault_is_found_by_its_check_alone() {
    type Plant = fn(&mut Picture);
    let answered = "G1 every event has one outcome, which answers it";
    let once = "G2 no record is applied or rejected twice";
    let undone = "G2 what is undone was applied, and is undone once";
    let postings = "G2 postings has each outcome of the store once, in order";
    let verified = "G6 events are of records that were verified";
    let nothing_left = "G7 nothing of a reversed or cancelled file is left";
    let faults: &[(&str, Plant)] = &[
        (answered, |it| record(&mut it.said[0][1]).amount_minor += 1),
        ("G1 every record of an ended file is applied or rejected", |it| {
            it.files.get_mut(&file(1)).unwrap().verdict.records += 1;
        }),
        ("G2 no sequence of a file is taken twice or passed over", |it| {
            record(&mut it.said[1][1]).sequence = 0;
            it.outcomes[1][1].sequence = Some(0);
        }),
        (once, |it| it.rejects.push((file(1), 0, false))),
        (once, |it| it.rejects.push((file(1), 8, false))),
        (once, |it| {
            // Taken on both shards; that index 7 is missing then is another check's.
            record(&mut it.said[1][3]).index = 8;
            it.outcomes[1][3].index = Some(8);
            it.rejects = vec![(file(1), 7, false), (file(1), 8, true)];
        }),
        (undone, |it| {
            let of = |it: &Picture, n: i64| {
                let is_it = |outcome: &&schemas::outcome::Outcome| {
                    outcome.kind == OutcomeKind::REVERSED && outcome.index == Some(n)
                };
                it.outcomes[0].iter().find(is_it).unwrap().number
            };
            let (first, second) = (of(it, 0), of(it, 1));
            let number = |n: i64| usize::try_from(n).unwrap();
            it.outcomes[0][number(first)].index = Some(1);
            it.outcomes[0][number(first)].number_reversed =
                it.outcomes[0][number(second)].number_reversed;
        }),
        (postings, |it| it.publish = |_, all| all.push(all[0].clone())),
        (postings, |it| it.publish = |_, all| drop(all.remove(1))),
        (postings, |it| it.publish = |_, all| all.swap(0, 1)),
        (postings, |it| it.publish = |_, all| drop(all.remove(all.len() - 2))),
        (postings, |it| it.publish = |_, all| drop(all.remove(0))),
        (postings, |it| {
            // A beginning, and then one that was there before.
            it.publish = |_, all| {
                all.truncate(3);
                all.push(all[0].clone());
            };
        }),
        (postings, |it| it.publish = |_, all| all[1].value = all[0].value.clone()),
        ("G3 the legs of every outcome sum to zero", |it| {
            it.outcomes[1][0].legs[1].amount_minor += 1;
            it.outcomes[1][1].legs[1].amount_minor -= 1;
        }),
        ("G3 balances are those of their postings", |it| {
            it.state[0].balances[0].balance.debits_minor += 1;
            it.state[0].balances[0].balance.credits_minor += 1;
        }),
        ("G3 balances are those of their postings", |it| {
            it.state[0].balances[0].balance.last_number -= 1;
        }),
        ("G4 files have the counts and sums of their outcomes", |it| {
            it.state[0].runs[1].duplicates += 1;
        }),
        ("G4 files have the counts and sums of their outcomes", |it| {
            it.state[0].runs[1].reversed -= 1;
        }),
        ("G4 the shards' answers are in the rows of their files", |it| {
            it.files.get_mut(&file(1)).unwrap().segments[1].applied += 1;
        }),
        ("G4 the shards' answers are in the rows of their files", |it| {
            it.files.get_mut(&file(1)).unwrap().segments[1].number -= 1;
        }),
        ("G5 the records of a file take effect in its order", |it| {
            for (at, index) in [(1, 6), (2, 5)] {
                record(&mut it.said[1][at]).index = index;
                it.outcomes[1][at].index = Some(index);
            }
        }),
        (verified, |it| drop(it.files.remove(&file(2)))),
        (verified, |it| {
            drop(it.files.remove(&file(2)));
            it.refused.insert(file(2));
        }),
        (verified, |it| {
            let row = it.files.get_mut(&file(2)).unwrap();
            (row.state, row.checkpoint.published) = (FileState::HELD, 0);
        }),
        (verified, |it| it.files.get_mut(&file(1)).unwrap().verdict.shard_events[1] -= 1),
        ("G7 what undoes a record posts the opposite", |it| {
            let mut reversed = it.outcomes[0].iter_mut();
            reversed.find(|it| it.kind == OutcomeKind::REVERSED).unwrap().index = Some(0);
        }),
        (nothing_left, |it| it.files.get_mut(&file(1)).unwrap().state = FileState::REVERSED),
        (nothing_left, |it| it.files.get_mut(&file(1)).unwrap().state = FileState::CANCELLED),
    ];
    let right = Picture::new().await.checks().await;
    assert_eq!(failed(&right), [""; 0], "{right:#?}");
    for (at, (name, plant)) in faults.iter().enumerate() {
        let mut picture = Picture::new().await;
        plant(&mut picture);
        let checks = picture.checks().await;
        assert_eq!(failed(&checks), [*name], "fault {at}: {checks:#?}");
    }
    // Every check has a fault, but for two that are planted below.
    let planted = |check: &&Check| faults.iter().any(|(name, _)| *name == check.name);
    let others: Vec<_> = right.iter().filter(|check| !planted(check)).map(|it| &it.name).collect();
    assert_eq!(
        others,
        [
            "G2 outcomes are numbered without a hole",
            "G3 all balances in USD with 2 decimals sum to zero"
        ]
    );
}

/// What is committed and not yet published is the outbox's to send: no departure, and it is told.
#[tokio::test]
async fn a_tail_that_is_not_sent_yet_is_told_and_no_departure() {
    let name = "G2 postings has each outcome of the store once, in order";
    let all = Picture::new().await.outcomes.iter().map(Vec::len).sum();
    type Publish = fn(u32, &mut Vec<topic::Message>);
    let kept: &[(Publish, usize)] = &[
        (|_, _| (), 0),
        (|_, all| drop(all.pop()), 2),
        (|shard, all| all.truncate(if shard == 1 { 2 } else { all.len() }), 3),
        (|_, all| all.clear(), all),
    ];
    for (at, (publish, unsent)) in kept.iter().enumerate() {
        let mut picture = Picture::new().await;
        picture.publish = *publish;
        let checks = picture.checks().await;
        assert_eq!(failed(&checks), [""; 0], "tail {at}: {checks:#?}");
        let check = checks.iter().find(|check| check.name == name).unwrap();
        let note = match unsent {
            0 => String::new(),
            unsent => format!("; the last {unsent} not sent yet"),
        };
        assert_eq!(check.found, format!("{}{note}", check.expected), "tail {at}");
    }
}

/// Beside a run the log goes on after the store's view was taken: what follows on is no departure,
/// what doesn't is one.
#[tokio::test]
async fn what_was_published_after_the_view_follows_on() {
    type Publish = fn(u32, &mut Vec<topic::Message>);
    fn add(shard: u32, all: &mut Vec<topic::Message>, after: usize) {
        let last = all.last().unwrap().clone();
        let number = all.len() + after;
        all.push(topic::Message { id: format!("{shard}/{number}").into(), ..last });
    }
    let later: &[(Publish, &[&str])] = &[
        (|shard, all| (0..3).for_each(|_| add(shard, all, 0)), &[]),
        (
            |shard, all| add(shard, all, 1),
            &["G2 postings has each outcome of the store once, in order"],
        ),
        (
            // The last of the view is missing, and what comes after it isn't.
            |shard, all| {
                add(shard, all, 0);
                drop(all.remove(all.len() - 2));
            },
            &["G2 postings has each outcome of the store once, in order"],
        ),
    ];
    for (at, (publish, names)) in later.iter().enumerate() {
        let mut picture = Picture::new().await;
        picture.publish = *publish;
        let checks = picture.checks().await;
        assert_eq!(failed(&checks), **names, "{at}: {checks:#?}");
    }
}

/// Where a balance alone is wrong, so is the sum of all.
#[tokio::test]
async fn a_balance_that_changed_shows_in_the_sum_of_all() {
    let mut picture = Picture::new().await;
    picture.state[0].balances[0].balance.debits_minor += 1;
    let checks = picture.checks().await;
    assert_eq!(
        failed(&checks),
        [
            "G3 balances are those of their postings",
            "G3 all balances in USD with 2 decimals sum to zero"
        ]
    );
    assert_eq!(checks.last().unwrap().found, "-1");
}

/// No store lets an outcome go by itself; somebody with access to the database does.
#[tokio::test]
async fn an_outcome_that_is_gone_leaves_a_hole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.db");
    let store = SqliteStore::open(&path).unwrap();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    // Of a sequence too far ahead nothing comes but a number.
    let gap = What::Record(debit(file(1), 5, customer(0, 0, 2), 1));
    driver.round([records(0..2), vec![gap], records(2..3)].concat()).await.unwrap();
    let whole = verify::store(&mut store.view().await.unwrap()).await.unwrap();
    assert_eq!(failed(&whole), [""; 0]);
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute("DELETE FROM outcomes WHERE number = 2", []).unwrap();
    let checks = verify::store(&mut store.view().await.unwrap()).await.unwrap();
    assert_eq!(failed(&checks), ["G2 outcomes are numbered without a hole"]);
    let hole = checks.iter().find(|check| !check.ok).unwrap();
    assert_eq!(hole.found, "0/2 is missing");
}

#[tokio::test]
async fn a_file_is_reconciled_with_its_shards() {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    driver.round(records(0..4)).await.unwrap();
    let mut view = store.view().await.unwrap();
    let right = verify::file(&mut view, &published(4, 1 + 2 + 3 + 4)).await.unwrap();
    assert_eq!(failed(&right), [""; 0]);
    let wrong = verify::file(&mut view, &published(5, 11)).await.unwrap();
    let names = [
        "G1 events on shard 0 are applied or rejected",
        "G1 records published are applied or rejected",
        "G4 debits in USD, published and applied",
    ];
    assert_eq!(failed(&wrong), names);
    assert_eq!((wrong[2].expected.as_str(), wrong[2].found.as_str()), ("11", "10"));

    // Undone in part, and then wholly.
    let mut row = published(4, 1 + 2 + 3 + 4);
    row.state = FileState::REVERSED;
    driver.round(vec![closed(file(1), true, 4), reversal(1, file(1), 1, 3)]).await.unwrap();
    driver.undo().await.unwrap();
    let left = verify::file(&mut store.view().await.unwrap(), &row).await.unwrap();
    let names = ["G7 records applied and not reversed", "G7 debits in USD, applied and reversed"];
    assert_eq!(failed(&left), names);
    driver.round(vec![reversal(2, file(1), 0, 3)]).await.unwrap();
    driver.undo().await.unwrap();
    let undone = verify::file(&mut store.view().await.unwrap(), &row).await.unwrap();
    assert_eq!(failed(&undone), [""; 0]);
}

#[tokio::test]
async fn the_postings_of_an_account_are_walked_back() {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    driver.round(records(0..5)).await.unwrap();
    driver.round(records(5..9)).await.unwrap();
    let mut view = store.view().await.unwrap();
    let name = AccountName::Customer(customer(1, 0, 2));
    let account = view.account(0, name).await.unwrap().unwrap();
    let postings = verify::postings(&mut view, 0, &account, 3).await.unwrap();
    assert!(postings.iter().map(|outcome| outcome.number).eq([7, 5, 3]));
    let all = verify::postings(&mut view, 0, &account, 100).await.unwrap();
    assert!(all.iter().map(|outcome| outcome.number).eq([7, 5, 3, 1]));
}
