//! Verification finds what is wrong, and only that.

#![expect(clippy::unwrap_used, reason = "a test that can not go on says so")]

use std::sync::Arc;

use processors::account::AccountName;
use processors::event::What;
use processors::store::conformance::{Driver, customer, debit, file, ledger};
use processors::store::memory::MemoryStore;
use processors::store::{Commit, Store, View};
use processors::verify::{self, Check};
use schemas::file::{Checkpoint, File, FileState, Verdict};
use schemas::{Currency, Digest, Direction, Sums, Timestamp};

fn failed(checks: &[Check]) -> Vec<&str> {
    checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str()).collect()
}

fn records(sequences: std::ops::Range<i64>) -> Vec<What> {
    let account = |sequence: i64| customer(u32::try_from(sequence % 2).unwrap(), 0, 2);
    sequences.map(|n| What::Record(debit(file(1), n, account(n), n + 1))).collect()
}

async fn checked(change: impl FnOnce(&mut Commit)) -> Vec<Check> {
    let store = MemoryStore::new();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    let mut commit = Commit::clone(&*driver.prepare(records(0..4)).await.unwrap());
    change(&mut commit);
    store.commit(Arc::new(commit)).await.unwrap();
    verify::store(&mut store.view().await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn each_damage_is_found_by_its_check() {
    assert_eq!(failed(&checked(|_| ()).await), [""; 0]);
    let balances = "shard 0: balances are those of the postings";
    let sum = "all balances in USD with 2 decimals sum to zero";
    let files = "shard 0: files have the counts of their outcomes";
    let lost = checked(|commit| drop(commit.balances.pop())).await;
    assert_eq!(failed(&lost), [balances, sum]);
    let changed = checked(|commit| commit.balances[0].balance.debits_minor += 1).await;
    assert_eq!(failed(&changed), [balances, sum]);
    let both = checked(|commit| {
        commit.balances[0].balance.debits_minor += 1;
        commit.balances[0].balance.credits_minor += 1;
    });
    assert_eq!(failed(&both.await), [balances]);
    let counted = checked(|commit| commit.runs[0].applied += 1).await;
    assert_eq!(failed(&counted), [files]);
    let swapped = checked(|commit| {
        let body = commit.outcomes[0].body.clone();
        commit.outcomes[1].body = body;
    });
    assert_eq!(failed(&swapped.await), [balances, files]);
}

fn published(records: i64, amount_minor: i64) -> File {
    let mut sums = Sums::new();
    sums.add(&Direction::DEBIT, Currency::USD, 2, amount_minor).unwrap();
    let checkpoint =
        Checkpoint { published: records, sequences: vec![records, 0], sums, ..Default::default() };
    File {
        file_id: file(1),
        feed: "feed".to_owned(),
        object: "object".to_owned(),
        version: "1".to_owned(),
        state: FileState::PUBLISHED,
        reason: None,
        verdict: Verdict {
            content_digest: Digest([0; 32]),
            occurrence: 0,
            format: "ipm".to_owned(),
            container: "none".to_owned(),
            identifier: None,
            identifiers: Vec::new(),
            size_bytes: 0,
            content_bytes: 0,
            records,
            rejects: 0,
            shard_events: vec![records, 0],
            sums: Sums::new(),
            claimed_debits: None,
            claimed_credits: None,
            claimed_unsigned: None,
            control_totals: Vec::new(),
            warnings: Vec::new(),
            settings_digest: String::new(),
            reader_revision: 1,
            block_bytes: 0,
            block_digests: Vec::new(),
        },
        checkpoint,
        segments: Vec::new(),
        duplicates: 0,
        answers: Vec::new(),
        work: None,
        resubmits: None,
        arrived_at: Timestamp(0),
        updated_at: Timestamp(0),
    }
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
    let id = file(1);
    assert_eq!(
        failed(&wrong),
        [
            format!("file {id}: events on shard 0 are applied or rejected"),
            format!("file {id}: records published are applied or rejected"),
            format!("file {id}: debits in USD, published and applied"),
        ]
    );
    assert_eq!((wrong[2].expected.as_str(), wrong[2].found.as_str()), ("11", "10"));
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
