//! The progress bar of `run`: on a terminal only, and beside the log lines, never through them.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use ingest::roll::Roll;
use schemas::file::{File, FileState};

use crate::engine::AnyLog;

/// How often it is drawn: smooth enough to look at, and far from costing anything.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// A progress bar, or nothing where standard error is no terminal.
#[derive(Clone, Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar on a terminal.
    ///
    /// # Errors
    ///
    /// Where its template can't be read.
    pub(crate) fn on_terminal() -> anyhow::Result<Self> {
        if !io::stderr().is_terminal() {
            return Ok(Self(None));
        }
        let template = "{bar:30} {human_pos} of {human_len} records, {speed}, {eta} left  {msg}";
        let speed = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // What can't be drawn can't be helped.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        let style = ProgressStyle::with_template(template)?.with_key("speed", speed);
        let bar = ProgressBar::new(0).with_style(style);
        Ok(Self(Some(bar)))
    }

    /// No bar.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Where log lines go: above the bar.
    pub(crate) fn lines(&self) -> Lines {
        Lines(self.clone())
    }

    /// Draws how far the files are that are being published, without end.
    ///
    /// # Errors
    ///
    /// Where the log can't be read.
    pub(crate) async fn follow(&self, log: &AnyLog) -> anyhow::Result<()> {
        let Some(bar) = &self.0 else { return std::future::pending().await };
        let mut roll = Roll::new(log);
        loop {
            roll.follow(log).await?;
            let is_open =
                |file: &&File| [FileState::VERIFIED, FileState::PUBLISHING].contains(&file.state);
            let open: Vec<&File> = roll.files.values().filter(is_open).collect();
            let sum = |of: fn(&File) -> i64| {
                u64::try_from(open.iter().map(|file| of(file)).sum::<i64>()).unwrap_or_default()
            };
            bar.set_length(sum(|file| file.verdict.records));
            bar.set_position(sum(|file| file.checkpoint.published + file.checkpoint.rejected));
            bar.set_message(match open.as_slice() {
                [] => "waiting for files".to_owned(),
                [file] => file.object.clone(),
                several => format!("{} files", several.len()),
            });
            tokio::time::sleep(DRAW_EVERY).await;
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Standard error, with the bar out of the way while a line is written.
#[derive(Clone, Debug)]
pub(crate) struct Lines(Progress);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0.0 {
            None => io::stderr().write(bytes),
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
