//! How events travel: the memory log, the embedded log, the log on Kafka, and the contract that
//! they keep.
//!
//! Three kinds of owners use this seam (feeds, files, shards), and all in one way: a group gives
//! each member some partitions; who has a partition opens the writer of that name, reads its state
//! to the end, and from then on publishes outputs, new state and the position of the input that
//! they answer, together or not at all.
//!
//! Modules are declared in the order in which a message meets them.

mod message;
mod log;
mod layout;

mod group;
mod member;
mod owner;

pub mod memory;
pub mod embedded;
pub mod kafka;

pub mod registry;

mod read;

pub mod conformance;

pub use layout::Layout;
pub use log::{
    Assignment, Change, Consumed, Error, Log, Membership, PartitionReader, Revocation,
    Subscription, Writer,
};
pub use member::{Member, Reader};
pub use message::{Batch, Header, Message, MessageSet, Received, cloud_events};
pub use owner::{ReaderOf, own_partitions};
pub use read::read_all;
