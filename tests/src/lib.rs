//! The system from outside: see `tests/system.rs`.
//!
//! What is here is for tests that stop it between two steps: its owners wired as `batchless run`
//! wires them, with a hook at each step.

pub mod step;
pub mod world;
pub mod orders;
