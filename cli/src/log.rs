//! Log lines: to standard error, as text or JSON, of the levels that the filter lets through.

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::progress::Progress;

/// What libraries say at a level at which we say less, unless the filter names them: one of these
/// has a line for each try of a request, and an outage is told once.
const OF_LIBRARIES: &str = "object_store=warn";

/// Begins to write log lines. Once a process.
///
/// # Errors
///
/// Where the filter can't be read.
pub(crate) fn start(filter: &str, json: bool, progress: &Progress) -> anyhow::Result<()> {
    let parsed = EnvFilter::try_new(format!("{OF_LIBRARIES},{filter}")).with_context(|| {
        format!("log.filter: expected a level such as info, or target=level, found `{filter}`")
    })?;
    let lines = progress.lines();
    let lines =
        tracing_subscriber::fmt().with_env_filter(parsed).with_writer(move || lines.clone());
    let coloured = std::io::IsTerminal::is_terminal(&std::io::stderr())
        && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    if json {
        lines.json().flatten_event(true).init();
    } else {
        lines.with_ansi(coloured).with_target(false).init();
    }
    Ok(())
}
