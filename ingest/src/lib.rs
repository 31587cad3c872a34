//! Bucket to topic: watch, verify, split; the formats.
//!
//! Modules are declared in the order in which a file meets them.

pub mod step;
pub mod feed;
pub mod bucket;

pub mod watch;
mod attempt;
mod known;
mod fair;
mod follow;

pub mod container;
pub mod content;
pub mod format;
pub mod generate;
pub mod walk;
pub mod verify;

pub mod publish;
mod lag;
mod seal;
mod splitter;
pub mod split;
mod pick;
pub mod reconcile;

pub mod roll;
pub use attempt::{Error, Failure};
