//! Owners of shards on a log and a store that fail: nothing is lost, nothing is there twice.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can not go on says so")]

#[path = "faults/cuts.rs"]
mod cuts;
#[path = "faults/house.rs"]
mod house;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/oracle.rs"]
mod oracle;
#[path = "postgres/own.rs"]
mod own;
#[path = "faults/proxy.rs"]
mod proxy;
#[path = "postgres/server.rs"]
mod server;
#[path = "faults/stream.rs"]
mod stream;

#[path = "faults/rebuild.rs"]
mod rebuild;

use processors::Error;
use processors::store::conformance::ledger;
use processors::store::memory::MemoryStore;
use processors::store::{Error as StoreError, Store, View};
use processors::verify::{self, Known};
use schemas::Topic;
use topic::Log;

use house::{Call, FaultyLog, FaultyStore, How, Plan, Running, SHARDS};
use stream::{Stream, ops};

async fn empty_store(plan: Plan) -> FaultyStore<MemoryStore> {
    let store = FaultyStore::new(MemoryStore::new(), plan);
    store.inner.open_ledger(&ledger(i32::try_from(SHARDS).unwrap())).await.unwrap();
    store
}

/// Each call of each kind fails once, in each way that its contract allows.
#[tokio::test(start_paused = true)]
async fn a_failure_anywhere_changes_nothing() {
    let ways = [
        (Call::Publish, How::Retry),
        (Call::Publish, How::UnclearAndDone),
        (Call::Publish, How::UnclearAndNot),
        (Call::Publish, How::Fenced),
        (Call::Read, How::Retry),
        (Call::Commit, How::Retry),
        (Call::Commit, How::UnclearAndDone),
        (Call::Commit, How::UnclearAndNot),
        (Call::Commit, How::Fenced),
        (Call::Acquire, How::Retry),
        (Call::Fetch, How::Retry),
    ];
    for (call, how) in ways {
        let mut failures = 0;
        for at in 1.. {
            let plan = Plan::new(call, how, at);
            let mut stream = Stream::new().await;
            let log = FaultyLog::new(&stream.log, plan.clone());
            let store = empty_store(plan.clone()).await;
            let mut running = Running::start(&log, &store);
            for some in ops(5, 240).chunks(40) {
                stream.say_all(some).await;
                running.until_answered(&mut stream).await;
            }
            let stopped = running.end().await;
            assert!(stopped.is_empty(), "{call:?} {how:?} at {at}: {stopped:?}");
            // A publish is the last thing of a round, so one may fail behind the last event.
            let mut view = store.inner.view().await.unwrap();
            for shard in 0..SHARDS {
                stream.check(&mut view, shard).await;
            }
            if !plan.has_failed() {
                break;
            }
            failures += 1;
        }
        assert!(failures >= 2, "{call:?} {how:?} failed {failures} times");
    }
}

/// A broken rule of the store stops the shard that met it; the other one goes on, and the first
/// does once the store is mended.
#[tokio::test(start_paused = true)]
async fn a_broken_rule_stops_its_shard_alone() {
    for at in 1..8 {
        let plan = Plan::new(Call::Commit, How::Invariant, at);
        let mut stream = Stream::new().await;
        let log = FaultyLog::new(&stream.log, Plan::none());
        let store = empty_store(plan.clone()).await;
        let mut running = Running::start(&log, &store);
        for some in ops(6, 200).chunks(40) {
            stream.say_all(some).await;
            running.until_answered(&mut stream).await;
        }
        let stopped = running.end().await;
        let [only] = stopped.as_slice() else { panic!("expected one shard, found {stopped:?}") };
        let is_rule = matches!(&only.error, Error::Store(StoreError::Invariant { .. }));
        assert!(is_rule, "{:?}", only.error);
        let mut view = store.inner.view().await.unwrap();
        stream.check(&mut view, 1 - only.shard).await;

        let mut running = Running::start(&log, &store);
        running.until_answered(&mut stream).await;
        assert!(running.end().await.is_empty());
        let mut view = store.inner.view().await.unwrap();
        for shard in 0..SHARDS {
            stream.check(&mut view, shard).await;
        }
    }
}

/// Owners that all believe to have every shard, for none is told to let go: each fences the others
/// at the store and at the log, and what a fenced one was about to do is done by another.
#[tokio::test(start_paused = true)]
async fn owners_that_know_nothing_of_each_other_double_nothing() {
    let mut stream = Stream::new().await;
    let log = FaultyLog::new(&stream.log, Plan::none());
    let store = empty_store(Plan::none()).await;
    let first = Running::start(&log, &store);
    let mut others = Vec::new();
    for (some, group) in ops(7, 400).chunks(100).zip(["a", "b", "c", "d"]) {
        stream.say_all(some).await;
        // At work on it when the next owner comes.
        let taken = store.commits.lock().unwrap().len();
        while store.commits.lock().unwrap().len() == taken {
            tokio::task::yield_now().await;
        }
        others.push(Running::start(&FaultyLog { group, ..log.clone() }, &store));
    }
    while !(stream.is_answered(0).await && stream.is_answered(1).await) {
        // Time is paused: this takes none.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    for running in others.into_iter().chain([first]) {
        assert!(running.end().await.is_empty());
    }
    let mut view = store.inner.view().await.unwrap();
    for shard in 0..SHARDS {
        stream.check(&mut view, shard).await;
        let rows = view.shards().await.unwrap();
        assert!(rows[usize::try_from(shard).unwrap()].epoch > 4, "taken from each other");
    }
}

/// What owners left on logs with holes is verified there, event by event.
#[tokio::test(start_paused = true)]
async fn what_was_done_on_a_log_with_holes_is_verified() {
    let mut stream = Stream::new().await;
    let log = FaultyLog::new(&stream.log, Plan::none());
    let store = empty_store(Plan::none()).await;
    let mut running = Running::start(&log, &store);
    for some in ops(13, 240).chunks(40) {
        stream.say_all(some).await;
        running.until_answered(&mut stream).await;
    }
    assert!(running.end().await.is_empty());
    let end = stream.log.end(Topic::Records, 0).await.unwrap();
    assert!(i64::try_from(stream.events(0)).unwrap() < end, "there are holes");

    // As if the files' rows had been read before anything was said: none is known.
    let (files, refused) = Default::default();
    let known = Known { files: &files, refused: &refused, ends: &[0, 0] };
    let mut view = store.inner.view().await.unwrap();
    let checks = verify::ledger(&stream.log, &mut view, known).await.unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
    assert!(failed.is_empty() && 8 < checks.len(), "{failed:#?}");
}
