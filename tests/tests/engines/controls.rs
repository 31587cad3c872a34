//! The controls: what judges is red where something is planted that it is there to find.

use super::cluster::{Cluster, Plan};
use super::crew::Crew;
use super::evidence::{evidence, expected};
use crate::oracle::audit::{Evidence, Report, audit};
use crate::sender::Sent;

/// Something that is not as it was.
type Plant = fn(&mut Evidence);

/// Which count must not be zero then.
type Count = fn(&Report) -> u64;

/// What is planted, and what must be found.
const PLANTED: &[(&str, Plant, Count)] = &[
    ("an event that is lost", |it| drop(fullest(it, "records").remove(5)), |it| it.lost),
    ("an event that is doubled", |it| double(it, "records"), |it| it.doubled),
    (
        "two events in each other's place",
        |it| fullest(it, "records").swap(3, 9),
        |it| it.disordered,
    ),
    ("an outcome that is lost", |it| drop(fullest(it, "postings").remove(5)), |it| it.lost),
    ("an outcome that is doubled", |it| double(it, "postings"), |it| it.doubled),
    (
        "two outcomes in each other's place",
        |it| fullest(it, "postings").swap(3, 9),
        |it| it.off + it.doubled + it.disordered,
    ),
    ("a balance that is off by one", |it| it.balances[0].debits += 1, |it| it.off),
    ("a balance that is gone", |it| drop(it.balances.pop()), |it| it.lost),
    ("an outcome that the store has not", |it| store(it), |it| it.lost),
    ("a row of a file that is gone", |it| it.topics.remove("files").map_or((), drop), |it| it.lost),
];

fn fullest<'a>(
    evidence: &'a mut Evidence,
    topic: &str,
) -> &'a mut Vec<crate::oracle::audit::Message> {
    evidence.topics.get_mut(topic).unwrap().iter_mut().max_by_key(|it| it.len()).unwrap()
}

/// The message at 7 comes again behind the next.
fn double(evidence: &mut Evidence, topic: &str) {
    let messages = fullest(evidence, topic);
    let again = messages[7].clone();
    messages.insert(9, again);
}

fn store(evidence: &mut Evidence) {
    evidence.outcomes.iter_mut().max_by_key(|it| it.len()).unwrap().pop();
}

#[test]
fn what_is_planted_is_found() {
    let _alone = super::alone();
    let cluster = Cluster::new(Plan::shared());
    let observer = cluster.observer();
    let files = [Sent::nacha("payments.ach", 31, 400), Sent::ipm("cards.ipm", 31, 400)];
    let mut crew = Crew::start(&cluster, 1, 1);
    files.iter().for_each(|sent| cluster.drop_in(sent));
    crew.wait_until_reconciled(&files);
    crew.terminate();
    let (expected, found) = (expected(&cluster, &files), evidence(&cluster, observer.end()));
    let clean = audit(&expected, &found);
    assert!(clean.is_clean(), "{:#?}", clean.told);
    for (what, plant, count) in PLANTED {
        let mut planted = found.clone();
        plant(&mut planted);
        let report = audit(&expected, &planted);
        assert!(count(&report) > 0, "{what}: {report} {:#?}", report.told);
    }
    println!("controls: {} planted, {} found", PLANTED.len(), PLANTED.len());
}
