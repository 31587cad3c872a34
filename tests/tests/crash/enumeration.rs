//! Every named step, on its first, second and third hit, on both pairs of log and store: the owners
//! die there, others go on, and the oracle finds nothing lost, doubled, out of order or off.

use std::fmt;
use std::ops::AddAssign;

use tests::step::Step;

use super::embedded::Site;
use super::memory::Realm;
use super::scene::{FILES, LEAVING, ORDERS, SMALL, Scene};
use crate::oracle::audit::Report;

/// How often each step is hit.
const HITS: u64 = 3;

/// From where the owners begin before they die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// Files lie in the inboxes, and nothing was read yet.
    Files,
    /// As before, and objects go to an archive once their files are reconciled.
    Leaving,
    /// All is reconciled, and an operator gives orders.
    Orders,
    /// All is reconciled, and the store is an older one: an empty one.
    OlderStore,
}

impl Start {
    /// The start from which a step is taken at least three times.
    pub(crate) fn of(step: Step) -> Self {
        use ingest::step::Step as Ingest;
        use processors::Step as Shard;
        match step {
            Step::Ingest(Ingest::CommandTaken | Ingest::CommandAnswered)
            | Step::Shard(Shard::ReversalBegun | Shard::ReversalSlice | Shard::ReversalEnded) => {
                Self::Orders
            }
            Step::Ingest(Ingest::Leaving | Ingest::Left) => Self::Leaving,
            Step::Shard(Shard::Rebuilt) => Self::OlderStore,
            Step::Ingest(_) | Step::Shard(_) => Self::Files,
        }
    }

    /// True where all is reconciled before anybody dies.
    pub(crate) fn is_reconciled(self) -> bool {
        [Self::Orders, Self::OlderStore].contains(&self)
    }

    /// What is sent, and what must come of it.
    pub(crate) fn scene(self) -> &'static Scene {
        match self {
            Self::Files => &FILES,
            Self::Leaving => &LEAVING,
            Self::Orders => &ORDERS,
            Self::OlderStore => &SMALL,
        }
    }

    /// The name of the orders that are given.
    pub(crate) fn orders(self) -> &'static str {
        if self == Self::Orders { "operate" } else { "" }
    }
}

/// What all cases came to.
#[derive(Default)]
struct Total {
    steps: u64,
    kills: u64,
    records: u64,
    lost: u64,
    doubled: u64,
    disordered: u64,
    strange: u64,
    off: u64,
    told: Vec<String>,
}

impl Total {
    fn add(&mut self, what: &str, report: Report) {
        self.records += report.records;
        self.lost.add_assign(report.lost);
        self.doubled.add_assign(report.doubled);
        self.disordered.add_assign(report.disordered);
        self.strange.add_assign(report.strange);
        self.off.add_assign(report.off);
        self.told.extend(report.told.into_iter().map(|told| format!("{what}: {told}")));
    }
}

impl fmt::Display for Total {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, kills, records, lost, doubled, disordered, strange, off, .. } = self;
        write!(
            f,
            "steps {steps}, kills {kills}, records {records}, lost {lost}, doubled {doubled}, out \
             of order {disordered}, of refused files {strange}, sums and states off {off}"
        )
    }
}

/// Has `die_and_go_on` kill and go on at every step and hit; it gives none where the step was not
/// taken so often.
fn enumerate(name: &str, mut die_and_go_on: impl FnMut(Start, Step, u64) -> Option<Report>) {
    let mut total = Total::default();
    for step in Step::all() {
        total.steps += 1;
        for hit in 1..=HITS {
            let what = format!("{} {hit}", step.name());
            match die_and_go_on(Start::of(step), step, hit) {
                Some(report) => {
                    total.kills += 1;
                    total.add(&what, report);
                }
                None => total.told.push(format!("{what}: not reached")),
            }
        }
    }
    println!("{name}: {total}");
    assert!(total.told.is_empty(), "{:#?}", total.told);
    assert_eq!(total.kills, total.steps * HITS);
}

/// The process aborts in the middle; another one goes on.
#[test]
fn at_every_step_the_embedded_default_may_be_aborted() {
    enumerate("embedded log, SQLite", |start, step, hit| {
        let site = Site::at(start);
        if !site.aborts_at(step, hit) {
            return None;
        }
        site.goes_on();
        Some(site.audit())
    });
}

/// Every owner ends in the middle; others go on with the same log and store.
#[test]
fn at_every_step_the_memory_log_and_store_may_lose_their_owners() {
    enumerate("memory log, memory store", |start, step, hit| {
        let mut realm = Realm::at(start);
        if !realm.loses_its_owners_at(step, hit) {
            return None;
        }
        realm.goes_on();
        Some(realm.audit())
    });
}
