//! The store in PostgreSQL, for as many processes as there are.

mod settings;

pub use settings::{LocationError, Password, Settings, Tls};
