//! After the same input the state is the same on every store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use processors::digest::digest;
use processors::event::What;
use processors::store::conformance::{Driver, closed, customer, debit, file, ledger, reversal};
use processors::store::memory::MemoryStore;
use processors::store::postgres::PostgresStore;
use processors::store::sqlite::SqliteStore;
use processors::store::{Error, OnSwapped, Probe, Store};
use processors::verify;
use proptest::prelude::*;
use schemas::Digest;

use crate::server::Schema;

async fn digest_of<S: Store>(store: &S) -> Digest {
    digest(&mut store.view().await.unwrap()).await.unwrap()
}

fn any_event() -> impl Strategy<Value = What> {
    let record = (0_u8..3, 0_i64..12, 0_u32..3, 1_i64..4);
    prop_oneof![
        12 => record.prop_map(|(of, sequence, account, amount)| {
            What::Record(debit(file(of), sequence, customer(account, 0, 2), amount))
        }),
        1 => (0_u8..3, 0_i64..12, any::<bool>())
            .prop_map(|(of, events, complete)| closed(file(of), complete, events)),
        1 => (0_u8..3, 0_u8..3, 0_i64..12, 0_i64..12)
            .prop_map(|(command, of, first, last)| reversal(command, file(of), first, last)),
    ]
}

/// Applies events cut into rounds of these sizes, and undoes what is to be undone at the end.
async fn drive<S: Store>(store: &S, events: &[What], rounds: &[usize]) {
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut driver = Driver::new(store, 0, 2).await.unwrap();
    let (mut rest, mut sizes) = (events, rounds.iter().cycle());
    while !rest.is_empty() {
        let (round, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        driver.round(round.to_vec()).await.unwrap();
        rest = after;
    }
    driver.undo().await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, failure_persistence: None, ..Default::default()
    })]

    /// Whatever comes, in the same rounds: memory, SQLite and PostgreSQL end in the same state, and
    /// it is sound.
    #[test]
    fn stores_agree_whatever_comes(
        events in prop::collection::vec(any_event(), 1..80),
        rounds in prop::collection::vec(1_usize..20, 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let model = MemoryStore::new();
            drive(&model, &events, &rounds).await;
            let directory = tempfile::tempdir().unwrap();
            let sqlite = SqliteStore::open(&directory.path().join("accounts.db")).unwrap();
            drive(&sqlite, &events, &rounds).await;
            let schema = Schema::new();
            let postgres = schema.open().await;
            drive(&postgres, &events, &rounds).await;

            let expected = digest_of(&model).await;
            assert_eq!(digest_of(&sqlite).await, expected);
            assert_eq!(digest_of(&postgres).await, expected);
            let checks = verify::store(&mut postgres.view().await.unwrap()).await.unwrap();
            let failed: Vec<_> = checks.iter().filter(|check| !check.ok).collect();
            assert!(failed.is_empty() && 4 < checks.len(), "{failed:#?}");
        });
    }
}

/// The probe is told between swap and commit, once a round. With the blind swap, the control, an
/// owner that lost its shard is not fenced.
#[tokio::test]
async fn the_probe_is_told_of_a_swap_and_a_blind_one_fences_nobody() {
    let record = |sequence| What::Record(debit(file(1), sequence, customer(0, 0, 2), 5));
    let schema = Schema::new();
    let told = Arc::new(AtomicU32::new(0));
    let tell = Arc::clone(&told);
    let on_swapped: OnSwapped = Arc::new(move |shard| {
        assert_eq!(shard, 0);
        tell.fetch_add(1, Ordering::Relaxed);
    });
    let probe = Probe { on_swapped: Some(on_swapped), ..Probe::default() };
    let store = PostgresStore::open_probed(schema.settings.clone(), probe).await.unwrap();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut old = Driver::new(&store, 0, 2).await.unwrap();
    let commit = old.round(vec![record(0)]).await.unwrap();
    assert_eq!(told.load(Ordering::Relaxed), 1);
    // Repeated after it was committed, nothing is swapped; nor by an owner that was fenced.
    store.commit(commit).await.unwrap();
    let _new = Driver::new(&store, 0, 2).await.unwrap();
    let late = old.round(vec![record(1)]).await;
    assert!(matches!(late, Err(Error::Fenced { shard: 0, .. })));
    assert_eq!(told.load(Ordering::Relaxed), 1);

    let schema = Schema::new();
    let blind = Probe { is_swap_blind: true, ..Probe::default() };
    let store = PostgresStore::open_probed(schema.settings.clone(), blind).await.unwrap();
    store.open_ledger(&ledger(2)).await.unwrap();
    let mut old = Driver::new(&store, 0, 2).await.unwrap();
    let _new = Driver::new(&store, 0, 2).await.unwrap();
    old.round(vec![record(0)]).await.unwrap();
}
