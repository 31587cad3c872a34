//! The state of a store as lines of text and a digest of them, by which a laptop and a cluster are
//! compared. It shares no code with the product.
//!
//! Left out is what says where an event lay in a topic: Kafka's offsets have holes.

use rusqlite::types::Value;
use sha2::{Digest as _, Sha256};

use super::cluster::Cluster;
use super::observer::bytes;
use crate::oracle::avro::{self, Datum};
use crate::site::Site;

/// The tables whose rows are compared, and their columns.
const TABLES: &[(&str, &str)] = &[
    ("ledger", "name, shards, file_partitions, key_check_value"),
    ("shards", "shard, next_number"),
    ("accounts", "shard, account, state, coalesce(label, '')"),
    (
        "balances",
        "shard, account, currency, exponent, debits_minor, credits_minor, version, last_number",
    ),
    (
        "runs",
        "file, shard, state, next_sequence, applied, rejected, reversed, duplicates, first_number, \
         last_number",
    ),
];

/// What is in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Every row, and every outcome, in order.
    pub(crate) lines: Vec<String>,
    /// How many of them are outcomes.
    pub(crate) outcomes: usize,
}

impl State {
    /// The digest of all lines.
    pub(crate) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for line in &self.lines {
            hash.update(line);
            hash.update("\n");
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn of(mut rows: Vec<String>, bodies: Vec<Vec<u8>>) -> Self {
        rows.sort();
        let outcomes = bodies.len();
        rows.extend(bodies.iter().map(|body| outcome(body)));
        Self { lines: rows, outcomes }
    }

    /// Of a cluster, by PostgreSQL's own client.
    pub(crate) fn of_cluster(cluster: &Cluster) -> Self {
        let mut rows = Vec::new();
        for (table, columns) in TABLES {
            let columns = columns.replace("file,", "encode(file, 'hex'),");
            let found = cluster.sql(&format!("SELECT {columns} FROM {table}"));
            rows.extend(found.into_iter().map(|row| format!("{table}: {}", row.join(" | "))));
        }
        let query = "SELECT encode(body, 'hex') FROM outcomes ORDER BY shard, number";
        let bodies = cluster.sql(query).into_iter().map(|row| bytes(&row[0])).collect();
        Self::of(rows, bodies)
    }

    /// Of the embedded store of a site.
    pub(crate) fn of_site(site: &Site) -> Self {
        let store = site.database("accounts.db");
        let mut rows = Vec::new();
        for (table, columns) in TABLES {
            let columns = columns.replace("file,", "lower(hex(file)),");
            let mut query = store.prepare(&format!("SELECT {columns} FROM {table}")).unwrap();
            let count = query.column_count();
            let found = query.query_map([], |row| {
                let cells: Result<Vec<Value>, _> = (0..count).map(|at| row.get(at)).collect();
                Ok(format!("{table}: {}", cells?.iter().map(text).collect::<Vec<_>>().join(" | ")))
            });
            rows.extend(found.unwrap().map(Result::unwrap));
        }
        let mut query = store.prepare("SELECT body FROM outcomes ORDER BY shard, number").unwrap();
        let bodies = query.query_map([], |row| row.get(0)).unwrap();
        Self::of(rows, bodies.map(Result::unwrap).collect())
    }

    /// The first lines that one has and the other has not.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let lacks = |of: &Self, from: &Self| -> Vec<String> {
            let known: std::collections::BTreeSet<&String> = from.lines.iter().collect();
            of.lines.iter().filter(|line| !known.contains(line)).take(3).cloned().collect()
        };
        [lacks(self, other), lacks(other, self)].concat()
    }
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    }
}

/// An outcome, whole but for where its event lay.
fn outcome(body: &[u8]) -> String {
    let Datum::Record(fields) = avro::read(body, &[]) else { unreachable!("an event is a record") };
    let kept: Vec<_> = fields.iter().filter(|(name, _)| *name != "source_offset").collect();
    format!("outcome: {kept:?}")
}
