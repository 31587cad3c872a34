//! A ledger: one set of accounts, and what is fixed when it is created.

use serde::{Deserialize, Serialize};

/// What is fixed when a ledger is created: kept in the log (`files`, key `ledger`) and in the
/// store, and compared at every start. Schema: `avro/Ledger.avsc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "documented field by field in the schema, which is the source")]
pub struct Ledger {
    pub name: String,
    pub shards: i32,
    pub file_partitions: i32,
    pub key_check_value: String,
}
