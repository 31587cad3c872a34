//! What was said for each key, and by whom: a file, the environment, a flag, or nobody.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use toml::de::{DeTable, DeValue};

use super::keys::{self, FEED_KEYS, KEYS, Key, Kind};

/// Who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody: the key's default.
    Default,
    /// A line of a file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line, from 1.
        line: usize,
    },
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// The ledger itself, where it was fixed.
    Ledger,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}, line {line}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Ledger => f.write_str("ledger"),
        }
    }
}

/// A value, and who said it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Value {
    /// The text, which its key takes.
    pub(crate) text: String,
    /// Who said it.
    pub(crate) origin: Origin,
}

impl fmt::Debug for Value {
    /// Without the text, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "said by {}", self.origin)
    }
}

/// Values by the names of their keys; keys are of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values(BTreeMap<&'static str, Value>);

impl Values {
    /// Sets a key, in place of what was said before.
    ///
    /// # Errors
    ///
    /// Where the key doesn't take this text.
    pub(crate) fn set(&mut self, key: &Key, text: String, origin: Origin) -> anyhow::Result<()> {
        if !key.kind.takes(&text) {
            bail!("{origin}: {}: expected {}, found `{text}`", key.name, key.kind.expected());
        }
        let text = match key.kind {
            Kind::Beside => beside(&text, &origin)?,
            _ => text,
        };
        self.0.insert(key.name, Value { text, origin });
        Ok(())
    }

    /// Sets a path from the folder of a file that is being written.
    pub(crate) fn set_beside(&mut self, key: &Key, path: String) {
        self.0.insert(key.name, Value { text: path, origin: Origin::Default });
    }

    /// What holds for a key: what was said last, or its default.
    pub(crate) fn get(&self, key: &Key) -> Option<Value> {
        let default = |text: &str| Value { text: text.to_owned(), origin: Origin::Default };
        self.0.get(key.name).cloned().or_else(|| key.default.map(default))
    }
}

/// The whole path of what is named from the folder of the file that names it, or from where the
/// command was given: a configuration that is kept elsewhere leads to the same.
fn beside(text: &str, origin: &Origin) -> anyhow::Result<String> {
    let path = match origin {
        Origin::File { file, .. } => Path::new(file).parent().unwrap_or(Path::new("")).join(text),
        _ => PathBuf::from(text),
    };
    let path = std::path::absolute(&path).with_context(|| format!("{origin}: {text}"))?;
    let path = path.into_os_string().into_string();
    path.map_err(|_| anyhow::anyhow!("{origin}: {text}: expected a path in UTF-8"))
}

/// All that was said: for the whole, and for each feed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// For the whole.
    pub(crate) whole: Values,
    /// For each feed, in the order of the file.
    pub(crate) feeds: Vec<Values>,
}

impl Said {
    /// What a file says.
    ///
    /// # Errors
    ///
    /// Where it isn't TOML, has a key that isn't known, or a value that its key doesn't take: with
    /// the line, and for a key with the nearest one that is known.
    pub(crate) fn from_file(file: &str, text: &str) -> anyhow::Result<Self> {
        let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            anyhow::anyhow!("{file}, line {}: {}", line(at), error.message())
        })?;
        let mut said = Self::default();
        for (name, value) in table.get_ref() {
            let place = Place { file, line: line(name.span().start) };
            match value.get_ref() {
                DeValue::Array(feeds) if name.get_ref() == "feed" => {
                    for feed in feeds.iter() {
                        let place = Place { file, line: line(feed.span().start) };
                        let DeValue::Table(table) = feed.get_ref() else {
                            bail!("{place}: feed: expected tables [[feed]]");
                        };
                        let mut values = Values::default();
                        for (name, value) in table {
                            let place = Place { file, line: line(name.span().start) };
                            place.take(&mut values, FEED_KEYS, name.get_ref(), value.get_ref())?;
                        }
                        said.feeds.push(values);
                    }
                }
                DeValue::Table(section) => {
                    let prefix = format!("{}.", name.get_ref());
                    if name.get_ref() == "feed" {
                        bail!("{place}: expected a feed as a table `[[feed]]`, found `[feed]`");
                    }
                    if !KEYS.iter().any(|key| key.name.starts_with(&prefix)) {
                        return Err(place.unknown(KEYS, name.get_ref()));
                    }
                    for (name, value) in section {
                        let place = Place { file, line: line(name.span().start) };
                        let name = format!("{prefix}{}", name.get_ref());
                        place.take(&mut said.whole, KEYS, &name, value.get_ref())?;
                    }
                }
                value => place.take(&mut said.whole, KEYS, name.get_ref(), value)?,
            }
        }
        Ok(said)
    }

    /// Takes what the environment says: `BATCHLESS_<KEY>`, and `BATCHLESS_FEED_<NAME>_<KEY>` for a
    /// feed of the file; dots and other signs are underscores, letters are capitals.
    ///
    /// # Errors
    ///
    /// Where a variable that begins so is no key's, or its value isn't one that the key takes.
    pub(crate) fn take_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> anyhow::Result<()> {
        for (variable, text) in variables {
            let Some(wanted) = variable.strip_prefix("BATCHLESS_") else { continue };
            // The configuration file itself, and where tests and scripts find what they need.
            let is_no_key = ["CONFIG", "PYTHON", "ENGINES", "PGDATA"].contains(&wanted);
            if is_no_key || wanted.starts_with("TEST_") {
                continue;
            }
            let origin = Origin::Environment(variable.clone());
            if let Some(key) = KEYS.iter().find(|key| capitals(key.name) == wanted) {
                self.whole.set(key, text, origin)?;
                continue;
            }
            let (feed, key) = self.feed_key(wanted).with_context(|| {
                let names = KEYS.iter().map(|key| capitals(key.name)).collect::<Vec<_>>();
                let nearest = keys::nearest(wanted, names.iter().map(String::as_str));
                let advice = nearest.map_or_else(
                    || "see `batchless config schema`".to_owned(),
                    |name| format!("did you mean BATCHLESS_{name}?"),
                );
                format!("environment {variable}: no such key; {advice}")
            })?;
            if let Some(values) = self.feeds.get_mut(feed) {
                values.set(key, text, origin)?;
            }
        }
        Ok(())
    }

    fn feed_key(&self, wanted: &str) -> Option<(usize, &'static Key)> {
        let wanted = wanted.strip_prefix("FEED_")?;
        let name = keys::find(FEED_KEYS, "name")?;
        for (index, feed) in self.feeds.iter().enumerate() {
            let Some(name) = feed.get(name) else { continue };
            let Some(rest) = wanted.strip_prefix(&format!("{}_", capitals(&name.text))) else {
                continue;
            };
            if let Some(key) = FEED_KEYS.iter().find(|key| capitals(key.name) == rest) {
                return Some((index, key));
            }
        }
        None
    }
}

fn capitals(name: &str) -> String {
    let sign = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(sign).collect()
}

/// A line of a file.
struct Place<'a> {
    file: &'a str,
    line: usize,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file, self.line)
    }
}

impl Place<'_> {
    fn take(
        &self,
        values: &mut Values,
        keys: &'static [Key],
        name: &str,
        value: &DeValue<'_>,
    ) -> anyhow::Result<()> {
        let Some(key) = keys::find(keys, name) else { return Err(self.unknown(keys, name)) };
        if matches!(key.kind, Kind::Secret) {
            bail!(
                "{self}: {name}: a secret does not stand here; put it into a file of its own and \
                 name that with {name}_file, or set BATCHLESS_{}",
                capitals(name)
            );
        }
        let text = match value {
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Boolean(flag) => flag.to_string(),
            other => bail!(
                "{self}: {name}: expected {}, found a value of type {}",
                key.kind.expected(),
                other.type_str()
            ),
        };
        if matches!(value, DeValue::String(_)) != key.kind.is_quoted() {
            let marks = if key.kind.is_quoted() { "with" } else { "without" };
            bail!("{self}: {name}: expected a value {marks} quotation marks");
        }
        values.set(key, text, Origin::File { file: self.file.to_owned(), line: self.line })
    }

    fn unknown(&self, keys: &'static [Key], name: &str) -> anyhow::Error {
        let names = keys.iter().map(|key| key.name).chain(["feed"]);
        let advice = keys::nearest(name, names).map_or_else(
            || "see `batchless config schema`".to_owned(),
            |nearest| format!("did you mean `{nearest}`?"),
        );
        anyhow::anyhow!("{self}: unknown key `{name}`; {advice}")
    }
}
