//! What is older is put back, and what was said is said again.

use std::fs;

use ingest::step::Step as Ingest;
use processors::Step as Shard;
use schemas::file::FileState;
use tests::step::Step;
use tests::world::{Without, layout};
use topic::embedded::EmbeddedLog;

use super::again::{publish_again, put_rows_back, set_positions_back};
use super::embedded::{Site, copy_files};
use super::memory::{Realm, runtime};
use super::scene::{FILES, SMALL, Scene};
use crate::oracle::audit::Report;

/// Fails unless all is as it must be, and says how much came again and was recognised.
fn assert_whole(what: &str, report: &Report, recognised_min: u64) {
    println!("{what}: {report}");
    assert!(report.is_clean(), "{what}: {:#?}", report.told);
    assert!(report.recognised >= recognised_min, "{what}: nothing was recognised");
}

/// Has something done to the log of a site at which all is settled, and goes on.
fn changed(site: &Site, change: impl AsyncFnOnce(&EmbeddedLog)) {
    let runtime = runtime();
    let log = EmbeddedLog::open(site.data().join("log.db"), layout()).unwrap();
    runtime.block_on(async {
        change(&log).await;
        log.close().await;
    });
    site.goes_on();
}

fn settled(scene: &'static Scene) -> Site {
    let site = Site::new(scene, "");
    site.goes_on();
    site
}

/// Every chunk is published again, in memory and in the embedded log: each event is a duplicate.
#[test]
fn chunks_published_again_are_recognised() {
    let mut realm = Realm::new(&FILES, Without::default());
    realm.goes_on();
    let again = realm.publishes_again();
    realm.goes_on();
    let report = realm.audit_after(|expected| expected.published_again = again);
    assert_eq!(report.recognised, again);
    assert_whole("chunks again, memory", &report, 1);

    let site = settled(&FILES);
    let mut again = 0;
    changed(&site, async |log| again = publish_again(log).await);
    let report = site.audit_after(|expected| expected.published_again = again);
    assert_eq!(report.recognised, again);
    assert_whole("chunks again, embedded", &report, 1);
}

/// The positions of all owners are set back to the first message: where they are is in their own
/// state, not in the position.
#[test]
fn older_positions_change_nothing() {
    let mut realm = Realm::new(&SMALL, Without::default());
    realm.goes_on();
    realm.sets_positions_back();
    realm.goes_on();
    assert_whole("older positions, memory", &realm.audit(), 0);

    let site = settled(&SMALL);
    changed(&site, async |log| set_positions_back(log).await);
    assert_whole("older positions, embedded", &site.audit(), 0);
}

/// An older row of a file becomes its newest: it is published again from that checkpoint on, and
/// every event of it is recognised.
#[test]
fn an_older_checkpoint_publishes_again_what_is_recognised() {
    let is_old = |row: &schemas::file::File| row.state == FileState::PUBLISHING;
    // Chunks that wait for each other are published together, with no row in between: such a run
    // shows nothing here, and another is tried.
    let (mut rows, mut tries) = (0, 0);
    let site = loop {
        let site = settled(&FILES);
        changed(&site, async |log| rows = put_rows_back(log, is_old).await);
        tries += 1;
        if rows == 2 || tries == 30 {
            break site;
        }
    };
    // Two files have chunks that are not their last: 10,001 and 5,001 records, of which the first
    // 5,000 are below that checkpoint, and one of the others can't be read.
    assert_eq!(rows, 2);
    let again = 5_000 + 1;
    let report = site.audit_after(|expected| {
        expected.published_again = again;
        expected.rejected_again = 1;
    });
    assert_eq!(report.recognised, again);
    assert_whole("older checkpoints, embedded", &report, 1);
}

/// Copies of the store from several moments are put back once all is at an end: each goes forward
/// by the topic `postings` to where it was.
#[test]
fn an_older_store_goes_forward() {
    let mut copies = 0;
    for (step, hit) in [
        (Step::Shard(Shard::Acquired), 1),
        (Step::Shard(Shard::Committed), 1),
        (Step::Shard(Shard::Committed), 9),
        (Step::Ingest(Ingest::Closed), 3),
    ] {
        let site = Site::new(&FILES, "");
        assert!(site.aborts_at(step, hit), "{step:?} {hit}");
        let older = tempfile::tempdir().unwrap();
        copy_files(&site.data(), older.path());
        site.goes_on();
        for name in ["accounts.db", "accounts.db-wal", "accounts.db-shm"] {
            let (there, copy) = (site.data().join(name), older.path().join(name));
            drop(fs::remove_file(&there));
            if copy.exists() {
                fs::copy(copy, there).unwrap();
            }
        }
        site.goes_on();
        let report = site.audit();
        assert!(report.is_clean(), "{step:?} {hit}: {report}\n{:#?}", report.told);
        copies += 1;
    }
    println!("older stores: copies put back {copies}, lost 0, doubled 0");
}
