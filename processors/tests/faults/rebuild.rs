//! A store that is older than the log is led forward by what the log has.

use std::sync::Arc;

use processors::Error;
use processors::digest::digest;
use processors::store::conformance::{file, ledger};
use processors::store::memory::MemoryStore;
use processors::store::sqlite::SqliteStore;
use processors::store::{Commit, OutcomeRow, Range, Store, View};
use proptest::prelude::*;
use schemas::outcome::OutcomeKind;
use schemas::{Digest, Topic};
use topic::Log;

use crate::house::{Call, FaultyLog, FaultyStore, How, Plan, Running, SHARDS};
use crate::stream::{Op, Stream, ops};

/// What was said, the log that has it all, and each commit of it.
struct Past {
    stream: Stream,
    log: FaultyLog,
    store: MemoryStore,
    commits: Vec<Arc<Commit>>,
}

impl Past {
    /// The real owners apply what is said, in as many parts.
    async fn of(all: &[Op], parts: usize) -> Self {
        let mut stream = Stream::new().await;
        let log = FaultyLog::new(&stream.log, Plan::none());
        let store = FaultyStore::new(MemoryStore::new(), Plan::none());
        store.open_ledger(&ledger(i32::try_from(SHARDS).unwrap())).await.unwrap();
        let mut running = Running::start(&log, &store);
        for some in all.chunks(all.len().div_ceil(parts)) {
            stream.say_all(some).await;
            running.until_answered(&mut stream).await;
        }
        let stopped = running.end().await;
        assert!(stopped.is_empty(), "{stopped:?}");
        let commits = store.commits.lock().unwrap().clone();
        Self { stream, log, store: store.inner, commits }
    }

    /// Has `store` be what it was after some of the commits, as a copy would.
    async fn restore<S: Store>(&self, store: &S, commits: usize) {
        store.open_ledger(&ledger(i32::try_from(SHARDS).unwrap())).await.unwrap();
        for commit in &self.commits[..commits] {
            let from = commit.from;
            while {
                let rows = store.view().await.unwrap().shards().await.unwrap();
                rows[usize::try_from(from.shard).unwrap()].epoch < from.epoch
            } {
                store.acquire(from.shard).await.unwrap();
            }
            store.commit(Arc::clone(commit)).await.unwrap();
        }
    }

    /// Has the owners take the shards with this store, and end again.
    async fn take<S: Store>(&self, store: &S) {
        let mut running = Running::start(&self.log, store);
        running.until_acquired().await;
        let stopped = running.end().await;
        assert!(stopped.is_empty(), "{stopped:?}");
    }
}

async fn digest_of<S: Store>(store: &S) -> Digest {
    digest(&mut store.view().await.unwrap()).await.unwrap()
}

/// The outcomes of a file that are found again by its spans, and the fingerprints.
async fn found_again<S: Store>(store: &S, shard: u32, n: u8) -> (Vec<OutcomeRow>, Vec<(i64, i64)>) {
    let all = Range { first_index: 0, last_index: i64::MAX, below: i64::MAX, max: usize::MAX };
    let taken = store.taken(shard, file(n), all).await.unwrap();
    let sequences = (0..i64::try_from(taken.len()).unwrap()).collect();
    (taken, store.fingerprints(shard, file(n), sequences).await.unwrap())
}

async fn assert_the_same<S: Store>(past: &Past, store: &S, what: &str) {
    assert_eq!(digest_of(store).await, digest_of(&past.store).await, "{what}");
    for shard in 0..SHARDS {
        for n in 1..7 {
            let expected = found_again(&past.store, shard, n).await;
            assert_eq!(found_again(store, shard, n).await, expected, "{what}");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..Default::default() })]

    /// Deleted, or put back as it was after any commit: what was said decides, not what was kept.
    #[test]
    fn a_store_of_any_age_is_led_forward(
        all in prop::collection::vec(any::<Op>(), 20..300),
        parts in 1_usize..8,
    ) {
        runtime().block_on(async {
            let past = Past::of(&all, parts).await;
            for commits in 0..=past.commits.len() {
                let store = MemoryStore::new();
                past.restore(&store, commits).await;
                past.take(&store).await;
                assert_the_same(&past, &store, &format!("after {commits} commits")).await;
            }
        });
    }
}

/// The same on SQLite; and then it goes on: what comes again is known, what is new is applied.
#[tokio::test]
async fn a_rebuilt_store_goes_on() {
    let mut past = Past::of(&ops(1, 2_000), 4).await;
    let directory = tempfile::tempdir().unwrap();
    for commits in [0, 1, past.commits.len() / 2, past.commits.len() - 1] {
        let path = directory.path().join(format!("{commits}.db"));
        let store = SqliteStore::open(&path).unwrap();
        past.restore(&store, commits).await;
        past.take(&store).await;
        assert_the_same(&past, &store, &format!("after {commits} commits")).await;
    }
    let store = SqliteStore::open(&directory.path().join("0.db")).unwrap();
    let mut running = Running::start(&past.log, &store);
    past.stream.say_all(&ops(2, 300)).await;
    running.until_answered(&mut past.stream).await;
    assert!(running.end().await.is_empty());
    let mut view = store.view().await.unwrap();
    for shard in 0..SHARDS {
        let outcomes = past.stream.check(&mut view, shard).await;
        let since = outcomes.iter().skip(2_000);
        let again = since.filter(|outcome| outcome.kind == OutcomeKind::DUPLICATE);
        assert!(again.count() > 0, "some of it came again");
    }
}

/// A process that was killed leaves its write-ahead log beside the database; whoever deletes the
/// one may leave the other.
#[tokio::test]
async fn a_database_that_is_deleted_alone_is_rebuilt() {
    let past = Past::of(&ops(8, 200), 2).await;
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let store = SqliteStore::open(&path("a.db")).unwrap();
    past.restore(&store, past.commits.len()).await;
    std::fs::copy(path("a.db-wal"), path("b.db-wal")).unwrap();
    assert!(std::fs::metadata(path("b.db-wal")).unwrap().len() > 0);
    let store = SqliteStore::open(&path("b.db")).unwrap();
    store.open_ledger(&ledger(i32::try_from(SHARDS).unwrap())).await.unwrap();
    let rows = store.view().await.unwrap().shards().await.unwrap();
    assert!(rows.iter().all(|row| row.next_number == 0), "{rows:?}");
    past.take(&store).await;
    assert_the_same(&past, &store, "beside an old write-ahead log").await;
}

/// Ended at each commit of a rebuild in turn, and begun again.
#[tokio::test(start_paused = true)]
async fn a_rebuild_goes_on_where_it_was() {
    let past = Past::of(&ops(3, 1_200), 2).await;
    let mut ends = 0;
    for at in 1.. {
        let plan = Plan::new(Call::Commit, How::Unusable, at);
        let store = FaultyStore::new(MemoryStore::new(), plan.clone());
        past.restore(&store.inner, 0).await;
        let mut running = Running::start(&past.log, &store);
        running.until_acquired().await;
        assert_eq!(running.end().await.len(), usize::from(plan.has_failed()));
        if !plan.has_failed() {
            break;
        }
        ends += 1;
        past.take(&store.inner).await;
        assert_the_same(&past, &store.inner, &format!("ended at commit {at}")).await;
    }
    assert!(ends >= 6, "three rounds a shard, found {ends}");
}

/// Where old events are deleted the one that was answered last may be gone: nothing is compared.
#[tokio::test(start_paused = true)]
async fn a_log_that_begins_behind_what_was_answered_is_accepted() {
    let mut past = Past::of(&ops(9, 60), 1).await;
    past.log.first = past.log.inner.end(Topic::Records, 0).await.unwrap();
    past.take(&past.store).await;
    let store = MemoryStore::new();
    past.restore(&store, 0).await;
    past.take(&store).await;
    assert_the_same(&past, &store, "from postings alone").await;
}

/// Control: a store with one altered outcome is no earlier state of this log, and stays as it is.
#[tokio::test(start_paused = true)]
async fn a_store_that_differs_is_refused() {
    let past = Past::of(&ops(4, 60), 3).await;
    let of_first = past.commits.iter().position(|commit| commit.from.shard == 1).unwrap();
    let mut altered = Commit::clone(&past.commits[of_first]);
    let last = altered.outcomes.last_mut().unwrap();
    let mut body = last.body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    last.body = body.into();

    let store = MemoryStore::new();
    past.restore(&store, 0).await;
    while store.acquire(1).await.unwrap().epoch < altered.from.epoch {}
    let last = altered.next_number - 1;
    store.commit(Arc::new(altered)).await.unwrap();
    let before = digest_of(&store).await;
    let mut running = Running::start(&past.log, &store);
    running.until_acquired().await;
    assert_eq!((&running.stopped[..], &running.rebuilt[..]), (&[1][..], &[0][..]));
    let stopped = running.end().await;
    let [only] = stopped.as_slice() else { panic!("expected one shard, found {stopped:?}") };
    let Error::StoreDiffers { shard: 1, number } = only.error else { panic!("{:?}", only.error) };
    assert_eq!(number, last);
    assert!(only.error.to_string().contains("move the store away and start again"));
    // The other shard is rebuilt, this one untouched.
    assert_ne!(digest_of(&store).await, before);
    let rows = store.view().await.unwrap().shards().await.unwrap();
    assert_eq!(rows[1].next_number, last + 1);
}
