//! The one binary `batchless`: arguments, configuration, signals, wiring, output.
//!
//! Modules are declared in the order in which a command meets them.

mod args;
mod config;
mod layout;

mod command;

mod engine;
mod data;
mod ledger;
mod owners;
mod operate;
mod progress;
mod log;
mod signals;

mod event;
mod output;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use crate::command::{Ending, Failure};

/// Of Rust and of the C beneath it alike. The system's own keeps what many threads of clients have
/// let go, in pools that grow with each outage in which clients are made anew.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    match command::run(cli) {
        Ok(Ending::Well) => ExitCode::SUCCESS,
        Ok(Ending::Findings) => ExitCode::from(3),
        Err(Failure::Usage(error)) => report(&error, 2),
        Err(Failure::Other(error)) => report(&error, 1),
    }
}

/// Says what of the arguments can't be used, or gives the help that was asked for. A card number
/// that was typed in a wrong place is not repeated.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let text = error.to_string();
    let shown = output::masked(&text);
    if shown == text {
        error.exit();
    }
    let _ = write!(std::io::stderr(), "{shown}");
    ExitCode::from(2)
}

/// Says why it failed: the whole chain, in one line, without a card number that was typed.
fn report(error: &anyhow::Error, code: u8) -> ExitCode {
    let pipe_closed = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        // JSON's error doesn't have the one of the pipe as its cause.
        let json = || cause.downcast_ref::<serde_json::Error>()?.io_error_kind();
        io.or_else(json) == Some(std::io::ErrorKind::BrokenPipe)
    };
    // Whoever reads our output has seen enough, as `| head` does.
    if error.chain().any(pipe_closed) {
        return ExitCode::SUCCESS;
    }
    // Nothing is left to be done where standard error is closed too.
    let text = output::masked(&format!("{error:#}"));
    let _ = writeln!(std::io::stderr(), "batchless: {text}");
    ExitCode::from(code)
}

/// The clock: the one place that reads it.
#[expect(clippy::disallowed_methods, reason = "the clock is read here and passed down")]
pub(crate) fn now() -> schemas::Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    schemas::Timestamp(
        since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
    )
}

/// The environment: the one place that reads it whole.
fn environment() -> impl Iterator<Item = (String, String)> {
    // Variables that aren't text are none of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}
