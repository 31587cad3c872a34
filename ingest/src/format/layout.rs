//! Layouts: formats that are described as data, in TOML, and read by one engine.
//!
//! The built-in ones are read by it as a bank's own are. `docs/formats/layouts.md` has the
//! language.

pub(super) mod model;
mod name;
mod language;
mod date;
mod field;
mod context;
mod group;
mod event;
mod totals;
mod structure;
mod detect;
mod reader;
mod explain;
mod built_in;

pub use built_in::built_in;
pub(super) use built_in::{detect, names, resembles};
pub use explain::{Explain, Explained, ExplainedField, ExplainedUnit};
pub use language::Mistake;
pub use model::Layout;
pub(super) use reader::{LayoutReader, REVISION};
