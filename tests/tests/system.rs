//! The system from outside, as one test binary.
//!
//! Modules are declared from the tree itself to the whole way.

#![expect(clippy::unwrap_used, reason = "what a test can't go on without, it ends without")]

mod tidy;
