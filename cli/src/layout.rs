//! Layouts that stand in files.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use ingest::format::{Layout, Mistake};

/// Reads a layout.
///
/// # Errors
///
/// Where the file can't be read; where it is no layout, with the place of its first mistake.
pub(crate) fn read(file: &Path) -> anyhow::Result<Arc<Layout>> {
    let name = file.display();
    let bytes = std::fs::read(file).with_context(|| format!("{name} can't be read"))?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
            bail!("{name}, line {line}: expected text in UTF-8, found a byte that is none");
        }
    };
    Layout::parse(&text).map(Arc::new).map_err(|mistakes| match &mistakes[..] {
        [] => anyhow::anyhow!("{name} is no layout"),
        [mistake] => anyhow::anyhow!("{name}, {mistake}"),
        [first, rest @ ..] => {
            let more = rest.len();
            anyhow::anyhow!("{name}, {first} ({more} more: batchless layout check {name})")
        }
    })
}

/// How much is wrong with a layout.
pub(crate) fn counted(name: &str, mistakes: &[Mistake]) -> String {
    format!("the layout {name} has {}", crate::output::counted(mistakes.len(), "mistake"))
}
