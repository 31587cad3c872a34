//! Topic to account state: apply, reverse, stores, reconciliation.
//!
//! One task owns a shard: it takes the shard's events in rounds, applies each wholly or not at all
//! in memory, commits state and position together, and publishes what it committed.
//!
//! Modules are declared in the order in which an event becomes a balance. Those of the first group
//! are pure: no async, clock, randomness, logging or environment.

#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod event;
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod posting;
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod account;
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod reversal;
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod run;
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod apply;
#[deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
pub mod outcome;

pub mod store;
pub mod round;

mod fate;
mod outbox;
mod rebuild;
mod shard;

pub mod digest;
pub mod verify;

pub use fate::Error;
pub use outbox::Clock;
pub use shard::{ACCOUNTS_MAX, Config, GROUP, OnStep, OnStop, Step, Stopped, run};
