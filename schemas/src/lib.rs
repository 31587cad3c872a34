//! What is said: events, money, ids, positions, and their Avro form.
//!
//! Both sides of the log share these words and nothing else.
//! The crate is pure: it takes values and gives values, without clock, environment, logging or I/O.
//! The Avro schemas in `avro/*.avsc` are the source of truth; the Rust types here are held against
//! them by a test, field by field.
//!
//! Modules are declared in the order in which the words are needed as a file becomes balances.

pub mod vocabulary;

pub mod money;
pub mod time;

pub mod id;
pub mod account;

pub mod record;
pub mod reject;

pub mod arrival;
pub mod command;
pub mod file;
pub mod ledger;

pub mod outcome;

pub mod fingerprint;

pub mod topics;
pub mod codec;

pub use account::{AccountId, AccountKey, AccountText};
pub use fingerprint::fingerprint;
pub use id::{CommandId, Digest, FileId, RecordId};
pub use money::{Currency, Direction, SumOverflow, Sums};
pub use record::{Amount, Attributes, ClearingRecord, Kind};
pub use reject::RecordRejected;
pub use time::{Date, LocalTime, Timestamp};
pub use topics::Topic;
