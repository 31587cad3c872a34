//! The controls: with one of its safeguards left out, the same harness reports what it is there to
//! find; with it, nothing.

use ingest::step::Step as Ingest;
use processors::Step as Shard;
use tests::step::Step;
use tests::world::Without;

use super::memory::Realm;
use super::scene::{LONG, PRENOTES, SMALL, Scene, TORN};
use crate::oracle::audit::Report;

/// Fails unless the audit is clean with the safeguard, and has found what `names` it without.
fn assert_red(what: &str, with: &Report, without: &Report, names: impl Fn(&Report) -> u64) {
    println!("{what} left out: {without}");
    assert!(with.is_clean(), "{what}: {:#?}", with.told);
    assert!(!without.is_clean(), "{what}: nothing is found without it");
    assert!(names(without) > 0, "{what}: {:#?}", without.told);
}

/// Without the sequence check, events that are published again are applied again.
#[test]
fn without_the_sequence_check_records_are_doubled() {
    // Some of a file is published, and published again before the rest: its run is still open.
    let report = |without: Without| {
        let mut realm = Realm::new(&LONG, without);
        assert!(realm.loses_its_owners_at(Step::Ingest(Ingest::ChunkPublished), 1));
        let again = realm.publishes_again();
        assert!(again > 0);
        realm.goes_on();
        realm.audit_after(|expected| expected.published_again = again)
    };
    let without = report(Without { sequence_check: true, ..Without::default() });
    assert_red("the sequence check", &report(Without::default()), &without, |it| it.doubled);
}

/// Takes a realm over at a step.
fn taken_over(scene: &'static Scene, step: Step, without: Without) -> Report {
    let mut realm = Realm::new(scene, without);
    let ended = realm.is_taken_over_at(step, 1);
    assert!(ended.is_some(), "{step:?} is not reached");
    realm.audit()
}

/// Without the fence, who was taken for lost publishes what others have published meanwhile.
#[test]
fn without_the_fence_outcomes_are_doubled() {
    let report = |without| taken_over(&SMALL, Step::Shard(Shard::Committed), without);
    let without = report(Without { fence: true, ..Without::default() });
    assert_red("the fence", &report(Without::default()), &without, |it| it.doubled);
}

/// Without the swap, who was taken for lost commits over what others have committed meanwhile. The
/// records move nothing, so that no version of a balance refuses it.
#[test]
fn without_the_swap_the_store_is_overwritten() {
    let report = |without| taken_over(&PRENOTES, Step::Shard(Shard::Applied), without);
    let without = report(Without { swap: true, ..Without::default() });
    assert_red("the swap", &report(Without::default()), &without, |it| it.off + it.doubled);
}

/// Without the check of trailers and totals, torn files are published.
#[test]
fn without_the_trailer_check_torn_files_are_published() {
    let report = |without| {
        let mut realm = Realm::new(&TORN, without);
        realm.goes_on();
        realm.audit()
    };
    let without = report(Without { trailer_check: true, ..Without::default() });
    assert_red("the trailer check", &report(Without::default()), &without, |it| it.strange);
}
