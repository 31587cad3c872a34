//! Crash proof: stopped at every named step, killed at random, set back, doubled, in trouble.
//!
//! Each test ends with one line of counts by the oracle's audit: what was lost, doubled, out of
//! order, published of refused files, or off.

#![expect(clippy::print_stdout, reason = "each test prints its counts")]

mod scene;
mod evidence;
mod again;
mod lost;
mod embedded;
mod memory;

mod enumeration;
mod second_owner;
mod put_back;
mod controls;
mod kills;
