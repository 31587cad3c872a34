//! Secrets: from a file or the environment, and from then on never shown.

use std::fmt;
use std::path::Path;

use anyhow::Context;

use super::{Said, optional};
use crate::config::keys::KEYS;

/// A secret: `Debug` and `Display` show nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// The secret itself, for whoever must send it.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// What was said for a secret: by `<name>` in the environment, else by the file that `<name>_file`
/// names, without the end of its line.
///
/// # Errors
///
/// Where the file can't be read, or is empty.
pub(super) fn of(said: &Said, name: &str) -> anyhow::Result<Option<Secret>> {
    if let Some(text) = optional(&said.whole, KEYS, name)? {
        return Ok(Some(Secret(text)));
    }
    let key = format!("{name}_file");
    let Some(file) = optional(&said.whole, KEYS, &key)? else { return Ok(None) };
    let text = std::fs::read_to_string(Path::new(&file))
        .with_context(|| format!("{key}: {file} can't be read"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!text.is_empty(), "{key}: {file} is empty");
    Ok(Some(Secret(text.to_owned())))
}
