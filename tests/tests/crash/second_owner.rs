//! A second owner starts while the first still runs, and the first goes on without knowing.

use tests::step::Step;
use tests::world::Without;

use super::embedded::Site;
use super::enumeration::Start;
use super::memory::Realm;
use super::scene::SMALL;

/// In memory: the owners stand still at every step of the plain way, others bring all to its end,
/// and the first go on. What they still want to publish or commit is refused.
#[test]
fn who_was_taken_for_lost_changes_nothing_afterwards() {
    use processors::Step as Shard;
    let (mut steps, mut records) = (0, 0);
    for step in Step::all().filter(|step| !Start::of(*step).is_reconciled()) {
        // In the middle of a commit the memory store is locked: nobody can take over there.
        if step == Step::Shard(Shard::Swapped) {
            continue;
        }
        let mut realm = Realm::new(Start::of(step).scene(), Without::default());
        // The second time, so that something of the same kind was done before.
        let ended = realm.is_taken_over_at(step, 2);
        assert!(ended.is_some(), "{step:?} is not reached");
        let report = realm.audit();
        assert!(report.is_clean(), "{step:?}, {ended:?}: {report}\n{:#?}", report.told);
        steps += 1;
        records += report.records;
    }
    println!("second owner, memory: steps {steps}, records {records}, lost 0, doubled 0");
    assert_eq!(steps, 19);
}

/// Across processes: one is paused, another one takes the directory and ends, and the first goes
/// on. (The lock of the data directory, which `batchless run` holds and these children do not,
/// refuses the second one in earnest.)
#[test]
fn a_process_that_wakes_up_changes_nothing_afterwards() {
    use ingest::step::Step as Ingest;
    use processors::Step as Shard;
    let (mut taken_over, mut refused) = (0, 0);
    for step in [
        Step::Ingest(Ingest::Verified),
        Step::Ingest(Ingest::Encoded),
        Step::Ingest(Ingest::Closed),
        Step::Shard(Shard::Applied),
        Step::Shard(Shard::Committed),
        Step::Shard(Shard::Published),
    ] {
        let site = Site::new(&SMALL, "");
        let first = site.pauses_at(step, 1);
        // Where it was paused in the middle of a write after all, the database refuses others.
        match site.is_let_go_on() {
            true => taken_over += 1,
            false => refused += 1,
        }
        let ended = first.goes_on();
        site.goes_on();
        let report = site.audit();
        assert!(report.is_clean(), "{step:?}, {ended}: {report}\n{:#?}", report.told);
    }
    println!(
        "second owner, processes: taken over {taken_over}, refused by a lock {refused}, lost 0, \
         doubled 0"
    );
    assert!(taken_over > 0, "nobody took over");
}
