//! Every store keeps the contract, and the suite catches those that don't.

#![expect(clippy::unwrap_used, reason = "a test that can not go on says so")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use processors::account::AccountName;
use processors::digest::digest;
use processors::event::What;
use processors::run::Run;
use processors::store::conformance::{self, Driver, customer, debit, file, ledger};
use processors::store::memory::{MemoryStore, MemoryView};
use processors::store::sqlite::SqliteStore;
use processors::store::{
    Commit, Error, Fetched, OnSwapped, OutcomeRow, Probe, Range, ShardRow, Store, View,
};
use processors::verify;
use proptest::prelude::*;
use schemas::ledger::Ledger;
use schemas::record::SegmentClosed;
use schemas::{Digest, FileId, Sums};

#[tokio::test]
async fn memory_keeps_the_contract() {
    assert_eq!(conformance::all(async || MemoryStore::new()).await, Ok(()));
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut n = 0;
    let make = async || {
        n += 1;
        SqliteStore::open(&directory.path().join(format!("{n}.db"))).unwrap()
    };
    assert_eq!(conformance::all(make).await, Ok(()));
}

/// A way to be wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    SwapNotChecked,
    BalanceLost,
    AccountLost,
    OutcomeChanged,
    FingerprintsLost,
    RepeatRefused,
    RunLost,
    RangeNotBounded,
    RangeOldestFirst,
    OpenForgotten,
    ReversalsLost,
}

/// The model, broken on purpose.
#[derive(Clone)]
struct Broken(MemoryStore, Fault);

impl Store for Broken {
    type View = MemoryView;

    async fn open_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        self.0.open_ledger(ledger).await
    }

    async fn acquire(&self, shard: u32) -> Result<ShardRow, Error> {
        self.0.acquire(shard).await
    }

    async fn fetch(
        &self,
        shard: u32,
        accounts: Vec<AccountName>,
        files: Vec<FileId>,
    ) -> Result<Fetched, Error> {
        self.0.fetch(shard, accounts, files).await
    }

    async fn fingerprints(
        &self,
        shard: u32,
        file: FileId,
        sequences: Vec<i64>,
    ) -> Result<Vec<(i64, i64)>, Error> {
        let mut found = self.0.fingerprints(shard, file, sequences).await?;
        if matches!(self.1, Fault::FingerprintsLost) {
            found.pop();
        }
        Ok(found)
    }

    async fn reversing(&self, shard: u32) -> Result<Vec<Run>, Error> {
        let mut open = self.0.reversing(shard).await?;
        if matches!(self.1, Fault::OpenForgotten) {
            open.pop();
        }
        Ok(open)
    }

    async fn taken(
        &self,
        shard: u32,
        file: FileId,
        range: Range,
    ) -> Result<Vec<OutcomeRow>, Error> {
        let mut asked = range;
        if matches!(self.1, Fault::RangeNotBounded) {
            asked.first_index = 0;
        }
        let mut found = self.0.taken(shard, file, asked).await?;
        if matches!(self.1, Fault::RangeOldestFirst) {
            found.reverse();
        }
        Ok(found)
    }

    async fn commit(&self, commit: Arc<Commit>) -> Result<(), Error> {
        let rows = self.0.view().await?.shards().await?;
        let row = rows.into_iter().find(|row| row.shard == commit.from.shard).unwrap();
        let mut broken = Commit::clone(&commit);
        match self.1 {
            Fault::SwapNotChecked if row != commit.from => {
                let moved = row.next_number - commit.from.next_number;
                broken.from = row;
                broken.next_number += moved;
                broken.outcomes.iter_mut().for_each(|outcome| outcome.number += moved);
                broken.balances.clear();
            }
            Fault::BalanceLost => drop(broken.balances.pop()),
            Fault::AccountLost => broken.accounts.iter_mut().for_each(|row| row.label = None),
            Fault::OutcomeChanged => broken.outcomes.iter_mut().for_each(|row| row.file = None),
            Fault::RepeatRefused if row == commit.to() => broken.from.epoch = -1,
            Fault::RunLost => drop(broken.runs.pop()),
            Fault::ReversalsLost => {
                broken.runs.iter_mut().for_each(|run| run.reversals.clear());
            }
            Fault::FingerprintsLost
            | Fault::RepeatRefused
            | Fault::SwapNotChecked
            | Fault::RangeNotBounded
            | Fault::RangeOldestFirst
            | Fault::OpenForgotten => (),
        }
        self.0.commit(Arc::new(broken)).await
    }

    async fn view(&self) -> Result<MemoryView, Error> {
        self.0.view().await
    }
}

/// The suite itself is tested: each fault is found, and by the check that is there for it.
#[tokio::test]
async fn the_suite_catches_a_store_that_is_broken() {
    for (fault, check) in [
        (Fault::SwapNotChecked, "a commit is fenced"),
        (Fault::BalanceLost, "the state is the model's"),
        (Fault::AccountLost, "a commit is read back"),
        (Fault::OutcomeChanged, "a commit is read back"),
        (Fault::RunLost, "a commit is read back"),
        (Fault::RepeatRefused, "a commit may be repeated"),
        (Fault::FingerprintsLost, "fingerprints are found again"),
        (Fault::RangeNotBounded, "a range is found again"),
        (Fault::RangeOldestFirst, "a range is found again"),
        (Fault::OpenForgotten, "what is open is found"),
        (Fault::ReversalsLost, "what is open is found"),
    ] {
        let found = conformance::all(async || Broken(MemoryStore::new(), fault)).await.unwrap_err();
        assert!(found.starts_with(check), "{fault:?} was found by {found}");
    }
}

/// The probe is told between swap and commit: what it says then is not in the store yet, and is
/// there after the commit. With the blind swap, the control, an owner that lost its shard is not
/// fenced.
#[tokio::test]
async fn the_probe_is_told_of_a_swap_and_a_blind_one_fences_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let sqlite =
        |name: &str, probe| SqliteStore::open_probed(&directory.path().join(name), probe).unwrap();
    let told = Arc::new(AtomicU32::new(0));
    let tell = Arc::clone(&told);
    let on_swapped: OnSwapped = Arc::new(move |shard| {
        assert_eq!(shard, 0);
        tell.fetch_add(1, Ordering::Relaxed);
    });
    let watching = || Probe { on_swapped: Some(Arc::clone(&on_swapped)), ..Probe::default() };
    is_told(&sqlite("1.db", watching()), &told).await;
    is_told(&MemoryStore::probed(watching()), &told).await;
    let blind = || Probe { is_swap_blind: true, ..Probe::default() };
    is_not_fenced(&sqlite("2.db", blind())).await;
    is_not_fenced(&MemoryStore::probed(blind())).await;
}

async fn is_told<S: Store>(store: &S, told: &AtomicU32) {
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(store, 0, 2).await.unwrap();
    let before = told.load(Ordering::Relaxed);
    let commit = driver.round(vec![What::Record(debit(file(1), 0, customer(0, 0, 2), 5))]).await;
    assert_eq!(told.load(Ordering::Relaxed), before + 1);
    // Repeated after it was committed, nothing is swapped.
    store.commit(commit.unwrap()).await.unwrap();
    assert_eq!(told.load(Ordering::Relaxed), before + 1);
}

async fn is_not_fenced<S: Store>(store: &S) {
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut old = Driver::new(store, 0, 2).await.unwrap();
    let _new = Driver::new(store, 0, 2).await.unwrap();
    let record = What::Record(debit(file(1), 0, customer(0, 0, 2), 5));
    old.round(vec![record]).await.unwrap();
}

async fn digest_of<S: Store>(store: &S) -> Digest {
    digest(&mut store.view().await.unwrap()).await.unwrap()
}

async fn is_sound<S: Store>(store: &S) {
    let checks = verify::store(&mut store.view().await.unwrap()).await.unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(checks.len() > 4);
}

fn any_event() -> impl Strategy<Value = What> {
    let record = (0_u8..3, 0_i64..12, 0_u32..3, 1_i64..4);
    prop_oneof![
        9 => record.prop_map(|(of, sequence, account, amount)| {
            What::Record(debit(file(of), sequence, customer(account, 0, 2), amount))
        }),
        1 => (0_u8..3, 0_i64..12, any::<bool>()).prop_map(|(of, events, complete)| {
            let (file_id, sums) = (file(of), Sums::new());
            What::SegmentClosed(SegmentClosed {
                file_id,
                shard: 0,
                complete,
                events,
                sums,
                command_id: None,
                answer_to: 0,
            })
        }),
    ]
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

async fn drive<S: Store>(store: &S, events: &[What], rounds: &[usize]) {
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(store, 0, 2).await.unwrap();
    let (mut rest, mut sizes) = (events, rounds.iter().cycle());
    while !rest.is_empty() {
        let (round, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        driver.round(round.to_vec()).await.unwrap();
        rest = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever comes, and however it is cut into rounds, every store ends in the same sound state.
    #[test]
    fn stores_agree_whatever_comes(
        events in prop::collection::vec(any_event(), 1..80),
        rounds in prop::collection::vec(1_usize..20, 1..8),
    ) {
        block_on(async {
            let model = MemoryStore::new();
            drive(&model, &events, &[events.len()]).await;
            is_sound(&model).await;
            let directory = tempfile::tempdir().unwrap();
            let sqlite = SqliteStore::open(&directory.path().join("accounts.db")).unwrap();
            drive(&sqlite, &events, &rounds).await;
            is_sound(&sqlite).await;
            assert_eq!(digest_of(&sqlite).await, digest_of(&model).await);
        });
    }

    /// Events that come again, at any later place and in any round, change no balance.
    #[test]
    fn applying_twice_is_applying_once(
        again in prop::collection::vec((0_usize..30, 0_usize..30), 0..40),
        rounds in prop::collection::vec(1_usize..20, 1..8),
    ) {
        block_on(async {
            let record = |n: usize| {
                let sequence = i64::try_from(n).unwrap();
                let account = customer(u32::try_from(n % 4).unwrap(), 0, 2);
                What::Record(debit(file(1), sequence, account, sequence + 1))
            };
            let mut twice = Vec::new();
            for n in 0..30 {
                twice.push(record(n));
                let here = again.iter().filter(|(after, _)| *after == n);
                twice.extend(here.map(|(_, earlier)| record(earlier % (n + 1))));
            }
            let (of_once, of_twice) = (MemoryStore::new(), MemoryStore::new());
            drive(&of_once, &(0..30).map(record).collect::<Vec<_>>(), &[30]).await;
            drive(&of_twice, &twice, &rounds).await;
            is_sound(&of_twice).await;
            let counters = async |store: &MemoryStore| {
                let accounts = store.view().await.unwrap().accounts(0, None, 100).await.unwrap();
                let balances = accounts.into_iter().flat_map(|account| account.balances);
                balances.map(|b| (b.debits_minor, b.credits_minor, b.version)).collect::<Vec<_>>()
            };
            assert_eq!(counters(&of_once).await, counters(&of_twice).await);
        });
    }
}

/// Names the store for a process that is killed; set by the test that starts it.
const STORE: &str = "BATCHLESS_TEST_STORE";
const ROUND: i64 = 1_500;

async fn commit_round(driver: &mut Driver<impl Store>, from: i64) {
    let record = |sequence: i64| {
        let account = customer(u32::try_from(sequence % 997).unwrap(), 0, 2);
        What::Record(debit(file(1), sequence, account, sequence + 1))
    };
    driver.round((from..from + ROUND).map(record).collect()).await.unwrap();
}

/// Commits rounds and says so: for ever where a store is named, else a few of its own.
#[tokio::test]
async fn commits_rounds_until_it_is_killed() {
    #[expect(clippy::disallowed_methods, reason = "the only way to tell a test of this binary")]
    let named = std::env::var(STORE).ok();
    let directory = tempfile::tempdir().unwrap();
    let own = directory.path().join("accounts.db");
    let store = SqliteStore::open(named.as_ref().map_or(&own, |path| Path::new(path))).unwrap();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&store, 0, 2).await.unwrap();
    let rows = store.view().await.unwrap().shards().await.unwrap();
    let mut next = rows[0].next_number;
    while named.is_some() || next < 3 * ROUND {
        commit_round(&mut driver, next).await;
        next += ROUND;
        println!("committed {next}");
    }
    is_sound(&store).await;
}

/// A process is killed while it commits, again and again: what it said to be committed is there,
/// whole rounds only, and the state is the model's.
#[tokio::test]
async fn a_killed_process_loses_nothing_and_leaves_nothing_half() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.db");
    let mut reached = 0;
    for kills in 1..=5 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "commits_rounds_until_it_is_killed", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut said = lines.filter_map(|line| line.rsplit_once("committed ")?.1.parse().ok());
        let mut committed: i64 = 0;
        for _ in 0..kills {
            committed = said.next().unwrap();
        }
        // SIGKILL, while the next round is on its way.
        child.kill().unwrap();
        child.wait().unwrap();
        committed = said.last().unwrap_or(committed);

        let store = SqliteStore::open(&path).unwrap();
        let row = store.view().await.unwrap().shards().await.unwrap()[0];
        assert!(committed <= row.next_number && reached < row.next_number);
        assert_eq!((row.next_number % ROUND, row.next_offset), (0, row.next_number));
        is_sound(&store).await;
        reached = row.next_number;
    }
    let model = MemoryStore::new();
    model.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(&model, 0, 2).await.unwrap();
    for round in 0..reached / ROUND {
        commit_round(&mut driver, round * ROUND).await;
    }
    let store = SqliteStore::open_read_only(&path).unwrap();
    assert_eq!(digest_of(&store).await, digest_of(&model).await);
}

/// What can't be opened is refused in one sentence that says what to do.
#[test]
fn a_store_that_can_not_be_opened_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let garbage = directory.path().join("garbage.db");
    std::fs::write(&garbage, vec![0x42; 10_000]).unwrap();
    let other = directory.path().join("other.db");
    let connection = rusqlite::Connection::open(&other).unwrap();
    connection.execute_batch("CREATE TABLE something (one INTEGER)").unwrap();
    drop(connection);
    let missing = directory.path().join("missing").join("accounts.db");
    for (path, expected) in [
        (&garbage, "is damaged or no SQLite database; restore it from a copy"),
        (&other, "found another database; name another file"),
        (&missing, "can't be opened; check that its directory exists"),
    ] {
        let error = SqliteStore::open(path).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains('\n'));
    }
}
