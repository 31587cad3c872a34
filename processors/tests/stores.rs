//! Every store keeps the contract, and the suite catches those that don't.

use processors::store::conformance;
use processors::store::memory::MemoryStore;
use processors::store::sqlite::SqliteStore;

#[tokio::test]
async fn memory_keeps_the_contract() {
    assert_eq!(conformance::all(MemoryStore::new).await, Ok(()));
}

#[tokio::test]
async fn sqlite_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let mut n = 0;
    let make = || {
        n += 1;
        SqliteStore::open(&directory.path().join(format!("{n}.db"))).unwrap()
    };
    assert_eq!(conformance::all(make).await, Ok(()));
}
