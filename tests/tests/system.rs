//! The system from outside, as one test binary.
//!
//! Modules are declared from the tree itself to the whole way.

#![expect(clippy::unwrap_used, reason = "what a test can't go on without, it ends without")]
#![expect(clippy::panic, reason = "a test ends by one")]
#![expect(clippy::disallowed_methods, reason = "tests keep the caller's settings from the binary")]

mod tidy;

mod oracle;
mod sender;
mod batchless;
mod scanner;
mod site;

mod command_line;
mod main_job;
mod again;
mod bad_files;
mod cuts;
mod stopped;
mod signals;
mod rebuild;
mod operator;
mod private;
mod trouble;
mod memory;
mod crash;
mod engines;
