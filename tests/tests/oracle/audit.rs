//! The oracle's audit: what lies in the topics and the store, against what the input files say.
//!
//! It knows the published schemas and the rules that are promised: every record of an accepted file
//! once, in its order, to the minor unit, and nothing of a refused one.

mod checks;

use std::collections::BTreeMap;
use std::fmt;

use sha2::{Digest as _, Sha256};

use self::checks::Audit;
use super::books::LedgerKey;
use super::{Reading, unpacked};
use crate::sender::Sent;

/// How many findings are told one by one.
const TOLD_MAX: usize = 20;

/// A message as it lies in a topic.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: Vec<u8>,
    pub(crate) key: Vec<u8>,
    pub(crate) value: Option<Vec<u8>>,
}

/// Debits and credits of an account in a currency, as a store has them.
#[derive(Clone, Debug)]
pub(crate) struct Balance {
    pub(crate) shard: u32,
    pub(crate) account: String,
    pub(crate) currency: String,
    pub(crate) debits: i128,
    pub(crate) credits: i128,
    pub(crate) version: i64,
}

/// All that is there once a run has ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evidence {
    /// The messages of each topic, by partition, in order.
    pub(crate) topics: BTreeMap<String, Vec<Vec<Message>>>,
    /// The balances of the store.
    pub(crate) balances: Vec<Balance>,
    /// The outcomes of the store, by shard: number and bytes.
    pub(crate) outcomes: Vec<Vec<(i64, Vec<u8>)>>,
}

impl Evidence {
    fn partitions(&self, topic: &str) -> impl Iterator<Item = (u32, &Vec<Message>)> {
        (0..).zip(self.topics.get(topic).into_iter().flatten())
    }
}

/// What a file must have come to.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// Its state.
    pub(crate) state: &'static str,
    /// The range of its records that must be undone: the first and the last.
    pub(crate) reversed: Option<(u64, u64)>,
}

/// What must have come of what was sent.
#[derive(Clone)]
pub(crate) struct Expected {
    pub(crate) ledger: String,
    pub(crate) key: LedgerKey,
    /// Accepted files by id: name, what they say, and where they must have ended.
    pub(crate) files: BTreeMap<String, (String, Reading, End)>,
    /// The states that each object may be in, by feed and name.
    pub(crate) objects: BTreeMap<(String, String), &'static [&'static str]>,
    /// Commands by id, and the answer that each must have once.
    pub(crate) commands: BTreeMap<String, &'static str>,
    /// How many events lie in `records` once more than they should.
    pub(crate) published_again: u64,
    /// How many rejects lie in `rejects` once more than they should: nobody but a subscriber tells
    /// them apart, by their ids.
    pub(crate) rejected_again: u64,
}

impl Expected {
    /// Nothing was sent yet.
    pub(crate) fn new(ledger: &str, key: LedgerKey) -> Self {
        Self {
            ledger: ledger.to_owned(),
            key,
            files: BTreeMap::new(),
            objects: BTreeMap::new(),
            commands: BTreeMap::new(),
            published_again: 0,
            rejected_again: 0,
        }
    }

    /// A file that must be applied whole. Gives its id.
    pub(crate) fn accept(&mut self, sent: &Sent) -> String {
        let id = file_id(&self.ledger, 0, &sent.bytes);
        let end = End { state: "reconciled", reversed: None };
        let reading = super::read(sent.format(), &sent.bytes);
        self.files.insert(id.clone(), (sent.name.clone(), reading, end));
        self.object(sent, &["verified"]);
        id
    }

    /// An object that must have come to one of these states.
    pub(crate) fn object(&mut self, sent: &Sent, states: &'static [&'static str]) {
        self.objects.insert((sent.feed.to_owned(), sent.name.clone()), states);
    }
}

/// The id of a file, from its content.
pub(crate) fn file_id(ledger: &str, occurrence: u32, bytes: &[u8]) -> String {
    let content = Sha256::digest(unpacked(bytes));
    let mut hash = Sha256::new();
    hash.update(ledger.as_bytes());
    hash.update([0]);
    hash.update(occurrence.to_be_bytes());
    hash.update(content);
    hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What the audit found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// Records of the accepted files.
    pub(crate) records: u64,
    pub(crate) applied: u64,
    /// Records that can't be read, or were rejected while they were applied.
    pub(crate) rejected: u64,
    pub(crate) reversed: u64,
    /// Events that came again and were recognised.
    pub(crate) recognised: u64,
    /// What should be there once and is not.
    pub(crate) lost: u64,
    /// What should be there once and is there more often.
    pub(crate) doubled: u64,
    /// What is not in its order.
    pub(crate) disordered: u64,
    /// What is there of files that should have published nothing.
    pub(crate) strange: u64,
    /// What else is not as it should be, sums above all.
    pub(crate) off: u64,
    /// The first of them all, a sentence each.
    pub(crate) told: Vec<String>,
}

impl Report {
    /// True where nothing is other than it should be.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost + self.doubled + self.disordered + self.strange + self.off == 0
    }

    fn note(&mut self, count: impl FnOnce(&mut Self) -> &mut u64, what: impl FnOnce() -> String) {
        *count(self) += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what());
        }
    }

    fn lost(&mut self, what: impl FnOnce() -> String) {
        self.note(|it| &mut it.lost, || format!("lost: {}", what()));
    }

    fn doubled(&mut self, what: impl FnOnce() -> String) {
        self.note(|it| &mut it.doubled, || format!("doubled: {}", what()));
    }

    fn disordered(&mut self, what: impl FnOnce() -> String) {
        self.note(|it| &mut it.disordered, || format!("out of order: {}", what()));
    }

    fn strange(&mut self, what: impl FnOnce() -> String) {
        self.note(|it| &mut it.strange, || format!("strange: {}", what()));
    }

    fn off(&mut self, what: impl FnOnce() -> String) {
        self.note(|it| &mut it.off, || format!("off: {}", what()));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { records, applied, rejected, reversed, recognised, .. } = self;
        let Self { lost, doubled, disordered, strange, off, .. } = self;
        write!(
            f,
            "records {records}, applied {applied}, rejected {rejected}, reversed {reversed}, \
             recognised {recognised}, lost {lost}, doubled {doubled}, out of order {disordered}, \
             of refused files {strange}, sums and states off {off}"
        )
    }
}

/// Compares what is there with what must be.
pub(crate) fn audit(expected: &Expected, evidence: &Evidence) -> Report {
    let mut report = Report::default();
    for (_, reading, _) in expected.files.values() {
        report.records += reading.records;
    }
    Audit { expected, evidence, report }.look()
}
