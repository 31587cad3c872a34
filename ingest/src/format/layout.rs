//! Layouts: formats that are described as data, in TOML, and read by one engine.
//!
//! The built-in ones are read by it as a bank's own are. `docs/formats/layouts.md` has the
//! language.

#[expect(unused_imports, reason = "the reader by layouts is what uses them")]
pub(super) mod model;
mod name;

pub use model::Layout;
