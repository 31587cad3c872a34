//! The system from outside: see `tests/system.rs`.
