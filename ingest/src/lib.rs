//! Bucket to topic: watch, verify, split; the formats.
//!
//! Modules are declared in the order in which a file meets them.

pub mod bucket;

pub mod container;
pub mod format;
