//! Brings to the oracle what was said in the topics and what is in the database.

use std::fmt;

use super::cluster::{Cluster, KEY};
use super::observer::{Observed, bytes};
use crate::oracle::audit::{Balance, Evidence, Expected, Report, audit};
use crate::oracle::books::LedgerKey;
use crate::sender::Sent;

/// Nothing was sent yet to this cluster.
pub(crate) fn expected(cluster: &Cluster, accepted: &[Sent]) -> Expected {
    let mut expected = Expected::new(&cluster.name, LedgerKey::new(KEY));
    accepted.iter().for_each(|sent| drop(expected.accept(sent)));
    expected
}

/// What the observer read, and what the database says.
pub(crate) fn evidence(cluster: &Cluster, observed: Observed) -> Evidence {
    let mut evidence = Evidence { topics: observed.topics, ..Evidence::default() };
    let shards = usize::try_from(cluster.plan.shards).unwrap();
    // A shard without an account has no message there.
    for topic in ["records", "postings"] {
        evidence.topics.entry(topic.to_owned()).or_default().resize(shards, Vec::new());
    }
    let rows = cluster
        .sql("SELECT shard, account, currency, debits_minor, credits_minor, version FROM balances");
    evidence.balances = rows
        .into_iter()
        .map(|row| Balance {
            shard: row[0].parse().unwrap(),
            account: row[1].clone(),
            currency: row[2].clone(),
            debits: row[3].parse().unwrap(),
            credits: row[4].parse().unwrap(),
            version: row[5].parse().unwrap(),
        })
        .collect();
    evidence.outcomes = vec![Vec::new(); shards];
    let query = "SELECT shard, number, encode(body, 'hex') FROM outcomes ORDER BY shard, number";
    for row in cluster.sql(query) {
        let shard: usize = row[0].parse().unwrap();
        evidence.outcomes[shard].push((row[1].parse().unwrap(), bytes(&row[2])));
    }
    evidence
}

/// Judges all that came of these files, each accepted once. Events that came again to a shard, and
/// were recognised, are counted, wherever they came from.
pub(crate) fn judge(cluster: &Cluster, accepted: &[Sent], observed: Observed) -> Report {
    let off = observed.off.clone();
    cluster.keep(&observed.topics);
    let mut report = audit(&expected(cluster, accepted), &evidence(cluster, observed));
    report.off += off.len() as u64;
    report.told.extend(off);
    report
}

/// What had to be tried again, or came again, and was recognised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retries {
    /// Events that came again to a shard, and were recognised by their sequence.
    pub(crate) events: u64,
    /// Owners of feeds and files that began again: opened their writer, read back, went on.
    pub(crate) owners: u64,
    /// Shards that tried again: a commit, a publish, a read.
    pub(crate) shards: u64,
    /// Owners that were overtaken.
    pub(crate) fenced: u64,
}

impl Retries {
    /// Adds those of a cluster whose processes have ended.
    pub(crate) fn count(&mut self, cluster: &Cluster, report: &Report) {
        let logs = cluster.logs();
        let lines = |what: &str| logs.lines().filter(|line| line.contains(what)).count() as u64;
        self.add(&Self {
            events: report.recognised,
            owners: lines("the owner begins again"),
            shards: lines("waiting to try again"),
            fenced: lines("overtaken") + lines("fenced"),
        });
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.owners += other.owners;
        self.shards += other.shards;
        self.fenced += other.fenced;
    }

    pub(crate) fn all(&self) -> u64 {
        self.events + self.owners + self.shards + self.fenced
    }
}

impl fmt::Display for Retries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, owners, shards, fenced } = self;
        write!(
            f,
            "retries recognised {} (events that came again {events}, owners that began again \
             {owners}, shards that tried again {shards}, fenced {fenced})",
            self.all()
        )
    }
}
