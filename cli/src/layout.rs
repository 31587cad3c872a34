//! Layouts that stand in files.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use ingest::format::{Layout, Mistake};

/// Reads a layout.
///
/// # Errors
///
/// Where the file can't be read; where it is no layout, with everything that is wrong with it.
pub(crate) fn read(file: &Path) -> anyhow::Result<Arc<Layout>> {
    let name = file.display();
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("the layout {name} can't be read"))?;
    match Layout::parse(&text) {
        Ok(layout) => Ok(Arc::new(layout)),
        Err(mistakes) => bail!("{}", told(&name.to_string(), &mistakes)),
    }
}

/// How much is wrong with a layout.
pub(crate) fn counted(name: &str, mistakes: &[Mistake]) -> String {
    format!("the layout {name} has {}", crate::output::counted(mistakes.len(), "mistake"))
}

/// Everything that is wrong with a layout, a line each.
fn told(name: &str, mistakes: &[Mistake]) -> String {
    let mut text = counted(name, mistakes);
    for mistake in mistakes {
        let _ = write!(text, "\n  {mistake}");
    }
    text
}
